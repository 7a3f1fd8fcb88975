"""What a cache directory remembers of losses and reads: ``why/left`` and ``why/reads``.

Two files of fixed size, shared by all processes.  Losses: sets of records (``_core.misses``); a new
record takes the place of the oldest of its set.  Reads: ``read_notes``.  Rules:

1. They explain.  Nothing is served, fetched or forgotten because of them; without them every miss
   was "never fetched".  They can be removed at any time.
2. A record is written with one ``pwrite`` and bears a checksum.  Two processes that write into one
   set at the same moment may lose one of the two records; no lock is taken.
3. Every error is passed over.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from netcache._cachefiles.label_file import LabelFile
from netcache._cachefiles.read_notes import FOLDER, ReadNotes
from netcache._core.checksums import recorded_runs
from netcache._core.content import Content
from netcache._core.extent import Extent, round_out
from netcache._core.keys import tag_of
from netcache._core.label import Label, LabelError
from netcache._core.misses import (
    END_OF_ALL,
    PARTS,
    RECORD_BYTES,
    Cause,
    Record,
    Trace,
    decode,
    encode,
    remember,
    trace_of,
)
from netcache.errors import CacheError

if TYPE_CHECKING:
    from netcache._cachefiles.file_port import FileOps
    from netcache._core.keys import ObjectKey
    from netcache._core.label import Epoch

LEFT = "left"
SETS, WAYS = 512, 8
SET_BYTES = WAYS * RECORD_BYTES
_FAILURES = (OSError, CacheError, LabelError, ValueError)


class _Grounds(Protocol):
    """The bound cache that it remembers for."""

    ops: FileOps
    root: int
    epoch: Epoch
    block_size: int
    clock: Callable[[], float]

    def place(self, key: ObjectKey) -> str:
        """Where the object of ``key`` is, from the cache directory on."""


class _Losses:
    """The file of traces; looked for at each use, so that it may go at any time."""

    def __init__(self, bound: _Grounds) -> None:
        self._bound = bound
        self._fd = -1
        # When it was looked for last; each small file that comes asks.
        self._is_empty = False

    def read(self, tag: int) -> list[Record | None]:
        """The records of the set of ``tag``."""
        try:
            fd = self._open(make=False)
        except FileNotFoundError:
            return [None] * WAYS
        return [None] * WAYS if self._is_empty else self._read(fd, tag)

    def add(self, tag: int, trace: Trace) -> None:
        """Change the set of a tag so that it also holds this trace."""
        was_open, fd = self._fd >= 0, self._open(make=True)
        try:
            for index, record in remember(self._read(fd, tag), tag, trace).items():
                raw = encode(*record) if record is not None else bytes(RECORD_BYTES)
                self._bound.ops.write_all(fd, raw, tag % SETS * SET_BYTES + index * RECORD_BYTES)
        finally:
            # Losses are rare; questions, once there is one, come with each small file.
            if not was_open:
                self.close()

    def _read(self, fd: int, tag: int) -> list[Record | None]:
        buffer = bytearray(SET_BYTES)
        self._bound.ops.read_into(fd, buffer, tag % SETS * SET_BYTES)
        if buffer.count(0) == SET_BYTES:
            # Nothing of this set was ever lost: the rule in a new cache.
            return [None] * WAYS
        places = range(0, SET_BYTES, RECORD_BYTES)
        return [decode(bytes(buffer[place : place + RECORD_BYTES])) for place in places]

    def _open(self, *, make: bool) -> int:
        ops, root = self._bound.ops, self._bound.root
        if self._fd >= 0:
            found = ops.stat(self._fd)
            self._is_empty = not found.st_size
            if found.st_nlink:
                return self._fd
        self.close()
        self._is_empty = False
        if make:
            ops.make_folder(FOLDER, at=root)
        folder = ops.open_folder(FOLDER, at=root)
        try:
            self._fd = ops.open_shared(LEFT, folder)
        finally:
            ops.close(folder)
        return self._fd

    def close(self) -> None:
        """Let the file go; idempotent, and the next call opens it again."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            self._bound.ops.close(fd)


