"""The table of shared mappings: one file that all processes of a cache directory share.

What its words mean is decided by ``_core.mapping_record``.  Rules:

1. Whoever changes what an object's name stands for does so inside ``changing``: the generation has
   moved, and the mask is clear, before anything changes.
2. The records of a set are read, changed and written under a lock on one byte of the file.  The
   kernel gives it back when a process dies, and the wait for it is bounded.  Who does not get it
   changes all the same, with a generation that nobody else can have made, before and after.
3. Words are written with ``pwrite``, never through a map: a full disk is an error, not a signal.
   The file is never shrunk.  It is sparse, and takes no room until something is shared.
4. Nothing of it is needed after a reboot: by then all workers are dead.

Locks of other kinds come first: object, names, table.
"""

from __future__ import annotations

import errno
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from netcache._core import mapping_record as layout
from netcache._core.keys import tag_of

if TYPE_CHECKING:
    from netcache._cachefiles.file_port import FileOps
    from netcache._core.mapping_record import MappingRecord

FOLDER, NAME = "mappings", "table"

_LOCKS_BASE = 1 << 32
_MESSAGES_BYTE = _LOCKS_BASE + layout.SETS
_WORKERS_BASE = _LOCKS_BASE + 1024
"""Bytes for locks, far above the table."""

_LOCK_WAIT_S = 0.2
_FIRST_PAUSE_S = 0.0001
_LONGEST_PAUSE_S = 0.002


class Located(NamedTuple):
    """A record and where it begins in the table."""

    position: int
    record: MappingRecord


