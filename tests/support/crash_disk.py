"""What is durable at a moment of a log, and what is on its way to the disk.

Rules, taken from what ext4, xfs and btrfs do (the first three were measured):

1. Nothing orders an attribute, or a name, after the data of its file.
2. ``fdatasync`` makes the bytes, the holes and the size of its file durable, nothing else.
3. ``fsync`` of a file adds its attributes and its names; of a folder: the names in it.  Both add
   the way up to the root.
4. A rename is one step.  A name that is durable has an inode, perhaps an empty one.
5. ``Rules.JOURNAL``: changes of attributes, names, sizes and holes reach the disk in their order,
   and an ``fsync`` of anything brings all of them that came before it.  So do ext4 and xfs.
   ``Rules.LOOSE``: they do not, and every ``fsync`` stands for itself.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from tests.support.crash_image import Image
from tests.support.crash_ops import (
    ROOT,
    Attribute,
    Change,
    Cut,
    Enter,
    Entry,
    Leave,
    Move,
    Note,
    Punch,
    Settle,
    Sync,
    SyncData,
    Write,
)

Place = tuple[int, str]


class Rules(Enum):
    """How much order a filesystem keeps."""

    JOURNAL = "journal"
    LOOSE = "loose"


class Disk:
    """A disk under a running system: ``durable``, and ``pending`` in the order of the calls."""

    def __init__(self, image: Image, rules: Rules) -> None:
        self.rules = rules
        self.durable = image.copy()
        self.pending: list[Change] = []

    def copy(self) -> Disk:
        """Another disk in the same state."""
        disk = Disk(self.durable, self.rules)
        disk.pending = list(self.pending)
        return disk

    def feed(self, entry: Entry) -> None:
        """Go on by one entry of the log."""
        if isinstance(entry, Note):
            return
        if isinstance(entry, Settle):
            self._flush(lambda change: True)
        elif isinstance(entry, SyncData):
            self._flush(lambda change: _is_data(change, entry.inode))
        elif isinstance(entry, Sync):
            self._sync(entry.inode)
        else:
            self.pending.append(entry)

    def _sync(self, inode: int) -> None:
        if self.rules is Rules.JOURNAL:
            # Data of other files is not in the journal.
            self._flush(lambda change: not isinstance(change, Write) or change.inode == inode)
            return
        wanted = self._names_of(inode)
        self._flush(
            lambda change: (
                _is_data(change, inode)
                or (isinstance(change, Attribute) and change.inode == inode)
                or not wanted.isdisjoint(places(change))
            )
        )

    def _names_of(self, inode: int) -> set[Place]:
        """The names in a folder; an inode's own, and those on its way up to the root."""
        wanted: set[Place] = set()
        for change in self.pending:
            wanted.update(place for place in places(change) if place[0] == inode)
        todo, done = [inode], {ROOT}
        while todo:
            child = todo.pop()
            if child in done:
                continue
            done.add(child)
            for change in self.pending:
                if isinstance(change, Enter | Leave | Move) and change.inode == child:
                    wanted.update(places(change))
                    todo += [place[0] for place in places(change)]
            todo += [f for f, names in self.durable.folders.items() if child in names.values()]
        return self._closed(wanted)

    def _closed(self, wanted: set[Place]) -> set[Place]:
        """A step over two names brings both, and all that happened to either."""
        before = -1
        while len(wanted) != before:
            before = len(wanted)
            for change in self.pending:
                both = places(change)
                if not wanted.isdisjoint(both):
                    wanted.update(both)
        return wanted

    def _flush(self, reached: Callable[[Change], bool]) -> None:
        """Make what ``reached`` names durable, in its order."""
        kept: list[Change] = []
        for change in self.pending:
            if not reached(change):
                kept.append(change)
                continue
            self.durable.apply(change)
            if isinstance(change, Cut | Punch):
                kept = [part for one in kept for part in _outlived(one, change)]
        self.pending = kept


def _outlived(change: Change, by: Cut | Punch) -> list[Change]:
    """What is left to be written of an older ``change`` once ``by`` is durable."""
    if not isinstance(change, Write) or change.inode != by.inode:
        return [change]
    start, end = (by.size, change.start + len(change.data)) if isinstance(by, Cut) else by[1:]
    low, high = max(0, start - change.start), max(0, end - change.start)
    before, after = change.data[:low], change.data[high:]
    parts = [(change.start, before), (change.start + high, after)]
    return [Write(change.inode, at, data) for at, data in parts if data]


def places(change: Change) -> tuple[Place, ...]:
    """The names that a change is about."""
    if isinstance(change, Enter | Leave):
        return ((change.folder, change.name),)
    if isinstance(change, Move):
        return ((change.folder, change.name), (change.new_folder, change.new_name))
    return ()


def _is_data(change: Change, inode: int) -> bool:
    return isinstance(change, Write | Cut | Punch) and change.inode == inode
