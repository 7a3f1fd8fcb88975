"""Notes of reads: ``why/reads``, one file of fixed size, shared by all processes.

Every file that is opened, read and closed is noted, so a note has to cost next to nothing: notes
wait in memory, hits of the same object are counted together while they do, and a batch is written
at once (``_core.read_ring``).  The rules of the memory hold here, too (``memory``); two processes
that write at the same moment may lose the batch of one of them.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from netcache._core.keys import tag_of
from netcache._core.misses import RECORD_BYTES, Cause, Record, Trace
from netcache._core.read_ring import (
    RING_AT,
    RING_BYTES,
    next_number,
    notes_of,
    number_behind,
    patches,
)
from netcache.errors import CacheError

if TYPE_CHECKING:
    from netcache._cachefiles.file_port import FileOps

FOLDER, READS = "why", "reads"
PENDING_MAX = 64
TOLD_MAX = 8
"""So many of the last notes of an object are told."""

_HITS_MAX = (1 << 32) - 1
_FAILURES = (OSError, CacheError, ValueError)


class _Hits:
    """A note that waits: reads of an object that hit."""

    __slots__ = ("count", "place", "when_ms")

    def __init__(self, place: str, when_ms: int, count: int) -> None:
        self.place = place
        self.when_ms = when_ms
        self.count = count

    def record(self) -> Record:
        """What is written of it, but for its number."""
        hits = min(self.count, _HITS_MAX)
        # What the class calls itself, in Python: each file that is opened and read has one.
        return tag_of(self.place), tuple.__new__(Trace, (0, self.when_ms, 0, 0, hits, None, 0))


class _Miss:
    """A note that waits: a read that missed."""

    __slots__ = ("cause", "end", "place", "start", "when_ms")

    def __init__(self, place: str, when_ms: int, start: int, end: int, cause: Cause) -> None:
        self.place = place
        self.when_ms = when_ms
        self.start = start
        self.end = end
        self.cause = cause

    def record(self) -> Record:
        """What is written of it, but for its number."""
        return tag_of(self.place), Trace(0, self.when_ms, self.start, self.end, 0, self.cause, 0)


class ReadNotes:
    """The notes of a bound cache, by the places of objects.  Thread-safe; passes over errors."""

    def __init__(self, ops: FileOps, root: int) -> None:
        self._ops = ops
        self._root = root
        self._pending: list[_Hits | _Miss] = []
        # Those of objects whose last note that waits is one of hits.
        self._hits: dict[str, _Hits] = {}
        self._closed = False
        self._lock = threading.Lock()

    def note_miss(self, place: str, when_ms: int, start: int, end: int, cause: Cause) -> None:
        """A read missed ``[start, end)``."""
        with self._lock:
            self._hits.pop(place, None)
            self._add(_Miss(place, when_ms, start, end, cause))

    def note_hits(self, place: str, when_ms: int, count: int) -> None:
        """Reads hit: counted with those last noted of the same object, if they still wait."""
        with self._lock:
            last = self._hits.get(place)
            if last is not None:
                last.count += count
                last.when_ms = when_ms
            else:
                self._hits[place] = note = _Hits(place, when_ms, count)
                self._add(note)

    def _add(self, note: _Hits | _Miss) -> None:
        self._pending.append(note)
        if len(self._pending) >= PENDING_MAX:
            self._write_pending()

    def of(self, place: str) -> list[Trace]:
        """The last notes of an object, oldest first."""
        with self._lock:
            self._write_pending()
            try:
                found = notes_of(self._read(), tag_of(place)) if not self._closed else []
                return found[-TOLD_MAX:]
            except _FAILURES:
                return []

    def close(self) -> None:
        """Write what is pending; later calls do nothing.  Idempotent."""
        with self._lock:
            self._write_pending()
            self._closed = True

    def _write_pending(self) -> None:
        pending, self._pending = self._pending, []
        self._hits.clear()
        if pending and not self._closed:
            try:
                self._write([note.record() for note in pending])
            except _FAILURES:
                return

    def _write(self, notes: list[Record]) -> None:
        fd = self._open()
        try:
            number = next_number(self._bytes(fd, 0, RECORD_BYTES))
            number = number or number_behind(self._bytes(fd, RING_AT, RING_BYTES))
            for at, data in patches(notes, number):
                self._ops.write_all(fd, data, at)
        finally:
            self._ops.close(fd)

    def _open(self) -> int:
        """For each use, so that the file may go at any time."""
        try:
            folder = self._ops.open_folder(FOLDER, at=self._root)
        except FileNotFoundError:
            self._ops.make_folder(FOLDER, at=self._root)
            folder = self._ops.open_folder(FOLDER, at=self._root)
        try:
            return self._ops.open_shared(READS, folder)
        finally:
            self._ops.close(folder)

    def _read(self) -> bytes:
        fd = self._open()
        try:
            return self._bytes(fd, RING_AT, RING_BYTES)
        finally:
            self._ops.close(fd)

    def _bytes(self, fd: int, start: int, length: int) -> bytes:
        buffer = bytearray(length)
        return bytes(buffer[: self._ops.read_into(fd, buffer, start)])