class MappingTable:
    """The table of a bound cache; opened when it is first needed.  Thread-safe.

    ``folder`` is the descriptor of its folder, and of the bells, once it was opened; ``opened``
    counts how often it was, for it is opened again when somebody has removed it.
    """

    def __init__(self, ops: FileOps, root: int) -> None:
        self.folder = -1
        self.opened = 0
        self._ops = ops
        self._root = root
        self._fd = -1
        self._lock = threading.Lock()
        _LIVING.add(self)

    # For those who change objects.

    @contextmanager
    def changing(self, place: str, *, needed: bool = True) -> Iterator[None]:
        """Tell that the object at ``place`` changes inside the block.

        Nobody is woken.  Not ``needed``: what only takes an object away (``drop``, culling) goes
        on without having told; old maps stay right, and the next object of the name tells.
        """
        with self._lock:
            tag = tag_of(place)
            locked = False
            try:
                self._open()
                locked = self._lock_set(tag)
                self._move(tag, 1 if locked else _far_step())
            except OSError:
                if locked:
                    self._unlock_set(tag)
                if needed:
                    raise
                locked = False
            try:
                yield
            finally:
                if locked:
                    self._unlock_set(tag)
                elif self._fd >= 0:
                    self._move_unlocked(tag, needed=needed)

    def is_shared(self, place: str) -> bool:
        """Whether somebody may share a map of the object at ``place``, and has to be told.

        For a new object of a name that nothing has: no lock is taken.
        """
        with self._lock:
            self._open()
            return self._find(tag_of(place)) is not None

    def _move(self, tag: int, step: int) -> None:
        found = self._find(tag)
        if found is not None:
            self._write(found.position, found.record.changed(step))

    def _move_unlocked(self, tag: int, *, needed: bool) -> None:
        try:
            self._move(tag, _far_step())
        except OSError:
            if needed:
                raise

    # For those who share them.

    @contextmanager
    def locked(self, place: str, opened: int) -> Iterator[bool]:
        """Keep the object at ``place`` from changing.

        False when the wait for that was in vain, or the table is not the one opened as number
        ``opened`` any more.
        """
        tag = tag_of(place)
        with self._lock:
            locked = self._is_still(opened) and self._lock_set(tag)
            try:
                yield locked
            finally:
                if locked:
                    self._unlock_set(tag)

    def find(self, place: str) -> Located | None:
        """The record of ``place``, if there is one.  Inside ``locked``."""
        return self._find(tag_of(place))

    def claim(self, place: str, dead: Callable[[int], int]) -> Located | None:
        """The record of ``place``, a new one if need be; None when all are in use.

        Inside ``locked``.  ``dead`` picks the dead out of a mask of workers.
        """
        tag = tag_of(place)
        ways = _ways(self._raw_set(tag))
        way = layout.choose(ways, tag)
        if way < 0:
            ways = [record.without(dead(record.users)) for record in ways]
            way = layout.choose(ways, tag)
            if way < 0:
                return None
        record = ways[way]
        located = Located(layout.record_at(layout.set_of(tag), way), record)
        if record.tag == tag:
            return located
        return self.write(located.position, record.claimed(tag))

    def write(self, position: int, record: MappingRecord) -> Located:
        """Write a record back.  Inside ``locked``."""
        self._write(position, record)
        return Located(position, record)

    def forget_worker(self, worker: int, opened: int) -> None:
        """Take a worker out of all records: he is dead, or has left."""
        mask = 1 << worker
        for number in range(layout.SETS):
            with self._lock:
                if not self._is_still(opened) or not self._lock_set(number):
                    continue
                try:
                    for way, record in enumerate(_ways(self._raw_set(number))):
                        if record.users & mask:
                            position = layout.record_at(number, way)
                            self._write(position, record.without(mask))
                finally:
                    self._unlock_set(number)

    def map_words(self) -> memoryview:
        """The words of the whole table, mapped; a load of one is a load of memory.

        The map has an open file description of its own: a map outlives its descriptor, and with
        it the locks of that description, also in the child of a fork.
        """
        with self._lock:
            self._open()
            fd = self._ops.open_again(self._fd)
        try:
            return memoryview(self._ops.map_words(fd, layout.TABLE_BYTES)).cast("Q")
        finally:
            self._ops.close(fd)

    # Workers and messages.

    def take_worker(self, worker: int) -> bool:
        """Be this worker until ``drop_worker`` or the end of the process; False when one is."""
        with self._lock:
            self._open()
            return self._ops.lock_range(self._fd, _WORKERS_BASE + worker, 1)

    def drop_worker(self, worker: int, opened: int) -> None:
        """Be this worker no longer."""
        with self._lock:
            if self._fd >= 0 and self.opened == opened:
                self._ops.unlock_range(self._fd, _WORKERS_BASE + worker, 1)

    def is_dead(self, worker: int) -> bool:
        """Whether nobody is this worker.  Not for one's own.  Inside ``locked``."""
        # A shared lock: two who ask at the same time do not take each other for the worker.
        if not self._ops.lock_range(self._fd, _WORKERS_BASE + worker, 1, shared=True):
            return False
        self._ops.unlock_range(self._fd, _WORKERS_BASE + worker, 1)
        return True

    def count_message(self) -> None:
        """Count a message that is about to be sent."""
        with self._lock:
            if self._lock_byte(_MESSAGES_BYTE):
                try:
                    count = self._messages() + 1
                    raw = count.to_bytes(layout.WORD_BYTES, sys.byteorder)
                    self._ops.write_all(self._fd, raw, layout.MESSAGES_AT)
                finally:
                    self._ops.unlock_range(self._fd, _MESSAGES_BYTE, 1)

    def messages(self) -> int:
        """How many messages all processes together have ever sent."""
        with self._lock:
            self._open()
            return self._messages()

    def _messages(self) -> int:
        return int.from_bytes(self._read(layout.MESSAGES_AT, layout.WORD_BYTES), sys.byteorder)

    def is_still(self, opened: int) -> bool:
        """Whether it is the table opened as number ``opened``, and nobody has removed it."""
        with self._lock:
            return self._is_still(opened)

    def _is_still(self, opened: int) -> bool:
        return self._fd >= 0 and self.opened == opened and self._ops.stat(self._fd).st_nlink > 0

    # The file.

    def _open(self) -> None:
        """Open the table, or again when it was removed; make it when there is none."""
        if self._fd >= 0 and self._ops.stat(self._fd).st_nlink:
            return
        self._close()
        self._ops.make_folder(FOLDER, at=self._root)
        self.folder = self._ops.open_folder(FOLDER, at=self._root)
        try:
            fd = self._ops.open_shared(NAME, self.folder)
            try:
                if self._ops.stat(fd).st_size < layout.TABLE_BYTES:
                    self._ops.truncate(fd, layout.TABLE_BYTES)
            except BaseException:
                self._ops.close(fd)
                raise
            self._fd = fd
            self.opened += 1
        except BaseException:
            self._close()
            raise

    def _find(self, tag: int) -> Located | None:
        raw = self._raw_set(tag)
        if raw.count(0) == len(raw):
            # Nothing of this set was ever shared: the rule, and asked by every new object.
            return None
        for way, record in enumerate(_ways(raw)):
            if record.tag == tag:
                return Located(layout.record_at(layout.set_of(tag), way), record)
        return None

    def _raw_set(self, tag: int) -> bytearray:
        return self._read(layout.record_at(layout.set_of(tag), 0), layout.SET_BYTES)

    def _read(self, start: int, length: int) -> bytearray:
        buffer = bytearray(length)
        if self._ops.read_into(self._fd, buffer, start) != length:
            raise OSError(errno.EIO, "the table of mappings was cut short")
        return buffer

    def _write(self, position: int, record: MappingRecord) -> None:
        self._ops.write_all(self._fd, record.pack(), position)

    def _lock_set(self, tag: int) -> bool:
        return self._lock_byte(_LOCKS_BASE + layout.set_of(tag))

    def _unlock_set(self, tag: int) -> None:
        self._ops.unlock_range(self._fd, _LOCKS_BASE + layout.set_of(tag), 1)

    def _lock_byte(self, byte: int) -> bool:
        until, pause_s = 0.0, _FIRST_PAUSE_S
        while not self._ops.lock_range(self._fd, byte, 1):
            until = until or time.monotonic() + _LOCK_WAIT_S
            if time.monotonic() >= until:
                return False
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        return True

    def _close(self) -> None:
        for fd in (self._fd, self.folder):
            if fd >= 0:
                self._ops.close(fd)
        self._fd = self.folder = -1

    def close(self) -> None:
        """Let the table go for good; idempotent.  Every later call is an ``OSError``."""
        with self._lock:
            self._close()
            # The number may be another folder's before long.
            self._root = -1

    def after_fork(self) -> None:
        """In the child: the locks are the parent's, and end with him only if we let go."""
        self._lock = threading.Lock()
        self._close()


def _ways(raw: bytearray) -> list[MappingRecord]:
    """The records of a set."""
    return [layout.unpack(raw, way * layout.RECORD_BYTES) for way in range(layout.WAYS)]


def _far_step() -> int:
    """A step to a generation that nobody else makes, who may be counting at the same time."""
    return int.from_bytes(os.urandom(6), sys.byteorder) + (1 << 16)


_LIVING: weakref.WeakSet[MappingTable] = weakref.WeakSet()


def _close_in_child() -> None:
    for table in list(_LIVING):
        table.after_fork()


os.register_at_fork(after_in_child=_close_in_child)
