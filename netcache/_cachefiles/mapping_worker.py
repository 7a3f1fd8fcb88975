"""A worker: a process's place among those that share maps of cache objects.

Rules:

1. A worker is a number with a lock, which the kernel gives back when its process dies.  Bits of the
   dead are ignored, and cleared by whoever meets them; who takes a number clears them first.
2. A map is of a generation when, under the lock of its record, the object's name stands for the
   mapped file.  The file cannot change then: a map keeps it in use (``lease``).
3. A message is a byte in the worker's FIFO, its *bell*.  It is sent only for ``sync_all``, and only
   to workers whose bit is clear.  The answer is the bit: the worker holds no older map.  It has not
   made a new one; it will when it looks, with whatever checks its client makes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from netcache._cachefiles.mapping_asking import NOTHING_SHARED, sync_all
from netcache._cachefiles.mapping_table import Located, MappingTable
from netcache._core.keys import ObjectKey, object_file
from netcache._core.mapping_record import (
    UNSHARED,
    WORKERS,
    MappingRecord,
    generation_word,
    workers_of,
)
from netcache._fscache.sharing import Holder, Settled, Synced

if TYPE_CHECKING:
    from netcache._cachefiles.binding import Bound

NOBODY = -1
_UNSHARED = Settled(memoryview(b""), 0, UNSHARED)


class Worker:
    """The worker of one bound cache; see ``MappingWorker`` for the contract.

    ``number`` is NOBODY before the first map, and when all numbers are taken.  ``_lock`` guards the
    holders and joining; the table's own lock comes after it.
    """

    def __init__(self, bound: Bound) -> None:
        self.number = NOBODY
        self._bound = bound
        self._table: MappingTable = bound.mappings
        self._ops = bound.ops
        self._words: memoryview | None = None
        self._opened = 0
        self._bell = -1
        self._thread: threading.Thread | None = None
        self._closed = False
        self._lock = threading.RLock()
        self._holders: dict[str, weakref.WeakSet[Holder]] = {}
        _LIVING.add(self)

    @property
    def is_joined(self) -> bool:
        """Whether it has a number, for maps were made."""
        return self.number != NOBODY

    # Looking.

    def settle(self, key: ObjectKey, inode: int, holder: Holder) -> Settled | None:
        """Which generation a map of the file with this inode number is of."""
        if not self._ops.holds_locks:
            return _UNSHARED
        try:
            with self._lock:
                words = self._join()
                if words is None:
                    return _UNSHARED
                return self._settle(key, inode, holder, words)
        except OSError:
            return _UNSHARED

    def _settle(
        self, key: ObjectKey, inode: int, holder: Holder, words: memoryview
    ) -> Settled | None:
        place = self._bound.place(key)
        try:
            folder = self._bound.folders.open(key, make=False)
        except FileNotFoundError:
            return None
        with self._table.locked(place, self._opened) as locked:
            if not locked:
                return _UNSHARED
            if self._bound.inode_of(object_file(key.name), folder) != inode:
                return None
            found = self._table.claim(place, self.dead)
            if found is None:
                return _UNSHARED
            record = found.record.looked(self.number)
            if record != found.record:
                self._table.write(found.position, record)
        self._holders.setdefault(place, weakref.WeakSet()).add(holder)
        return Settled(words, generation_word(found.position), record.generation)

    def leave(self, key: ObjectKey, holder: Holder) -> None:
        """``holder`` holds no map of ``key`` any more."""
        with self._lock:
            place = self._bound.place(key)
            holders = self._holders.get(place)
            if holders is None:
                return
            holders.discard(holder)
            if holders or self._closed:
                return
            del self._holders[place]
            try:
                with self.at(place) as found:
                    if found is not None:
                        self.write(found, found.record.without(1 << self.number))
            except OSError:
                # The bit stays, and is answered for: nobody waits longer than for a message.
                return

    # Being asked.

    def _answer_bells(self, bell: int) -> None:
        """The thread: waits in the kernel until somebody asks."""
        while True:
            self._ops.await_bell(bell)
            if self._closed:
                return
            self._answer()

    def _answer(self) -> None:
        with self._lock:
            for place in list(self._holders):
                try:
                    with self.at(place) as found:
                        if found is not None:
                            self.let_go(place, found.record.generation)
                            self.write(found, found.record.answered(self.number))
                except OSError:
                    # Not answered: whoever asked goes on after his timeout.
                    continue

    # Asking.

    def sync_all(self, key: ObjectKey, timeout_s: float) -> Synced:
        """Have every worker let its older maps of ``key`` go."""
        with self._lock:
            try:
                if self._join() is None:
                    return NOTHING_SHARED
            except OSError:
                return NOTHING_SHARED
        return sync_all(self, self._bound.place(key), timeout_s)

    def dead(self, mask: int) -> int:
        """The dead among the workers of a mask.  Inside ``locked``."""
        return sum(
            1 << worker
            for worker in workers_of(mask)
            if worker != self.number and self._table.is_dead(worker)
        )

    def ring(self, worker: int) -> None:
        """Send a message to a worker."""
        try:
            self._table.count_message()
            fd = self._ops.open_ringer(_bell_name(worker), self._table.folder)
        except OSError:
            # Nobody waits there: he is dead, or will answer when he looks.
            return
        try:
            self._ops.ring(fd)
        except OSError:
            return
        finally:
            self._ops.close(fd)

    def messages(self) -> int:
        """How many messages were ever sent."""
        try:
            return self._table.messages()
        except OSError:
            return 0

    @contextmanager
    def at(self, place: str) -> Iterator[Located | None]:
        """The record of ``place``, if there is one, under its lock.

        ``BlockingIOError`` when the lock is not to be had.  The holders stay who they are, too.
        """
        with self._lock, self._table.locked(place, self._opened) as locked:
            if not locked:
                raise BlockingIOError(errno.EAGAIN, "a record of a mapping is locked")
            yield self._table.find(place)

    def write(self, located: Located, record: MappingRecord) -> None:
        """Write a record back, inside ``at``."""
        if record != located.record:
            self._table.write(located.position, record)

    def let_go(self, place: str, generation: int) -> None:
        """Have the holders of this process let all other generations go."""
        for holder in list(self._holders.get(place, ())):
            holder.let_go(generation)

    # Joining and leaving.

    def _join(self) -> memoryview | None:
        """The words of the table, once this process has a number; None when it can have none.

        A table that was removed tells nobody anything any more.
        """
        if self._closed or self._bound.dead:
            return None
        if self._words is None:
            self._words = self._table.map_words()
            self._opened = self._table.opened
            self._take_number()
        if self.number == NOBODY or not self._table.is_still(self._opened):
            return None
        return self._words

    def _take_number(self) -> None:
        for number in range(WORKERS):
            if self._table.take_worker(number):
                break
        else:
            return
        try:
            self._table.forget_worker(number, self._opened)
            self._bell = self._ops.open_bell(_bell_name(number), self._table.folder)
        except OSError:
            self._table.drop_worker(number, self._opened)
            raise
        self.number = number
        self._thread = threading.Thread(
            target=self._answer_bells, args=(self._bell,), name="netcache-bell", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Give the number back; every holder lets go.  Idempotent."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for place in self._holders:
                self.let_go(place, UNSHARED)
            bell, thread = self._bell, self._thread
            self._bell, self._thread = -1, None
        if thread is not None:
            self._ops.ring(bell)
            thread.join()
            self._ops.close(bell)
        if self.number != NOBODY:
            # What cannot be cleared now is cleared by whoever takes the number next.
            with contextlib.suppress(OSError):
                self._table.forget_worker(self.number, self._opened)
            self._table.drop_worker(self.number, self._opened)
            self.number = NOBODY

    def after_fork(self) -> None:
        """In the child: the number is the parent's, and the bell too."""
        self._lock = threading.RLock()
        self._closed, self.number, self._thread = True, NOBODY, None
        if self._bell >= 0:
            os.close(self._bell)
            self._bell = -1
        for place in self._holders:
            self.let_go(place, UNSHARED)


def _bell_name(worker: int) -> str:
    return f"bell-{worker:02}"


_LIVING: weakref.WeakSet[Worker] = weakref.WeakSet()


def _close_in_child() -> None:
    for worker in list(_LIVING):
        worker.after_fork()


os.register_at_fork(after_in_child=_close_in_child)
