"""Counting: the walk over the cache that makes the record of use when there is none.

A cache whose record was lost, and one with bytes that are suspect because a process was killed, is
walked once, folder by folder.  How far the walk has come is on record: processes that live shortly
take turns, each goes on where the last one was.  What is stored meanwhile puts itself on record.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from netcache._cachefiles.binding import PRIVATE_PREFIX
from netcache._cachefiles.layout import STORE, SUMS
from netcache._cachefiles.room import BATCH
from netcache._cachefiles.usage_file import Change
from netcache._core.keys import place_bytes, place_of
from netcache._core.usage_record import CURSOR_BYTES_MAX, Head

if TYPE_CHECKING:
    from collections.abc import Callable

    from netcache._cachefiles.binding import Bound

INLINE_FILES = 2048
"""So many files are counted by somebody who needs the count at once; more, in the background."""


class Counting:
    """The walk of one bound cache.  ``tidy`` is called once at its end."""

    def __init__(self, bound: Bound, tidy: Callable[[], None]) -> None:
        self._bound = bound
        self._tidy = tidy
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._starting = threading.Lock()

    def go_on(self, files: int = INLINE_FILES) -> bool:
        """Count some more; whether everything is counted.  Raises ``OSError``."""
        with self._lock:
            with self._bound.room.change() as change:
                if change.head.counted and not change.head.walking:
                    return True
                again = change.head.counted
                self.recount(change)
                cursor = change.head.cursor
            done = 0
            for folder in self._folders():
                if place_bytes(folder) <= cursor:
                    continue
                if done >= files or self._closed.is_set():
                    return False
                done += self._count_folder(folder)
            if again:
                self._forget_gone()
            self._tidy()
            with self._bound.room.change() as change:
                _end(change.head)
            return True

    def go_on_alone(self) -> None:
        """Count the rest in the background."""
        with self._starting:
            if self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(
                    target=self._run, name="netcache-counting", daemon=True
                )
                self._thread.start()

    def _run(self) -> None:
        try:
            while not self._closed.is_set() and not self.go_on():
                continue
        except OSError:
            # Somebody who needs the count goes on, or finds out what is wrong.
            return
        finally:
            self._thread = None

    def recount(self, change: Change) -> None:
        """Let everything be counted once more, unless that is under way.  Inside ``change``."""
        head = change.head
        if not head.walking:
            head.walking, head.cursor, head.suspected = True, b"", head.suspect

    def _folders(self) -> list[str]:
        found = []
        for volume in _names(self._bound, STORE):
            if volume != SUMS:
                path = f"{STORE}/{volume}"
                found += [f"{path}/{name}" for name in _names(self._bound, path)]
        short = (one for one in found if len(place_bytes(one)) <= CURSOR_BYTES_MAX)
        return sorted(short, key=place_bytes)

    def _count_folder(self, path: str) -> int:
        names = [name for name in _names(self._bound, path) if not name.startswith(PRIVATE_PREFIX)]
        for start in range(0, len(names), BATCH):
            if self._closed.is_set():
                return 0
            with self._bound.room.change() as change:
                self._count(change, path, names[start : start + BATCH])
        with self._bound.room.change() as change:
            if change.head.walking:
                change.head.cursor = max(change.head.cursor, place_bytes(path))
        return len(names)

    def _forget_gone(self) -> None:
        """Killed processes may have discarded what is still on record."""
        last = 0
        while not self._closed.is_set():
            with self._bound.room.change() as change:
                first, last = last + 1, min(last + BATCH, change.head.slots)
                for number in range(first, last + 1):
                    if change.slot(number).length:
                        self._bound.room.charge(change, place_of(change.index.place(number)))
                if last == change.head.slots:
                    return

    def _count(self, change: Change, path: str, names: list[str]) -> None:
        room = self._bound.room
        known, new = [], []
        for name in names:
            place = f"{path}/{name}"
            if change.index.find(place_bytes(place)):
                known.append(place)
            elif (used_ms := room.touched_ms(place)) is not None:
                new.append((used_ms, place))
        for place in known:
            room.charge(change, place)
        # What was used longest ago comes first in its queue.
        for used_ms, place in sorted(new):
            room.charge(change, place, used_ms)

    def close(self) -> None:
        """Stop.  Idempotent."""
        self._closed.set()
        thread = self._thread
        if thread is not None:
            thread.join()


def _end(head: Head) -> None:
    head.counted, head.walking, head.cursor = True, False, b""
    head.suspect -= min(head.suspect, head.suspected)
    head.suspected = 0


def _names(bound: Bound, path: str) -> list[str]:
    try:
        folder = bound.ops.open_folder(path, at=bound.root)
    except (FileNotFoundError, NotADirectoryError):
        return []
    try:
        return sorted(bound.ops.list_folder(folder))
    finally:
        bound.ops.close(folder)
