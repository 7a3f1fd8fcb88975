"""The dirty files of a client: who shares them, how much is unsent, when it is sent.

Rules:

1. Writers of one resource in one client share one dirty file; they see each other's writes at once.
2. Above the soft limit, over all files, all of them are sent; above the hard limit a writer sends
   what its file has before it goes on.  Atomic files, which may send nothing yet, do not count.
3. Written through, a file is sent when it becomes dirty, and again right behind that with what was
   written meanwhile; but not where parts would cost more than the whole: that waits for rule 4.
4. Nothing stays unsent for longer than the interval and one flush.  An interval of 0 means the
   default: there is no busy loop.
5. A file that fails does not stop the others; it is tried again with the next round, except after a
   conflict, which only its user can resolve.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from weakref import WeakValueDictionary

from netcache._core.keys import ObjectKey
from netcache._core.urls import Resource
from netcache._finishing import finished
from netcache._netfs.dirty_file import DirtyFile
from netcache._netfs.inodes import key_of
from netcache._netfs.writeback import Writeback
from netcache.errors import NetCacheError

_logger = logging.getLogger("netcache.writeback")

FLUSH_INTERVAL_S = 5.0
DIRTY_SOFT_BYTES = 64 << 20
DIRTY_HARD_BYTES = 256 << 20


class DirtyTable:
    """``on_dirty`` and ``over_hard_limit`` on any thread, the rest on the client's loop."""

    def __init__(
        self,
        writeback: Writeback,
        *,
        at_once: bool,
        soft_bytes: int = DIRTY_SOFT_BYTES,
        hard_bytes: int = DIRTY_HARD_BYTES,
        interval_s: float = FLUSH_INTERVAL_S,
    ) -> None:
        self.writeback = writeback
        self.soft_bytes = soft_bytes
        self.hard_bytes = hard_bytes
        self._at_once = at_once
        self._interval_s = interval_s or FLUSH_INTERVAL_S
        self._loop = asyncio.get_running_loop()
        self._shared: dict[ObjectKey, DirtyFile] = {}
        # Held by those who open it, or wait for that.
        self._opening: WeakValueDictionary[ObjectKey, asyncio.Lock] = WeakValueDictionary()
        self._files: set[DirtyFile] = set()
        self._tasks: dict[DirtyFile, asyncio.Task[bool]] = {}
        self._timer: asyncio.TimerHandle | None = None
        # Guards what threads touch: the sum and who has been told to the loop.
        self._lock = threading.Lock()
        self._unsent: dict[DirtyFile, int] = {}
        self._unsent_bytes = 0
        self._told: set[DirtyFile] = set()
        # Whether the loop has been told that it is too much.
        self._pressing = False

    @property
    def unsent_bytes(self) -> int:
        """How much the servers do not have, over all files that may send."""
        return self._unsent_bytes

    @property
    def over_hard_limit(self) -> bool:
        """Whether a writer has to send before it goes on."""
        return self._unsent_bytes > self.hard_bytes

    async def open_shared(
        self, resource: Resource, make: Callable[[], Awaitable[DirtyFile]]
    ) -> DirtyFile:
        """The dirty file of ``resource`` that all writers share; made when there is none."""
        key = key_of(resource)
        async with self._opening.setdefault(key, asyncio.Lock()):
            file = self._shared.get(key)
            if file is None:
                file = self._shared[key] = await make()
                self._files.add(file)
            file.users += 1
            return file

    def add_private(self, file: DirtyFile) -> DirtyFile:
        """A dirty file that one writer has for itself."""
        file.users += 1
        self._files.add(file)
        return file

    async def release(self, file: DirtyFile, *, keep_unsent: bool) -> None:
        """A writer is done.  What is unsent after the last one is kept only when asked to, for
        ``save_as``; ``discard`` ends that."""
        file.users -= 1
        if file.users:
            return
        key = key_of(file.resource)
        if self._shared.get(key) is file:
            del self._shared[key]
        if not (keep_unsent and file.dirty):
            await self.discard(file)

    async def discard(self, file: DirtyFile, *, leave: bool = False) -> None:
        """Throw away a file that nobody has open (``leave``: not from the journal).  Idempotent.

        Its upload has ended on return: what the server acknowledged of it is in the cache, and
        does not come in the way of what is read next.
        """
        if file.users:
            return
        self._files.discard(file)
        try:
            if (task := self._tasks.get(file)) is not None:
                task.cancel()
                await finished(asyncio.wait([task]))
        finally:
            self._forget(file, leave=leave)

    def _forget(self, file: DirtyFile, *, leave: bool) -> None:
        file.close(leave=leave and file.dirty and file.entry is not None and file.entry.saved)
        with self._lock:
            self._unsent_bytes -= self._unsent.pop(file, 0)
            self._told.discard(file)

    # When it is sent.

    def on_dirty(self, file: DirtyFile) -> None:
        """The file has something to send, or less than before."""
        if file.atomic or file.closed:
            return
        unsent = file.pages.unsent_bytes
        with self._lock:
            if file not in self._files:
                return
            self._unsent_bytes += unsent - self._unsent.get(file, 0)
            self._unsent[file] = unsent
            was_pressing, self._pressing = self._pressing, self._is_too_much
            if unsent and file not in self._told:
                self._told.add(file)
            elif was_pressing or not self._pressing:
                return
        self._loop.call_soon_threadsafe(self._heard, file)

    @property
    def _is_too_much(self) -> bool:
        return self._unsent_bytes > self.soft_bytes

    def _heard(self, file: DirtyFile) -> None:
        if self._is_too_much:
            with self._lock:
                told = list(self._told)
            for each in told:
                if _may_go(each):
                    self._start(each, due=True)
        elif self._at_once:
            self._start(file, due=False)
        self._wind_up()

    def _wind_up(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(self._interval_s, self._tick)

    def _tick(self) -> None:
        """The interval is over: everything that is dirty goes."""
        self._timer = None
        dirty = [file for file in self._files if not file.atomic and file.dirty]
        for file in dirty:
            if _may_go(file):
                self._start(file, due=True)
        if dirty:
            self._wind_up()

    def _start(self, file: DirtyFile, *, due: bool) -> None:
        """``due``: it goes whatever that costs."""
        if file not in self._tasks:
            task = self._tasks[file] = asyncio.ensure_future(self._in_background(file, due))
            task.add_done_callback(lambda done: self._ended(file, done))

    def _ended(self, file: DirtyFile, task: asyncio.Task[bool]) -> None:
        del self._tasks[file]
        if not task.cancelled() and task.result():
            self._go_on(file)

    def _go_on(self, file: DirtyFile) -> None:
        """It was sent: what was written meanwhile goes right behind it, if it is not to wait."""
        if file in self._told and (self._at_once or self._is_too_much):
            self._start(file, due=self._is_too_much)

    async def _in_background(self, file: DirtyFile, due: bool) -> bool:
        """Whether it was sent."""
        try:
            # To send the whole resource for each write would be no favour: that waits its time.
            if not (due or await self.writeback.parts_pay(file)):
                return False
            with self._lock:
                self._told.discard(file)
            was_sent = await self.writeback.flush(file, wait=False)
            self.on_dirty(file)
            return was_sent
        except NetCacheError as error:
            # Kept by the file for its users' next fsync or close; tried again with the next round.
            _logger.debug("background upload of %s failed: %s", file.resource.url, error)
            with self._lock:
                self._told.add(file)
            self.on_dirty(file)
            return False

    async def flush(self, file: DirtyFile) -> None:
        """Send everything; returns when the server has it, or raises."""
        try:
            await self.writeback.flush(file)
        finally:
            self.on_dirty(file)
        self._go_on(file)

    async def flush_resource(self, resource: Resource) -> None:
        """Send what the writers of a resource have written, if there are any."""
        file = self._shared.get(key_of(resource))
        if file is not None:
            await self.flush(file)

    async def write_at_once(self, file: DirtyFile, view: memoryview, start: int) -> None:
        """A write that is one exchange, behind everything that was written before it."""
        try:
            await self.writeback.write_at_once(file, view, start)
        finally:
            self.on_dirty(file)

    async def relieve(self, file: DirtyFile) -> None:
        """Above the hard limit: the writer of ``file`` makes room."""
        if self.over_hard_limit and not file.atomic:
            await self.flush(file)

    async def close(self) -> None:
        """Stop the background work; what is unsent is thrown away, and said."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for file in list(self._files):
            if file.dirty and not file.atomic:
                _logger.warning(
                    "%s: %d bytes were not sent", file.resource.url, file.pages.unsent_bytes
                )
            file.users = 0
            await self.discard(file, leave=True)


def _may_go(file: DirtyFile) -> bool:
    return file.conflict is None and file.users > 0
