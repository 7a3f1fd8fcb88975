"""Flights: exchanges that bring missing extents of an inode, each extent once.

A flight covers one contiguous extent.  Readers that need part of it wait for its position to
pass; they are told whenever another piece has been stored, while the exchange still runs.  A body
that breaks off is asked for again from where it stopped, under the same version.
"""

from __future__ import annotations

import asyncio

from netcache._core.extent import Extent
from netcache._core.retry import Retries, RetryPolicy
from netcache._core.stats import Stats
from netcache._netfs.holding import CachedHolding, SpoolHolding
from netcache._netfs.inode import Inode
from netcache.errors import CacheError, RemoteProtocolError, TransientError
from netcache.spi import Backend, ReadReply

NOTICE_BYTES = 256 * 1024
"""How much must have come before readers are told (netfs: max(256 KiB, the front folio))."""

SHORT_BYTES = 1 << 20
"""A reply up to this long is taken even when another process is fetching the same."""

_CLAIM_PAUSE_S = (0.002, 0.05)


class Flight:
    """One extent on its way.  ``position`` is how far it is stored; ``end`` -1 while unknown."""

    __slots__ = (
        "_backend",
        "_gate",
        "_policy",
        "_reply",
        "_stats",
        "_timeout_s",
        "_waiters",
        "end",
        "error",
        "inode",
        "position",
        "task",
    )

    def __init__(
        self,
        inode: Inode,
        extent: Extent,
        *,
        backend: Backend,
        stats: Stats,
        policy: RetryPolicy,
        gate: asyncio.Semaphore,
        timeout_s: float,
        reply: ReadReply | None = None,
    ) -> None:
        self.inode = inode
        self.position, self.end = extent
        self.error: BaseException | None = None
        self._backend = backend
        self._stats = stats
        self._policy = policy
        self._gate = gate
        self._timeout_s = timeout_s
        self._reply = reply
        self._waiters: list[asyncio.Future[None]] = []
        inode.flights.append(self)
        self.task = asyncio.ensure_future(self._run())

    async def wait_past(self, position: int) -> None:
        """Return when more has been stored, or the flight has ended; raise what ended it badly.

        ``position`` is the first byte still needed.
        """
        while self.position <= position and not self.task.done():
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter
        if self.error is not None and self.position <= position:
            raise self.error

    async def _run(self) -> None:
        self._stats.add("Objs", "rr")
        try:
            async with self._gate:
                await self._fly()
        except asyncio.CancelledError:
            url = self.inode.resource.url
            self.error = TransientError(f"read of {url} was given up", url=url)
            raise
        except Exception as error:
            self.error = error
            self._stats.add("DownOps", "df")
        finally:
            self.inode.flights.remove(self)
            self._stats.add("Objs", "rr", -1)
            self._tell()
            await self._drop_reply()

    async def _fly(self) -> None:
        """Claim the extent against other processes, then exchange until nothing is missing."""
        start, end = self.position, self.end
        cached = self.inode.cached
        if cached is None or end < 0:
            await self._exchange_all()
            return
        claimed = await self._claim(cached, start, end)
        try:
            await self._exchange_all()
        finally:
            if claimed:
                cached.object.unlock_extent(start, end)

    async def _claim(self, cached: CachedHolding, start: int, end: int) -> bool:
        """Wait while another process fetches what we want, as long as it gets on with it.

        A reply that is here already is given up for that, unless it is short.
        """
        pause, waited, missing = _CLAIM_PAUSE_S[0], 0.0, -1
        while not cached.object.try_lock_extent(start, end):
            if waited > self._timeout_s or (self._reply is not None and end - start <= SHORT_BYTES):
                return False
            await self._drop_reply()
            await asyncio.sleep(pause)
            left = sum(gap.length for gap in self.inode.missing(start, end))
            if not left:
                return False
            waited = waited + pause if left == missing else 0.0
            missing, pause = left, min(pause * 2, _CLAIM_PAUSE_S[1])
        return True

    async def _exchange_all(self) -> None:
        """Exchange until nothing is missing; a body that breaks off is asked for from there on."""
        retries = Retries(self._policy)
        while (gap := self._next_gap()) is not None:
            before = self.position
            broken_off = await self._exchange(gap)
            if broken_off is None:
                self._need_progress(gap, before)
                continue
            if self._spooling:
                raise broken_off
            if self.position > before:
                retries = Retries(self._policy)
            self._stats.add("Retries", "rs")
            await asyncio.sleep(retries.pause_s(broken_off))

    def _need_progress(self, gap: Extent, before: int) -> None:
        if self.position <= before and not self._spooling:
            url = self.inode.resource.url
            raise RemoteProtocolError(f"read of {url} {gap} brought nothing to keep", url=url)

    @property
    def _spooling(self) -> bool:
        return isinstance(self.inode.holding, SpoolHolding)

    def _next_gap(self) -> Extent | None:
        """The next extent to ask for; moves ``position`` past what is there by now."""
        if self._reply is not None:
            return Extent(self.position, self.end)
        if self._spooling:
            return None
        gaps = self.inode.missing(self.position, self.end)
        if not gaps:
            self.position = max(self.position, self.end)
            return None
        self.position = gaps[0].start
        return gaps[0]

    async def _exchange(self, gap: Extent) -> TransientError | None:
        """One request and its body; ``position`` moves as pieces are stored.

        Returns what broke the body off, None when it came whole.  What prevents the head has been
        tried again by the backend already, and is raised.
        """
        self._stats.add("DownOps", "DL")
        self._stats.add("Objs", "sr")
        try:
            if self._reply is None:
                self._reply = await self._backend.open_read(
                    self.inode.resource.url, gap, expected=self.inode.version
                )
            self._place(self._reply, gap)
            try:
                await self._reply.receive(self._sink, notice_bytes=NOTICE_BYTES)
            except TransientError as error:
                return error
            return None
        finally:
            self._stats.add("DownOps", "ds")
            self._stats.add("Objs", "sr", -1)
            await self._drop_reply()

    def _place(self, reply: ReadReply, gap: Extent) -> None:
        """Where the body of ``reply`` goes: where it was asked for, or over the whole."""
        if reply.whole and reply.version is not None:
            self.position, self.end = 0, max(self.end, reply.version.size)
        elif reply.extent.start != self.position:
            url = self.inode.resource.url
            raise RemoteProtocolError(
                f"read of {url} {gap}: the server sent {reply.extent}", url=url
            )

    async def _drop_reply(self) -> None:
        reply, self._reply = self._reply, None
        if reply is not None:
            await reply.close()

    def _sink(self, start: int, view: memoryview) -> None:
        """Store one piece and tell the readers."""
        holding = self.inode.holding
        if holding is None:
            raise CacheError("the cache of this file was given up")
        self.inode.received_bytes += len(view)
        self._stats.add("DownOps", "bytes", len(view))
        self._stats.add("CaWrOps", "WR")
        try:
            end = holding.store(start, view, self.inode.size)
        except CacheError:
            self._stats.add("CaWrOps", "wf")
            raise
        self._stats.add("CaWrOps", "ws")
        self._stats.add("CaWrOps", "bytes", end - start)
        self.inode.arrived(start, end)
        self.position = end
        self._tell()

    def _tell(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
