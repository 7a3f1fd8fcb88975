"""Lanes: kept connections on which small files are asked for, several in a row where that is safe.

What aiohttp does for a request (objects for it and for its answer, timers, a parser, the way
through its pool) takes several times as long as the request of a file of some KiB.  A lane is one
of aiohttp's connections, lent from its pool, with our protocol on its transport (``http_lane``): a
request is one line and the same fields each time, and its answer is taken apart by ``http_plain``.

Rules:

1. Whatever is not plain is left to aiohttp, which asks again; the origin gets no lanes any more.
   So is a request whose connection ended before it was answered, and the lanes go on; after
   ``VAIN_MAX`` connections in a row without an answer they do not.
2. Silence is an error at once: the head has to come in time, and then each piece of the body.
3. A lane that nobody uses goes back to the pool.
4. A request goes behind others that are not answered yet (RFC 9112 9.3.2) when the connection has
   brought an answer before, and the signs of all of them differ (``http_signs``).  From then on
   each answer on that lane has to show the sign of its request; one that does not is left to
   aiohttp.  After ``ODD_MAX`` that belong to another request, or as many rows that broke off or
   fell silent soon after each other, nobody stands behind anybody any more.
5. Who stood behind in a row that ended asks again; so does who finds no lane, when one has gone.

Everything on the client's loop.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from netcache.backends.http_lane import AGAIN, ROW_MAX, Asked, Lane, Outcome, is_fit

if TYPE_CHECKING:
    from netcache.backends.aiohttp_import import aiohttp
    from netcache.backends.http_plain import PlainAnswer
    from netcache.backends.http_signs import Sign

__all__ = ["ODD_MAX", "ROW_MAX", "VAIN_MAX", "Lanes"]

VAIN_MAX = 3
ODD_MAX = 3
WELL_MIN = 10 * ROW_MAX
"""After so many answers in rows, one that breaks off is the first one again."""
ROUNDS_MAX = 4
"""A request that had to be asked again so often is left to aiohttp."""
LOOKS_MAX = 4
"""Of those that wait, so many are passed over before a lane takes no more for now."""
TICK_S = 1.0
"""How often a lane is looked after; one that was not used meanwhile goes back to the pool."""


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
        self.has_rows = True
        # After so many requests this server closes a connection.
        self.requests_max = sys.maxsize
        self.free: list[Lane] = []
        self._connect = connect
        self._most = most
        self._lanes: list[Lane] = []
        self._waiting: deque[Asked] = deque()
        self._opening = 0
        # Whether the times in listings are those of the answers; None: not known yet.
        self._tells_times: bool | None = None
        # How many connections in a row ended without an answer.
        self._vain = 0
        self._misled = 0
        self._broken_rows = 0
        # Whether answers came since a row broke off, and how many of them in rows.
        self._was_answered = True
        self._in_rows = 0

    async def ask(
        self, request: bytes, *, to_head: bool = False, sign: Sign | None = None
    ) -> PlainAnswer | None:
        """Send a request, a ``HEAD`` or a ``GET``; None when aiohttp is to ask.

        ``sign`` is what its answer shows, if that is known; without one it goes alone.  Raises
        ``TimeoutError``, and what connecting raises.
        """
        for _ in range(ROUNDS_MAX):
            outcome = await self._ask_once(request, sign, to_head=to_head)
            if outcome is not AGAIN:
                return outcome
        return None

    def limit(self, most: int) -> None:
        """Have no more than ``most`` lanes, at least one, from now on; some may retire."""
        self._most = max(1, most)
        for lane in self._lanes[self._most :]:
            lane.retire()

    async def _ask_once(self, request: bytes, sign: Sign | None, *, to_head: bool) -> Outcome:
        """Send it once; ``AGAIN`` when it stood in a row that ended."""
        while not self.closed:
            asked = Asked(request, sign, to_head=to_head)
            lane = self._lane_for(asked)
            if lane is None and self.free and not self._may_open:
                # Free ones that do not take it have had rows: their connections make new lanes.
                self.free[0].retire()
            if lane is None and self._may_open:
                lane = await self._another()
                if lane is None:
                    return None
            if lane is not None:
                lane.ask(asked)
            else:
                self._waiting.append(asked)
            try:
                outcome = await asked.answer
            except asyncio.CancelledError:
                self._left(asked)
                raise
            if outcome is not AGAIN or asked.was_sent:
                return outcome
        return None

    @property
    def _may_open(self) -> bool:
        """Whether there may be another lane."""
        return len(self._lanes) + self._opening < self._most

    def _left(self, asked: Asked) -> None:
        """Whoever asked waits no more; if he was to open a lane, another does."""
        if asked in self._waiting:
            self._waiting.remove(asked)
        elif not asked.was_sent:
            self._wake_one()

    def _lane_for(self, asked: Asked) -> Lane | None:
        """A free lane; once there are as many as may be, one with others before."""
        for place in reversed(range(len(self.free))):
            if self.free[place].takes(asked):
                return self.free.pop(place)
        if len(self._lanes) < self._most:
            return None
        best = None
        for lane in self._lanes:
            is_shorter = best is None or len(lane.row) < len(best.row)
            if lane.row and is_shorter and lane.takes(asked):
                best = lane
        return best

    async def _another(self) -> Lane | None:
        """One more."""
        self._opening += 1
        lane = None
        try:
            connection = await self._connect()
            if self.closed or not is_fit(connection):
                self.give_up()
                connection.close()
                return None
            lane = Lane(self, connection)
            self._lanes.append(lane)
            # There may be fewer than when it began to be opened.
            lane.retires = len(self._lanes) > self._most
            return lane
        finally:
            self._opening -= 1
            if lane is None:
                self._wake_one()

    def _wake_one(self) -> None:
        """Where there may be another lane, somebody is to open it."""
        if self._waiting and self._may_open:
            self._waiting.popleft().end(AGAIN)

    # What lanes tell.

    def sign_of(self, asked: Asked) -> Sign | None:
        """What the answer to a request shows, as far as this server tells it."""
        return asked.sign if self._tells_times else asked.timeless

    def first_answer(self, asked: Asked, answer: PlainAnswer) -> None:
        """The first answer on a connection; the first file of all decides about times."""
        sign = asked.sign
        if sign is None or sign.modified is None or answer.status != 200:
            return
        if self._tells_times is None:
            self._tells_times = sign.has_time_of(answer)

    def answered(self, lane: Lane, *, in_row: bool) -> None:
        """A request was answered; there is room for another."""
        self._vain = 0
        self._was_answered = True
        self._in_rows += in_row
        if self._waiting:
            self._fill(lane)
        if not lane.row:
            self.free.append(lane)

    def _fill(self, lane: Lane) -> None:
        """Let those go who have waited for it, in order.

        (Where all files have one size, all signs may be the same.)
        """
        passed_over: list[Asked] = []
        while self._waiting and len(passed_over) < LOOKS_MAX and lane.has_room:
            asked = self._waiting.popleft()
            if lane.takes(asked):
                lane.ask(asked)
            elif lane.row:
                passed_over.append(asked)
            else:
                # It can stand in no row, and this connection has had some.
                asked.end(None)
        self._waiting.extendleft(reversed(passed_over))

    def lost(self, *, answered: bool) -> None:
        """A connection ended that had given an answer, or none."""
        self._vain = 0 if answered else self._vain + 1
        if self._vain == VAIN_MAX:
            self.give_up()

    def broke_off(self) -> None:
        """A row ended before it was answered, or its next answer did not come in time.

        Rows that end with no answer in between, as when a server starts anew, count as one.
        """
        if not self._was_answered:
            return
        self._was_answered = False
        went_well = self._in_rows >= WELL_MIN
        self._broken_rows = 1 if went_well else self._broken_rows + 1
        self._in_rows = 0
        if self._broken_rows == ODD_MAX:
            self.has_rows = False

    def misled(self) -> None:
        """An answer came that is not the one of its request."""
        self._misled += 1
        if self._misled == ODD_MAX:
            self.has_rows = False

    def gone(self, lane: Lane) -> None:
        """The lane is none any more."""
        self._lanes.remove(lane)
        if lane in self.free:
            self.free.remove(lane)
        self._wake_one()

    def give_up(self) -> None:
        """There are no more lanes; what is on its way still comes."""
        self.closed = True
        while self._waiting:
            self._waiting.popleft().end(None)

    def close(self) -> None:
        """End all of them.  Idempotent."""
        self.give_up()
        for lane in list(self._lanes):
            lane.end()
