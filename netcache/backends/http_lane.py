"""A lane: one connection on which small files are asked for (``http_lanes``).

States: free (nobody is in its row); at work; retiring; ended (lent back, lost or given up).
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, Protocol

from netcache._core.readplan import COMES_WHOLE_BYTES
from netcache.backends.http_plain import PlainAnswer, UnusualError, head_is_whole, next_answer
from netcache.backends.http_signs import Kind, Sign

if TYPE_CHECKING:
    from netcache.backends.aiohttp_import import aiohttp

__all__ = ["AGAIN", "ROW_MAX", "Asked", "Lane", "LaneOwner", "Outcome", "is_fit"]

ROW_MAX = 16
"""So many requests may be on their way on one lane."""


class _Again(Enum):
    AGAIN = "again"


AGAIN = _Again.AGAIN
"""The request was not answered, and did nothing to deserve that: it is to be asked again."""

Outcome = PlainAnswer | Literal[_Again.AGAIN] | None
"""What became of a request; None: aiohttp is to ask it."""


class Asked:
    """A request on its way: its bytes, what its answer shows, and who waits for that."""

    __slots__ = ("answer", "request", "shows", "sign", "timeless", "to_head", "was_sent")

    def __init__(self, request: bytes, sign: Sign | None, *, to_head: bool) -> None:
        self.request = request
        self.sign = sign
        self.timeless = sign.without_time() if sign is not None else None
        self.to_head = to_head
        # The sign under which it stands in a row.
        self.shows: Sign | None = None
        self.was_sent = False
        self.answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    def end(self, outcome: Outcome) -> None:
        """Tell who waits."""
        if not self.answer.done():
            self.answer.set_result(outcome)


class LaneOwner(Protocol):
    """What a lane needs of those that it belongs to."""

    timeout_s: float
    tick_s: float
    has_rows: bool
    requests_max: int

    def sign_of(self, asked: Asked) -> Sign | None:
        """What the answer to a request shows, as far as this server tells it."""

    def first_answer(self, asked: Asked, answer: PlainAnswer) -> None:
        """The first answer on a connection."""

    def answered(self, lane: Lane, *, in_row: bool) -> None:
        """A request was answered; there is room for another."""

    def gone(self, lane: Lane) -> None:
        """The lane has ended."""

    def lost(self, *, answered: bool) -> None:
        """A connection ended that had given an answer, or none."""

    def broke_off(self) -> None:
        """A row ended before it was answered, or its next answer did not come in time."""

    def misled(self) -> None:
        """An answer came that is not the one of its request."""

    def give_up(self) -> None:
        """There are to be no more lanes."""


class Lane(asyncio.Protocol):
    """One connection.  On the client's loop."""

    def __init__(self, owner: LaneOwner, connection: aiohttp.connector.Connection) -> None:
        self.row: deque[Asked] = deque()
        self.ended = False
        self.retires = False
        self._owner = owner
        self._connection = connection
        handler: Any = connection.protocol
        self._handler = handler
        self._transport: Any = handler.transport
        self._loop = asyncio.get_running_loop()
        self._begun = b""
        self._unsent: list[bytes] = []
        self._asked_count = 0
        self._is_answered = False
        # The signs of the row, and of requests whose answer may still come after another one.
        self._signs: set[Sign] = set()
        # Once somebody stood behind somebody, this is what all answers here have to show.
        self._kind: Kind | None = None
        # When the head began to be waited for; in a body, when something last came.
        self._since_s = 0.0
        self._was_used = True
        self._transport.set_protocol(self)
        self._tick = self._loop.call_later(owner.tick_s, self._look)

    @property
    def has_room(self) -> bool:
        """Whether one more may stand in the row, if its sign allows that."""
        if self.ended or self.retires or self._transport.is_closing():
            return False
        if not self.row:
            return True
        owner = self._owner
        if not (owner.has_rows and self._is_answered):
            return False
        return len(self.row) < ROW_MAX and self._asked_count < owner.requests_max

    def takes(self, asked: Asked) -> bool:
        """Whether the request may go on this lane now."""
        if not self.has_room:
            return False
        if not self.row and self._kind is None:
            asked.shows = None
            return True
        asked.shows = sign = self._owner.sign_of(asked)
        if sign is None or sign in self._signs:
            return False
        if self._kind is not None:
            return sign.kind == self._kind
        first = self._owner.sign_of(self.row[0])
        return first is not None and first.kind == sign.kind and first != sign

    def ask(self, asked: Asked) -> None:
        """Send a request that the lane takes."""
        if not self.row:
            self._since_s = self._loop.time()
        elif self._kind is None:
            self._begin_row()
        self.row.append(asked)
        if self._kind is None:
            # (Another lane, with a row, may have looked at it.)
            asked.shows = None
        elif asked.shows is not None:
            self._signs.add(asked.shows)
        asked.was_sent = True
        self._asked_count += 1
        self._was_used = True
        if len(self.row) == 1:
            self._transport.write(asked.request)
        else:
            self._send_later(asked.request)

    def _send_later(self, request: bytes) -> None:
        """Who stands in a row waits anyway: what is asked in one turn of the loop goes together."""
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(request)

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, []
        if not self.ended:
            self._transport.write(b"".join(unsent))

    def _begin_row(self) -> None:
        first = self.row[0]
        first.shows = sign = self._owner.sign_of(first)
        assert sign is not None
        self._kind = sign.kind
        self._signs.add(sign)

    # What the transport calls.

    def data_received(self, data: bytes) -> None:
        """An answer, several, or a part of one."""
        data = self._begun + data
        while data and not self.ended:
            try:
                found = self._next_answer(data)
            except UnusualError:
                self._owner.give_up()
                self.end()
                return
            if found is None:
                if head_is_whole(data):
                    self._since_s = self._loop.time()
                break
            data = data[found.length :]
            self._take(found)
        self._begun = data

    def _next_answer(self, data: bytes) -> PlainAnswer | None:
        if not self.row:
            raise UnusualError("an answer that nobody asked for")
        found = next_answer(data, COMES_WHOLE_BYTES, to_head=self.row[0].to_head)
        if found is not None and found.length < len(data) and len(self.row) == 1:
            raise UnusualError("more came than an answer")
        return found

    def _take(self, answer: PlainAnswer) -> None:
        """The answer of the first in the row, or what came in its place."""
        asked, in_row = self.row.popleft(), self._kind is not None
        self._since_s = self._loop.time()
        if not self._is_answered:
            self._is_answered = True
            self._owner.first_answer(asked, answer)
        is_right = True
        if in_row:
            assert asked.shows is not None
            is_right = asked.shows.is_on(answer)
            if is_right:
                self._signs.discard(asked.shows)
        asked.end(answer if is_right else None)
        if not is_right and not _may_be_right(asked, answer):
            # It is another's, and the right one may be under way.
            self._owner.misled()
            self.end(blame=False)
        elif answer.is_last:
            if self.row and answer.status == 200:
                self._owner.requests_max = self._asked_count - len(self.row)
            self.end(blame=False)
        elif self.retires and not self.row:
            self.end(lend_back=True)
        else:
            if self._asked_count - len(self.row) > self._owner.requests_max:
                self._owner.requests_max = sys.maxsize
            self._owner.answered(self, in_row=in_row)

    def connection_lost(self, exc: BaseException | None) -> None:
        """The connection is gone; aiohttp's pool must hear of it too."""
        self._handler.connection_lost(exc)
        if not self.ended:
            if len(self.row) > 1:
                self._owner.broke_off()
            self._owner.lost(answered=self._is_answered)
            self.end()

    def pause_writing(self) -> None:
        """Not ours: passed on."""
        self._handler.pause_writing()

    def resume_writing(self) -> None:
        """Not ours: passed on."""
        self._handler.resume_writing()

    # Its end.

    def _look(self) -> None:
        if not self.row and not self._was_used:
            self.end(lend_back=True)
            return
        if self.row and self._loop.time() - self._since_s >= self._owner.timeout_s:
            first = self.row.popleft()
            if not first.answer.done():
                first.answer.set_exception(TimeoutError())
            if self._kind is not None:
                # Perhaps a server that passes over what it had read with another request.
                self._owner.broke_off()
            self.end(blame=False)
            return
        self._was_used = False
        self._tick = self._loop.call_later(self._owner.tick_s, self._look)

    def retire(self) -> None:
        """Take no more requests, and go back to the pool behind the last answer."""
        self.retires = True
        if not self.row:
            self.end(lend_back=True)

    def end(self, *, lend_back: bool = False, blame: bool = True) -> None:
        """Be a lane no more; the first in the row is left to aiohttp (``blame``).  Idempotent."""
        if self.ended:
            return
        self.ended = True
        self._tick.cancel()
        if lend_back:
            self._transport.set_protocol(self._handler)
            self._connection.release()
        else:
            self._transport.abort()
            self._connection.close()
        row, self.row = self.row, deque()
        self._owner.gone(self)
        for place, asked in enumerate(row):
            asked.end(None if blame and place == 0 else AGAIN)


def _may_be_right(asked: Asked, answer: PlainAnswer) -> bool:
    """Whether an answer without the sign is what its file may have: it is gone, or has changed.

    It may be another's all the same.  But whoever has that sign goes on no lane where it may come.
    """
    return answer.status >= 400 or (asked.to_head and answer.status == 200)


def is_fit(connection: aiohttp.connector.Connection) -> bool:
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
