"""Notes of reads: ``why/reads``, one file of fixed size, shared by all processes.

Every file that is opened, read and closed is noted, so a note has to cost next to nothing: notes
wait in memory, hits of the same object are counted together while they do, and a batch is written
at once (``_core.read_ring``).  The rules of the memory hold here, too (``memory``); two processes
that write at the same moment may lose the batch of one of them.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from netcache._core.misses import RECORD_BYTES, Record, Trace
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
    from netcache._cachefiles.fileops import FileOps

FOLDER, READS = "why", "reads"
PENDING_MAX = 64
TOLD_MAX = 8
"""So many of the last notes of an object are told."""

_HITS_MAX = (1 << 32) - 1
_FAILURES = (OSError, CacheError, ValueError)


class ReadNotes:
    """The notes of a bound cache.  Thread-safe; errors are passed over."""

    def __init__(self, ops: FileOps, root: int) -> None:
        self._ops = ops
        self._root = root
        self._pending: list[Record] = []
        # Where in ``_pending`` the last note of a tag is.
        self._last: dict[int, int] = {}
        self._closed = False
        self._lock = threading.Lock()

    def note(self, tag: int, note: Trace) -> None:
        """A read missed, for the cause of ``note``."""
        with self._lock:
            self._add(tag, note)

    def note_hits(self, tag: int, when_ms: int, count: int) -> None:
        """Reads hit: counted with those last noted of the same object, if they still wait."""
        with self._lock:
            last = self._last.get(tag)
            if last is not None:
                known = self._pending[last][1]
                if known.cause is None:
                    hits = min(known.mask + count, _HITS_MAX)
                    self._pending[last] = tag, known._replace(when_ms=when_ms, mask=hits)
                    return
            self._add(tag, Trace(0, when_ms, 0, 0, min(count, _HITS_MAX), None, 0))

    def _add(self, tag: int, note: Trace) -> None:
        self._last[tag] = len(self._pending)
        self._pending.append((tag, note))
        if len(self._pending) >= PENDING_MAX:
            self._write_pending()

    def of(self, tag: int) -> list[Trace]:
        """The last notes of an object, oldest first."""
        with self._lock:
            self._write_pending()
            try:
                return notes_of(self._read(), tag)[-TOLD_MAX:] if not self._closed else []
            except _FAILURES:
                return []

    def close(self) -> None:
        """Write what is pending; later calls do nothing.  Idempotent."""
        with self._lock:
            self._write_pending()
            self._closed = True

    def _write_pending(self) -> None:
        pending, self._pending = self._pending, []
        self._last.clear()
        if pending and not self._closed:
            try:
                self._write(pending)
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
