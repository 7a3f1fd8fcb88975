"""The read engine: how the missing bytes of an inode come.

Rules:

1. It runs on the client's loop only.
2. Only blocks that are asked for are fetched, each once: what is on its way is waited for, what
   adjoins is one exchange, distinct gaps are fetched side by side.
3. The cache is optional at every step: ``CacheError`` means "not kept", and the bytes then come
   from the server into memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from netcache._core.extent import Extent
from netcache._core.readplan import gaps_to_fetch, wanted_blocks
from netcache._core.retry import Retries, RetryPolicy
from netcache._core.stats import Stats
from netcache._fscache.ports import CacheStore
from netcache._netfs.flight import Flight
from netcache._netfs.holding import SpoolHolding
from netcache._netfs.inode import Inode
from netcache._netfs.inodes import InodeTable
from netcache.errors import CacheError, NotCachedError, StaleError, TransientError
from netcache.spi import Backend, ReadReply

DIRECT_BYTES_MAX = 4 << 20
"""How much of a resource that cannot be cached is kept in memory, in bytes."""


class ReadEngine:
    """Brings bytes for all files of a client; ``exchanges`` is how many at the same time."""

    def __init__(
        self,
        backend: Callable[[], Backend],
        store: CacheStore | None,
        inodes: InodeTable,
        stats: Stats,
        *,
        retry: RetryPolicy,
        timeout_s: float,
        exchanges: int,
        offline: bool,
    ) -> None:
        self.backend = backend
        self.store = store
        self.inodes = inodes
        self.stats = stats
        self.offline = offline
        self._retry = retry
        self._timeout_s = timeout_s
        self._gate = asyncio.Semaphore(exchanges)

    async def ensure(self, inode: Inode, start: int, end: int, ahead: int = 0) -> bool:
        """Bring ``[start, end)`` in, and let what is missing up to ``ahead`` come behind it.

        False when the bytes cannot be kept locally: the caller reads them with ``read_direct``.
        """
        while start < inode.clip(end) and not inode.locate(start, inode.clip(end)):
            if inode.holding is None:
                return False
            if not await self._bring(inode, start, inode.clip(end), inode.clip(ahead)):
                return False
        return True

    async def _bring(self, inode: Inode, start: int, end: int, ahead: int) -> bool:
        """One round: launch what is missing, wait for the first missing part."""
        if isinstance(inode.holding, SpoolHolding):
            return await self._await_spool(inode, end)
        if self.offline:
            raise NotCachedError(
                f"read of {inode.resource.url} [{start}, {end}) failed: offline, and not cached",
                url=inode.resource.url,
            )
        if not self._launch_missing(inode, Extent(start, end), ahead):
            return False
        missing = inode.missing(start, end)
        flight = self._flight_of(inode, missing[0].start) if missing else None
        if flight is None:
            return True
        return await self._await_flight(inode, flight, min(end, flight.end) - 1)

    def _launch_missing(self, inode: Inode, wanted: Extent, ahead: int) -> bool:
        """Launch a flight for each gap; False when there is no room for a gap that is wanted."""
        assert inode.holding is not None
        blocks = wanted_blocks(
            wanted.start, max(wanted.end, ahead), inode.size, inode.holding.block_size
        )
        inode.missing(blocks.start, blocks.end)
        for gap in gaps_to_fetch(blocks, inode.present, inode.on_their_way()):
            if not self._room_for(gap.length):
                return gap.start >= wanted.end
            if gap.start >= wanted.end:
                self.stats.add("Reads", "RA")
            self.launch(inode, gap)
        return True

    def _room_for(self, length: int) -> bool:
        try:
            if self.store is not None:
                self.store.reserve(length)
        except CacheError:
            self.stats.add("NoSpace", "nwr")
            return False
        return True

    @staticmethod
    def _flight_of(inode: Inode, position: int) -> Flight | None:
        for flight in inode.flights:
            if flight.position <= position and (position < flight.end or flight.end < 0):
                return flight
        return None

    async def _await_flight(self, inode: Inode, flight: Flight, last: int) -> bool:
        try:
            await flight.wait_past(last)
        except StaleError:
            self.inodes.forget(inode.key, inode)
            raise
        except CacheError:
            if inode.cached is not None:
                inode.lose_holding()
            self.inodes.forget(inode.key, inode)
            return False
        return True

    async def _await_spool(self, inode: Inode, end: int) -> bool:
        """Wait for a body that comes in one piece; a spool has exactly one flight."""
        if not inode.flights:
            raise TransientError(
                f"read of {inode.resource.url} failed: its only response broke off",
                url=inode.resource.url,
            )
        await inode.flights[0].wait_past(end - 1)
        await asyncio.sleep(0)
        return True

    def launch(self, inode: Inode, extent: Extent, reply: ReadReply | None = None) -> Flight:
        """Let ``extent`` come, from ``reply`` when its head is here already."""
        return Flight(
            inode,
            extent,
            backend=self.backend(),
            stats=self.stats,
            policy=self._retry,
            gate=self._gate,
            timeout_s=self._timeout_s,
            reply=reply,
        )

    async def read_direct(self, inode: Inode, start: int, end: int, ahead: int = 0) -> bytes:
        """The bytes ``[start, end)`` from the server, past the cache; ``ahead`` as in ``ensure``.

        The last piece read this way is kept in memory for the reads that follow it.
        """
        end = inode.clip(end)
        kept_start, kept = inode.memory
        if kept_start <= start and end <= kept_start + len(kept):
            return kept[start - kept_start : end - kept_start]
        if self.offline:
            raise NotCachedError(
                f"read of {inode.resource.url} [{start}, {end}) failed: offline, and not cached",
                url=inode.resource.url,
            )
        stop = min(max(end, inode.clip(ahead)), max(end, start + DIRECT_BYTES_MAX))
        data = await self._collect(inode, start, stop)
        if len(data) <= DIRECT_BYTES_MAX:
            inode.memory = (start, data)
        return data[: end - start]

    async def take_into_memory(self, inode: Inode, reply: ReadReply) -> None:
        """Keep the body of ``reply`` in memory; what breaks off is left for the next read."""
        pieces: list[bytes] = []
        self.stats.add("DownOps", "DL")
        try:
            await reply.receive(lambda _, view: pieces.append(bytes(view)))
        except TransientError:
            self.stats.add("DownOps", "df")
        finally:
            self.stats.add("DownOps", "ds")
            await reply.close()
        inode.memory = (reply.extent.start, b"".join(pieces))
        self.stats.add("DownOps", "bytes", len(inode.memory[1]))

    async def _collect(self, inode: Inode, start: int, end: int) -> bytes:
        """``[start, end)`` from the server into memory, going on where a body broke off."""
        buffer = bytearray(end - start)
        position = start

        def take(at: int, view: memoryview) -> None:
            nonlocal position
            low, high = max(at, start), min(at + len(view), end)
            if low < high:
                buffer[low - start : high - start] = view[low - at : high - at]
                position = max(position, high)

        retries = Retries(self._retry)
        while position < end:
            before = position
            self.stats.add("DownOps", "DL")
            reply = await self.backend().open_read(
                inode.resource.url, Extent(position, end), expected=inode.version
            )
            try:
                await reply.receive(take)
            except TransientError as error:
                if position > before:
                    retries = Retries(self._retry)
                self.stats.add("Retries", "rs")
                await asyncio.sleep(retries.pause_s(error))
            finally:
                self.stats.add("DownOps", "ds")
                self.stats.add("DownOps", "bytes", position - before)
                await reply.close()
        return bytes(buffer)

    async def close(self) -> None:
        """Cancel what is still flying and wait until it has ended."""
        flights = [f.task for inode in self.inodes.all() for f in inode.flights]
        for task in flights:
            task.cancel()
        await asyncio.gather(*flights, return_exceptions=True)
