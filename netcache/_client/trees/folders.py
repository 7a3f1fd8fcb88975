"""The values that a tree in progress is made of: folders, jobs, removals."""

from __future__ import annotations

import asyncio
from typing import Literal, NamedTuple

from netcache._client.trees.compare import Verdict
from netcache._client.trees.entries import DEPTH_MAX, Entry
from netcache._client.trees.filters import Part
from netcache._core.readplan import COMES_WHOLE_BYTES
from netcache._core.urls import Resource
from netcache.errors import NetCacheError

DestState = Literal["there", "absent", "unknown"]


class Folder:
    """A folder on its way through a tree.

    ``name`` is relative to the root.  ``resource`` is the remote one of the pair (of no meaning for
    a doomed local folder).  ``dest`` says what is known of the destination's when the walk comes to
    it; ``is_made`` that it is there now.  ``making`` guards ``is_made`` and ``failure``.
    """

    __slots__ = (
        "depth",
        "dest",
        "failure",
        "identity",
        "is_doomed",
        "is_made",
        "making",
        "name",
        "parent",
        "part",
        "resource",
    )

    def __init__(
        self,
        name: str,
        parent: Folder | None,
        part: Part,
        resource: Resource,
        dest: DestState,
        *,
        is_doomed: bool = False,
    ) -> None:
        self.name = name
        self.parent = parent
        self.part = part
        self.resource = resource
        self.dest = dest
        self.is_doomed = is_doomed
        self.is_made = dest == "there"
        self.making = asyncio.Lock()
        self.failure: OSError | None = None
        self.identity: tuple[int, int] | None = None
        self.depth: int = 0 if parent is None else parent.depth + 1

    def check_depth(self) -> None:
        """Raise ``NetCacheError`` for a folder that lies absurdly deep, or inside itself."""
        if self.depth > DEPTH_MAX:
            raise NetCacheError(f"it lies more than {DEPTH_MAX} folders deep")
        above = self.parent
        while self.identity is not None and above is not None:
            if above.identity == self.identity:
                raise NetCacheError("it is a link back to a folder that it lies in")
            above = above.parent


class Job(NamedTuple):
    """A file to copy or to look at more closely.

    ``folder`` is None for a file that is the whole tree.  ``is_known`` is False when the
    destination could not be listed, so that the server must be asked about the file.
    """

    folder: Folder | None
    name: str
    entry: Entry
    there: Entry | None
    verdict: Verdict
    path: str
    url: str
    is_known: bool = True

    @property
    def comes_whole(self) -> bool:
        """Whether it is one answer of a server, and nothing else has to be asked about it."""
        size = self.entry.size
        if size is None or size > COMES_WHOLE_BYTES or self.entry.info is None:
            return False
        return self.verdict is Verdict.DIFFERENT and self.is_known


class Removal(NamedTuple):
    """A name of the destination that is to go.  ``url`` is empty for local ones."""

    name: str
    is_folder: bool
    url: str
