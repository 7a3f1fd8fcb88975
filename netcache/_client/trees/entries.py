"""What a listing of a folder says, on either side.  Pure.

An entry is a name and what it stands for.  ``broken`` stands for a name that is there and cannot
be used; it protects its namesake on the other side from deletion like any other name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from netcache.spi import ResourceInfo

Kind = Literal["file", "folder", "link", "special", "broken"]

DEPTH_MAX = 1000
"""How many folders deep a tree may be; a server that answers every URL with a listing ends here."""


class Entry(NamedTuple):
    """One name in a folder.

    ``mtime_s`` is in whole seconds, rounded down.  ``info`` is there for remote entries.
    ``is_link`` marks a symbolic link that is followed: ``kind`` then says what it leads to.
    """

    name: str
    kind: Kind
    size: int | None = None
    mtime_s: int | None = None
    info: ResourceInfo | None = None
    is_link: bool = False
    error: OSError | None = None


class Listing(NamedTuple):
    """The entries of a folder, sorted by name.

    ``identity`` is the folder's device and inode (local ones).  ``complete`` is False when
    something about an entry could not be learned: then nothing may be deleted on its account.
    """

    entries: Sequence[Entry]
    identity: tuple[int, int] | None = None
    complete: bool = True


def remote_entry(info: ResourceInfo) -> Entry:
    """The entry for what a backend tells of a resource."""
    if info.type == "directory":
        return Entry(info.name, "folder", info=info)
    mtime_s = None if info.mtime_s is None else int(info.mtime_s // 1)
    return Entry(info.name, "file", info.size, mtime_s, info)


def name_of_kind(kind: Kind) -> str:
    """What stands in the way, as an error tells it."""
    return {"folder": "folder", "special": "device, FIFO or socket"}.get(kind, "file")


def joined(folder: str, name: str) -> str:
    """The relative name of ``name`` inside the folder with the relative name ``folder``."""
    return f"{folder}/{name}" if folder else name