class CacheMemory:
    """The memory of a bound cache; see ``netcache._fscache.explaining.Memory``."""

    def __init__(self, bound: _Grounds) -> None:
        self._bound = bound
        self._left = _Losses(bound)
        self._reads = ReadNotes(bound.ops, bound.root)
        self._closed = False
        self._lock = threading.Lock()

    # What has left.

    def left(self, key: ObjectKey, cause: Cause, extents: Sequence[Extent]) -> None:
        """Bytes of the object of ``key`` left the cache."""
        self.left_place(self._bound.place(key), cause, extents)

    def left_place(self, place: str, cause: Cause, extents: Sequence[Extent]) -> None:
        """Bytes of the object at ``place`` (``cache/I.../@xx/name``) left the cache."""
        # Of a last block that is not full some know the end of the resource, and some do not.
        blocks = [round_out(extent, self._bound.block_size) for extent in extents]
        trace = trace_of(cause, blocks, when_ms=self._now_ms())
        if trace.mask and trace.end <= END_OF_ALL:
            with self._lock:
                self._add(tag_of(place), trace)

    def going(self, place: str, fd: int, cause: Cause) -> None:
        """The file ``fd``, the object at ``place``, is about to be unlinked or replaced.

        Cheap: one attribute, and at most 64 pairs of seeks.
        """
        try:
            extents = self._held(fd)
        except _FAILURES:
            return
        self.left_place(place, cause, extents)

    def going_by_name(self, place: str, cause: Cause | None) -> None:
        """``going``, when the file is not open; does nothing when there is none.

        Without a cause: another object takes the place, and the old one's label tells why.
        """
        try:
            fd = self._bound.ops.open_file(place, self._bound.root)
        except OSError:
            return
        try:
            self.going(place, fd, cause or self._why_replaced(fd))
        except _FAILURES:
            return
        finally:
            self._bound.ops.close(fd)

    def _why_replaced(self, fd: int) -> Cause:
        file = LabelFile(self._bound.ops, fd, self._bound.epoch, self._bound.block_size)
        try:
            label = file.read()
        except LabelError:
            return Cause.CHECKSUM
        if label.content is Content.DIRTY:
            return Cause.CHANGED
        if label.epoch != self._bound.epoch or not label.version.validator.value:
            return Cause.EXPIRED
        return Cause.CHANGED if label.binding == file.binding() else Cause.CHECKSUM

    def _held(self, fd: int) -> list[Extent]:
        """What the object in a file holds, by its label and its holes."""
        bound = self._bound
        try:
            label = LabelFile(bound.ops, fd, bound.epoch, bound.block_size).read()
        except LabelError:
            return [Extent(0, bound.ops.stat(fd).st_size)]
        end = min(label.stored_end, label.version.size)
        if label.content is not Content.BACKFS_MAP:
            return [Extent(0, end)] if label.content is not Content.NO_DATA else []
        if label.sums:
            unit = label.unit
            runs = recorded_runs(label.sums, 0)
            return [Extent(first * unit, min(last * unit, end)) for first, last in runs]
        return self._data(fd, label, end)

    def _data(self, fd: int, label: Label, end: int) -> list[Extent]:
        ops, found, position = self._bound.ops, list[Extent](), 0
        while position < end and len(found) < PARTS:
            data = ops.seek_data(fd, position)
            if not 0 <= data < end:
                break
            position = max(ops.seek_hole(fd, data), data + 1)
            found.append(Extent(data, min(position, end)))
        return found

    def superseded(self, key: ObjectKey) -> None:
        """What is cached of the object of ``key`` counts no more; its label tells why."""
        self.going_by_name(self._bound.place(key), None)

    def traces(self, key: ObjectKey) -> list[Trace]:
        """What has left of the object of ``key``."""
        with self._lock:
            return self._of(tag_of(self._bound.place(key)))

    # What was read.

    def note_read(self, key: ObjectKey, start: int, end: int, cause: Cause) -> None:
        """A read missed."""
        place, end = self._bound.place(key), min(end, END_OF_ALL)
        self._reads.note_miss(place, self._now_ms(), start, end, cause)

    def note_hits(self, key: ObjectKey, count: int) -> None:
        """Reads that the cache answered."""
        bound = self._bound
        self._reads.note_hits(bound.place(key), int(bound.clock() * 1000), count)

    def reads(self, key: ObjectKey) -> list[Trace]:
        """The last reads of the object of ``key``, oldest first."""
        return self._reads.of(self._bound.place(key))

    def close(self) -> None:
        """Write what is pending; later calls do nothing.  Idempotent."""
        self._reads.close()
        with self._lock:
            self._closed = True
            self._left.close()

    def _add(self, tag: int, trace: Trace) -> None:
        if not self._closed:
            try:
                self._left.add(tag, trace)
            except _FAILURES:
                return

    def _of(self, tag: int) -> list[Trace]:
        if self._closed:
            return []
        try:
            return [found[1] for found in self._left.read(tag) if found and found[0] == tag]
        except _FAILURES:
            return []

    def _now_ms(self) -> int:
        return int(self._bound.clock() * 1000)
