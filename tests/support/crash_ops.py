"""What a program asked of the modelled filesystem, in order: changes, syncs, and notes.

The log of a run is all that is needed to say what a crash at any moment of it may leave.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Write(NamedTuple):
    """Bytes were written into a file."""

    inode: int
    start: int
    data: bytes


class Cut(NamedTuple):
    """A file was made shorter or longer."""

    inode: int
    size: int


class Punch(NamedTuple):
    """A hole was made."""

    inode: int
    start: int
    end: int


class Attribute(NamedTuple):
    """An attribute was set, or removed (None)."""

    inode: int
    name: str
    value: bytes | None


class Enter(NamedTuple):
    """A name for a file or a folder."""

    folder: int
    name: str
    inode: int


class Leave(NamedTuple):
    """A name was taken away from a file or a folder."""

    folder: int
    name: str
    inode: int


class Move(NamedTuple):
    """A name was changed, over whatever had the new one: one step, on every filesystem."""

    folder: int
    name: str
    new_folder: int
    new_name: str
    inode: int


class SyncData(NamedTuple):
    """``fdatasync`` returned."""

    inode: int


class Sync(NamedTuple):
    """``fsync`` returned, of a file or a folder."""

    inode: int


class Settle(NamedTuple):
    """Time passed: the filesystem wrote everything back by itself."""


class Note(NamedTuple):
    """What the program knows at this moment; no change of the disk."""

    what: Any


Data = Write | Cut | Punch
Name = Enter | Leave | Move
Change = Write | Cut | Punch | Attribute | Enter | Leave | Move
Entry = Change | SyncData | Sync | Settle | Note

ROOT = 1
"""The inode number of the root folder."""


class Inode:
    """What is known of a file or folder whatever happens to its bytes and names.

    ``number`` is never used again; ``shown`` is what the program is told, and is, like on a real
    filesystem, as soon as the inode is gone.
    """

    __slots__ = ("born_ns", "folder", "number", "shown")

    def __init__(self, number: int, *, folder: bool, shown: int) -> None:
        self.number = number
        self.shown = shown
        self.folder = folder
        self.born_ns = 1_700_000_000_000_000_000 + number * 1_000
