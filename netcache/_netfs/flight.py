"""Flights: requests that fill an inode's holding, shared by all readers who need their bytes.

A flight covers one contiguous extent.  Readers that need part of it wait for its position to
pass; they are told whenever more has been collected, while exchanges still run.  Before it asks the
server it claims its extent against other processes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from netcache._core.content import Content
from netcache._core.extent import Extent
from netcache._core.read_sources import Piece, choose_pieces
from netcache._netfs import events
from netcache._netfs.fill_claim import FillClaim
from netcache._netfs.inode import Inode
from netcache._netfs.request import Origin, Request
from netcache._netfs.survey import survey_of, zero_limit_of
from netcache.errors import TransientError
from netcache.spi import ReadReply

if TYPE_CHECKING:
    from netcache._netfs.coming import Coming
    from netcache._netfs.read_means import ReadMeans

OnWhole = Callable[[Inode, ReadReply], Awaitable[None]]


BEHIND_BYTES_MAX = 64 << 20
"""A flight that has more than this to bring holds nothing back that follows it."""


class Flight:
    """One extent on its way; ``end`` is ``OPEN_END`` while only the end of the body tells it.

    ``pieces`` tile it.  ``dense``: the object holds everything before it, or will; a flight that
    begins where a dense one ends is recorded after that one.  ``reply``, if given, answers all of
    it.  ``on_whole`` takes a reply that bears the whole resource, when a part had been asked for.
    """

    __slots__ = (
        "_behind",
        "_claim",
        "_cut_bytes",
        "_means",
        "_on_whole",
        "_pieces",
        "_reply",
        "dense",
        "gone",
        "inode",
        "request",
        "task",
    )

    def __init__(
        self,
        inode: Inode,
        pieces: Sequence[Piece],
        means: ReadMeans,
        *,
        origin: Origin,
        cut_bytes: int,
        on_whole: OnWhole,
        reply: ReadReply | None = None,
    ) -> None:
        self.inode = inode
        self._pieces = pieces
        self._means = means
        self._cut_bytes = cut_bytes
        self._on_whole = on_whole
        self._reply = reply
        cached = inode.cached
        extent = Extent(pieces[0].start, pieces[-1].end)
        self._behind = self._flight_before(extent.start)
        self.dense = self._fills_densely(extent.start)
        self._claim = FillClaim(inode, extent, means.timeout_s) if cached is not None else None
        self.request = Request(
            origin,
            extent,
            means.stats,
            size=inode.size,
            zero_limit=zero_limit_of(inode),
            inval_counter=cached.object.inval_counter if cached is not None else 0,
        )
        events.read(self.request, inode.resource.url)
        inode.flights.add(self)
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.task = asyncio.ensure_future(self._run())
        self.task.add_done_callback(self._ended)

    def _flight_before(self, start: int) -> Coming | None:
        """The flight that brings what lies before, when the object holds everything up to it."""
        for flight in self.inode.flights.meeting(start, start + 1):
            near = start - flight.position <= BEHIND_BYTES_MAX
            if flight.dense and flight.end == start and near:
                return flight
        return None

    def _fills_densely(self, start: int) -> bool:
        """Whether the object will hold everything up to our end, and so needs no map."""
        cached = self.inode.cached
        if cached is None or cached.object.content is Content.BACKFS_MAP:
            return False
        return self._behind is not None or start <= cached.object.stored_end

    @property
    def position(self) -> int:
        """How far it has come: what lies below is there, or will not come by this flight."""
        return self.request.collected_to

    @property
    def end(self) -> int:
        """Where it ends."""
        return self.request.end

    @property
    def error(self) -> Exception | None:
        """What went wrong first."""
        return self.request.error

    async def wait_for(self, start: int, end: int) -> None:
        """Return when ``[start, end)`` has come, or nothing more comes; else raise why."""
        await self.request.wait_for(start, end)

    async def _run(self) -> None:
        pieces: Sequence[Piece] = self._pieces
        if self._claim is not None:
            waited = await self._claim.take(self._reply, self.request.skip_to)
            if waited:
                await self._drop_reply()
                pieces = self._plan_anew()
        try:
            if pieces:
                await self._issue(pieces)
        finally:
            if self._claim is not None:
                self._claim.give_back()

    def _plan_anew(self) -> list[Piece]:
        """What another process has brought meanwhile need not come."""
        pieces: list[Piece] = []
        position, end = self.request.collected_to, self.request.end
        holding = self.inode.holding
        while position < end:
            survey = survey_of(self.inode, position, end)
            pieces += choose_pieces(
                Extent(position, survey.reach),
                survey.extents,
                zero_limit=zero_limit_of(self.inode),
                block_size=holding.block_size if holding is not None else 1,
                copy=True,
            )
            position = survey.reach
        return pieces

    async def _issue(self, pieces: Sequence[Piece]) -> None:
        # Here, for who only waits behind another process needs none of it.
        from netcache._netfs.read_issuer import Issuer
        from netcache._netfs.read_sinks import HoldingSink

        # Not kept: each flight of a long scan would keep all before it.
        behind, self._behind = self._behind, None
        issuer = Issuer(
            self.request,
            self.inode,
            HoldingSink(self.inode, self._means.stats),
            self._means,
            resumable=not self.inode.spools,
            behind=behind.request if behind is not None else None,
        )
        reply, self._reply = self._reply, None
        await issuer.run(pieces, self._cut_bytes, reply)
        if issuer.whole_reply is not None:
            await self._on_whole(self.inode, issuer.whole_reply)

    async def _drop_reply(self) -> None:
        reply, self._reply = self._reply, None
        if reply is not None:
            await reply.close()

    def _ended(self, task: asyncio.Task[None]) -> None:
        """The task has ended, perhaps before its first step."""
        try:
            self._leave(task)
        finally:
            # Whatever went wrong there: who closes the engine waits for this.
            self.gone.set_result(None)

    def _leave(self, task: asyncio.Task[None]) -> None:
        """Tell everybody what is missing, and let go of everything."""
        request, url = self.request, self.inode.resource.url
        rest = Extent(request.collected_to, max(request.collected_to, request.end))
        error = None if task.cancelled() else task.exception()
        if task.cancelled():
            request.fail(rest, TransientError(f"read of {url} was given up", url=url))
        elif isinstance(error, Exception):
            request.fail(rest, error)
        if self._claim is not None:
            # That of a task that was cancelled before its first step.
            self._claim.give_back()
        if self._reply is not None:
            self._means.later(self._drop_reply())
        self.inode.flights.remove(self)
        request.finish()
