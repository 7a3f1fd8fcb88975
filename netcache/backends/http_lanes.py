"""Lanes: kept connections on which small files are asked for, one after the other.

What aiohttp does for a request (objects for it and for its answer, timers, a parser, the way
through its pool) takes several times as long as the request of a file of some KiB.  A lane is one
of aiohttp's connections, lent from its pool, with our protocol on its transport: a request is one
line and the same fields each time, and its answer is taken apart by ``http_plain``.

Rules:

1. Whatever is not plain is left to aiohttp, which asks again; the origin gets no lanes any more.
   So is a request whose connection ended before it was answered, and the lanes go on; after
   ``VAIN_MAX`` connections in a row without an answer they do not.
2. Silence is an error at once: the head has to come in time, and then each piece of the body.
3. A lane that nobody uses goes back to the pool.

Everything on the client's loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from netcache._core.readplan import COMES_WHOLE_BYTES
from netcache.backends.aiohttp_import import aiohttp
from netcache.backends.http_plain import PlainAnswer, UnusualError, head_is_whole, next_answer

__all__ = ["VAIN_MAX", "Lanes"]

VAIN_MAX = 3
TICK_S = 1.0
"""How often a lane is looked after; one that was not used meanwhile goes back to the pool."""


class _Lane(asyncio.Protocol):
    """One connection.

    States: free; waiting for an answer; ended (lent back, lost or given up).
    """

    def __init__(self, lanes: Lanes, connection: aiohttp.connector.Connection) -> None:
        self._lanes = lanes
        self._connection = connection
        handler: Any = connection.protocol
        self._handler = handler
        self._transport: Any = handler.transport
        self._loop = asyncio.get_running_loop()
        self._answer: asyncio.Future[PlainAnswer | None] | None = None
        self._begun = b""
        self._to_head = False
        self._was_answered = False
        # When the head began to be waited for; in a body, when something last came.
        self._since_s = 0.0
        self._was_used = True
        self.ended = False
        self._transport.set_protocol(self)
        self._tick = self._loop.call_later(lanes.tick_s, self._look)

    def ask(self, request: bytes, *, to_head: bool) -> asyncio.Future[PlainAnswer | None]:
        """Send a request, on a lane that is free; None as its answer leaves it to aiohttp."""
        self._to_head = to_head
        self._answer = self._loop.create_future()
        self._since_s = self._loop.time()
        self._was_used = True
        self._transport.write(request)
        return self._answer

    # What the transport calls.

    def data_received(self, data: bytes) -> None:
        """An answer, or a part of one."""
        if self._begun:
            data = self._begun + data
        try:
            found = None
            if self._answer is not None:
                found = next_answer(data, COMES_WHOLE_BYTES, to_head=self._to_head)
            if self._answer is None or (found is not None and found.length < len(data)):
                raise UnusualError("more came than an answer")
        except UnusualError:
            if not self.ended:
                self._lanes.closed = True
                self.end()
            return
        if found is None:
            self._begun = data
            if head_is_whole(data):
                self._since_s = self._loop.time()
            return
        self._begun, self._was_answered = b"", True
        answer, self._answer = self._answer, None
        if found.is_last:
            self.end()
        else:
            self._lanes.free.append(self)
        if not answer.done():
            answer.set_result(found)

    def connection_lost(self, exc: BaseException | None) -> None:
        """The connection is gone; aiohttp's pool must hear of it too."""
        self._handler.connection_lost(exc)
        if not self.ended:
            self._lanes.lost(answered=self._was_answered)
            self.end()

    def pause_writing(self) -> None:
        """Not ours: passed on."""
        self._handler.pause_writing()

    def resume_writing(self) -> None:
        """Not ours: passed on."""
        self._handler.resume_writing()

    # Its end.

    def _look(self) -> None:
        if self._answer is None and not self._was_used:
            self.end(lend_back=True)
            return
        answer, waited_s = self._answer, self._loop.time() - self._since_s
        if answer is not None and waited_s >= self._lanes.timeout_s:
            if not answer.done():
                answer.set_exception(TimeoutError())
            self.end()
            return
        self._was_used = False
        self._tick = self._loop.call_later(self._lanes.tick_s, self._look)

    def end(self, *, lend_back: bool = False) -> None:
        """Be a lane no more; who waits is left to aiohttp.  Idempotent."""
        if self.ended:
            return
        self.ended = True
        self._tick.cancel()
        self._lanes.forget(self)
        if lend_back:
            self._transport.set_protocol(self._handler)
            self._connection.release()
        else:
            self._transport.abort()
            self._connection.close()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(None)
        self._answer = None


class Lanes:
    """The lanes to one origin.  ``closed``: it gets no more of them."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[aiohttp.connector.Connection]],
        *,
        most: int,
        timeout_s: float,
        tick_s: float = TICK_S,
    ) -> None:
        self.closed = most < 1
        self.timeout_s = timeout_s
        self.tick_s = min(tick_s, timeout_s)
        self.free: list[_Lane] = []
        self._connect = connect
        self._most = most
        self._lanes: set[_Lane] = set()
        self._opening = 0
        # How many connections in a row ended without an answer.
        self._vain = 0

    async def ask(self, request: bytes, *, to_head: bool = False) -> PlainAnswer | None:
        """Send a request, a ``HEAD`` or a ``GET``; None when aiohttp is to ask.

        Raises ``TimeoutError``, and what connecting raises.
        """
        if self.closed:
            return None
        lane = self.free.pop() if self.free else await self._another()
        return await lane.ask(request, to_head=to_head) if lane is not None else None

    async def _another(self) -> _Lane | None:
        """One more, if there may be one."""
        if len(self._lanes) + self._opening >= self._most:
            return None
        self._opening += 1
        try:
            connection = await self._connect()
        finally:
            self._opening -= 1
        if self.closed or not _is_fit(connection):
            self.closed = True
            connection.close()
            return None
        lane = _Lane(self, connection)
        self._lanes.add(lane)
        return lane

    def lost(self, *, answered: bool) -> None:
        """A connection ended that had given an answer, or none."""
        self._vain = 0 if answered else self._vain + 1
        if self._vain == VAIN_MAX:
            self.closed = True

    def forget(self, lane: _Lane) -> None:
        """The lane is none any more."""
        self._lanes.discard(lane)
        if lane in self.free:
            self.free.remove(lane)

    def close(self) -> None:
        """End all of them.  Idempotent."""
        self.closed = True
        for lane in list(self._lanes):
            lane.end()


def _is_fit(connection: aiohttp.connector.Connection) -> bool:
    """Whether aiohttp is as we know it: some of what is used here it does not document."""
    handler: Any = connection.protocol
    transport: Any = getattr(handler, "transport", None)
    wanted = (
        (transport, ("set_protocol", "get_protocol", "write", "abort")),
        (handler, ("connection_lost", "pause_writing", "resume_writing")),
    )
    if any(not hasattr(thing, name) for thing, names in wanted for name in names):
        return False
    return transport.get_protocol() is handler and not transport.is_closing()
