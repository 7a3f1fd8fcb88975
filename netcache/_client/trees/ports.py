"""What trees need of a client: single-item operations, each complete in itself."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Protocol

from netcache._core.coherency import Version
from netcache.spi import ResourceInfo, UploadCondition, UploadReply

if TYPE_CHECKING:
    from netcache._client.crew.crew import Crew

OnBytes = Callable[[int], None]
"""Called with the number of bytes that have arrived (or gone) since the last call."""


class FetchResult:
    """How a file was brought: its size, the bytes that came from the server, its version."""

    __slots__ = ("fetched_bytes", "size", "version")

    def __init__(self, size: int, fetched_bytes: int, version: Version | None) -> None:
        self.size = size
        self.fetched_bytes = fetched_bytes
        self.version = version


class TreeOps(Protocol):
    """The operations that a tree is made of.  All URLs are canonical; all may suspend."""

    transfers: int
    """How many files to move at the same time (1..64)."""

    async def list(self, url: str) -> list[ResourceInfo]:
        """The entries of a folder, sorted by name (from the cache when offline)."""

    async def stat(self, url: str) -> ResourceInfo:
        """What ``url`` is; ``NotFoundError`` when it is nothing."""

    async def get_file(self, info: ResourceInfo, path: str, on_bytes: OnBytes) -> FetchResult:
        """Bring a file to ``path`` through the cache.

        It appears under its name only when complete, in place of a file or symbolic link that was
        there (a link is replaced, not followed), with the resource's mtime.  ``info`` may be as
        sparse as a listing entry.  Nothing is left behind when it fails or is killed.
        """

    def crew(self) -> AbstractAsyncContextManager[Crew | None]:
        """Other processes that do what ``get_file`` does, for one run; None where none can."""

    async def put_file(
        self, path: str, url: str, condition: UploadCondition | None, on_bytes: OnBytes
    ) -> UploadReply:
        """Upload a local file (followed if a link), caching what is sent, with its mtime.

        ``condition`` None: on the version that is found there when it starts (promise P7).
        """

    async def delete(self, url: str) -> None:
        """Delete a file or empty folder at the server, and forget it in the cache."""

    async def make_folder(self, url: str) -> None:
        """Make a folder with its parents at the server; one that is there is fine."""

    async def local_sha256(self, path: str) -> bytes:
        """The digest of a local file."""

    async def remote_sha256(self, info: ResourceInfo) -> bytes:
        """The digest of a resource: told by the server where it does, else through the cache."""

    def keeps_mtime(self, url: str) -> bool | None:
        """Whether the origin stores the mtime that an upload gives it; None: not known."""
