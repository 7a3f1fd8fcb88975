"""Where the bytes of a read request go: into the inode's holding, or into memory.

Both take bytes in any order of subrequests and record them in order of position: ``put`` makes
them safe, ``record`` lets readers have them.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from netcache._core.extent import round_down, round_up
from netcache._finishing import finished
from netcache.errors import CacheError

if TYPE_CHECKING:
    from netcache._core.stats import Stats
    from netcache._fscache.ports import CacheObject
    from netcache._netfs.buffer_queue import BufferQueue
    from netcache._netfs.inode import Inode

_ZEROS = bytes(1 << 20)
_LOAD_BYTES = 16 << 20


class ReadSink(Protocol):
    """Takes what a request brings.

    ``loads``: what the cache has is to be read from there.  ``takes_whole``: a server that sends
    everything for a part is welcome; otherwise what was not asked for is passed over.
    """

    block_size: int
    loads: bool
    takes_whole: bool

    def put(self, start: int, view: memoryview, eof: int) -> int:
        """Take ``view``, the bytes at ``start``; returns where what was taken ends.

        The sink may leave part of a block to be brought again, unless the bytes end at ``eof``:
        it then takes zeros up to the end of the block with them.
        """

    def zero(self, start: int, end: int) -> None:
        """Take zeros for ``[start, end)``."""

    async def load(self, start: int, end: int) -> int:
        """Take ``[start, end)``, which the cache has; returns how many bytes it gave."""

    def record(self, start: int, end: int) -> None:
        """``[start, end)`` is complete: readers may have it.  In order, each byte once."""

    def cancel(self, start: int, end: int) -> None:
        """What may have been put there by a ``put`` that failed counts for nothing."""


class HoldingSink:
    """Fills the holding of an inode; the cache takes whole blocks.

    ``CacheError`` from any call: the bytes cannot be kept, now and later.
    """

    __slots__ = ("_inode", "_stats", "block_size")

    loads = False
    takes_whole = True

    def __init__(self, inode: Inode, stats: Stats) -> None:
        holding = inode.holding
        self._inode = inode
        self._stats = stats
        self.block_size = holding.block_size if holding is not None else 1

    def put(self, start: int, view: memoryview, eof: int) -> int:
        """Write whole blocks; the last one of the resource may be short."""
        kept_end = self._put(start, view, eof)
        for taker in self._inode.flights.takers:
            taker.take(start, view[: kept_end - start])
        return kept_end

    def _put(self, start: int, view: memoryview, eof: int) -> int:
        end = start + len(view)
        whole = self._whole_end(start, end)
        if whole > start:
            self._write(start, view[: whole - start])
        if whole == end or end != eof:
            return whole
        block_end = whole + self.block_size
        self._write(whole, memoryview(bytes(view[whole - start :]).ljust(self.block_size, b"\0")))
        return block_end

    def _whole_end(self, start: int, end: int) -> int:
        if end == self._inode.size or self._inode.cached is None:
            return end
        return max(start, round_down(end, self.block_size))

    def _write(self, start: int, view: memoryview) -> None:
        holding = self._inode.holding
        if holding is None:
            raise CacheError("the cache of this file was given up")
        self._stats.add("CaWrOps", "WR")
        self._stats.add("IO", "wr")
        try:
            holding.write(start, view)
        except CacheError:
            self._stats.add("CaWrOps", "wf")
            raise
        self._stats.add("CaWrOps", "ws")
        self._stats.add("CaWrOps", "bytes", len(view))

    def zero(self, start: int, end: int) -> None:
        """Write zeros; a hole would mean "not cached"."""
        while start < end:
            step = min(len(_ZEROS), end - start)
            self._write(start, memoryview(_ZEROS)[:step])
            start += step

    async def load(self, start: int, end: int) -> int:
        """They are where they are to be."""
        return end - start

    def record(self, start: int, end: int) -> None:
        """Record the run in the holding, then tell the inode."""
        holding = self._inode.holding
        if holding is None:
            raise CacheError("the cache of this file was given up")
        holding.record(start, end)
        self._inode.arrived(start, end)

    def cancel(self, start: int, end: int) -> None:
        """Make whole blocks holes again."""
        holding = self._inode.holding
        if holding is not None:
            holding.cancel(round_down(start, self.block_size), round_up(end, self.block_size))


class MemorySink:
    """Fills a buffer queue, which has memory for all that is read."""

    __slots__ = ("_inode", "_queue", "_stats", "block_size")

    loads = True
    takes_whole = False

    def __init__(self, queue: BufferQueue, inode: Inode, stats: Stats) -> None:
        self._queue = queue
        self._inode = inode
        self._stats = stats
        self.block_size = 1

    def put(self, start: int, view: memoryview, eof: int) -> int:
        """Copy the bytes in."""
        self._queue.copy_in(start, view)
        return start + len(view)

    def zero(self, start: int, end: int) -> None:
        """Clear."""
        self._queue.clear(start, end)

    async def load(self, start: int, end: int) -> int:
        """Read from the cache on a worker thread; what prevents it leaves the bytes missing."""
        cached = self._inode.cached
        if cached is None:
            return 0
        self._stats.add("CaRdOps", "RD")
        self._stats.add("IO", "rd")
        loop = asyncio.get_running_loop()
        try:
            # The part holds the memory until the thread has ended, whatever becomes of the request.
            with self._queue.slice(start, end) as part:
                # The object must not be closed under the thread either.
                return await finished(loop.run_in_executor(None, _load, cached.object, part))
        finally:
            self._stats.add("CaRdOps", "rs")

    def record(self, start: int, end: int) -> None:
        """Nobody reads before the request has ended."""

    def cancel(self, start: int, end: int) -> None:
        """Nobody reads what did not come."""


def _load(cached: CacheObject, part: BufferQueue) -> int:
    """Read the extent of ``part`` into it, proven; returns how much there was."""
    start, end = part.start, part.end
    done = 0
    try:
        if cached.prove(start, end).end < end:
            return 0
        for view in part.chunks(limit=_LOAD_BYTES):
            count = cached.read_into(start + done, view)
            done += count
            if count < len(view):
                break
    except CacheError:
        return done
    return done
