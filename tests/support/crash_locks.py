"""Locks of open file descriptions, on byte ranges and on folders, as the model keeps them."""

from __future__ import annotations

from typing import NamedTuple

_WHOLE = (-2, -1)
"""The range that stands for a lock on a folder (``flock``); it meets no range of bytes."""


class Held(NamedTuple):
    """A lock: whose, of which bytes, and whether others may have it too."""

    owner: int
    start: int
    end: int
    shared: bool


class Locks:
    """All locks of a running system; an owner is an open file description."""

    def __init__(self) -> None:
        self._held: dict[int, list[Held]] = {}

    def lock(self, inode: int, owner: int, start: int, end: int, *, shared: bool) -> bool:
        """Take a lock, without waiting, in place of what the owner has there."""
        held = self._held.setdefault(inode, [])
        for lock in held:
            meets = lock.start < end and start < lock.end
            if meets and lock.owner != owner and not (shared and lock.shared):
                return False
        self.unlock(inode, owner, start, end)
        self._held[inode].append(Held(owner, start, end, shared))
        return True

    def unlock(self, inode: int, owner: int, start: int, end: int) -> None:
        """Give back what the owner has there; what he has beside it stays."""
        kept = []
        for lock in self._held.get(inode, ()):
            if lock.owner != owner or lock.end <= start or end <= lock.start:
                kept.append(lock)
                continue
            if lock.start < start:
                kept.append(lock._replace(end=start))
            if end < lock.end:
                kept.append(lock._replace(start=end))
        self._held[inode] = kept

    def lock_folder(self, inode: int, owner: int) -> bool:
        """``flock``, exclusive, without waiting."""
        return self.lock(inode, owner, *_WHOLE, shared=False)

    def unlock_folder(self, inode: int, owner: int) -> None:
        """Undo ``lock_folder``."""
        self.unlock(inode, owner, *_WHOLE)

    def release(self, inode: int, owner: int) -> None:
        """The open file description is gone, and its locks with it."""
        if inode in self._held:
            self._held[inode] = [lock for lock in self._held[inode] if lock.owner != owner]
