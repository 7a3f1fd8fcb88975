"""Requests, streams and subrequests: what is asked for, how it was cut, how far it has come.

A request is one I/O as a whole.  Its stream is the ordered list of subrequests that tile it, each
with one source.  The issuer appends to the list, the collector takes finished subrequests from
its front; both run on the client's loop, so no lock is needed, and the head of the list is the only
record of the front.

Positions only grow, and in this order (checked at each step)::

    issued_to >= stream collected_to >= request collected_to >= cleaned_to
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from enum import Enum
from typing import TYPE_CHECKING

from netcache._core.extent import Extent
from netcache._core.invariant import invariant
from netcache._core.read_completion import Outcome
from netcache._core.read_retry import RetryPlan, RetryState, Slice, Stopped
from netcache._core.read_sources import Piece, Source
from netcache._core.stats import Stats

if TYPE_CHECKING:
    from netcache.spi import ReadReply

OPEN_END = 1 << 62
"""The end of a request whose length only the end of the body tells."""

_ids = itertools.count(1)


class Origin(Enum):
    """Why a request was made; the values are the kernel's letters and names."""

    READAHEAD = ("RA", "READAHEAD")
    READ = ("RP", "READPAGE")
    WHOLE = ("R1", "READ-SNGL")
    DIRECT = ("DR", "DIO-READ")

    @property
    def letters(self) -> str:
        """Two letters, as in the kernel's list of requests."""
        return self.value[0]

    @property
    def event(self) -> str:
        """The kind that ``netfs_read`` tells."""
        return self.value[1]


class Subrequest:
    """One exchange, one cache read, or one run of zeros: ``[start, end)`` of its request.

    ``transferred`` bytes of it are there, ``before`` of them from earlier attempts.  ``retries``
    counts the attempts without progress.
    """

    __slots__ = (
        "before",
        "boundary",
        "copy",
        "end",
        "error",
        "hit_eof",
        "in_progress",
        "index",
        "need_retry",
        "reply",
        "request",
        "retries",
        "source",
        "start",
        "state",
        "transferred",
    )

    def __init__(self, request: Request, index: int, piece: Piece) -> None:
        self.request = request
        self.index = index
        self.start = piece.start
        self.end = piece.end
        self.source = piece.source
        self.copy = piece.copy
        self.transferred = 0
        self.before = 0
        self.retries = 0
        self.state = RetryState.AGAIN
        self.boundary = False
        self.reply: ReadReply | None = None
        self.error: Exception | None = None
        self.in_progress = False
        self.need_retry = False
        self.hit_eof = False

    @property
    def position(self) -> int:
        """How far its bytes are there."""
        return self.start + self.transferred

    @property
    def length(self) -> int:
        """How many bytes it is about."""
        return self.end - self.start

    @property
    def asked_end(self) -> int:
        """Where the bytes to ask for end; from there to ``end`` are zeros."""
        return min(self.end, max(self.start, self.request.zero_limit))

    @property
    def done(self) -> bool:
        """Whether nothing more is to come of it, for good or for bad."""
        return not self.in_progress and self.state is not RetryState.AGAIN

    def begin(self) -> None:
        """An attempt begins."""
        invariant(not self.in_progress, "an attempt ends before the next one begins", sub=self)
        self.in_progress = True
        self.before = self.transferred
        self.error = None
        self.need_retry = False
        self.hit_eof = False

    def outcome(self) -> Outcome:
        """What is to be judged when an attempt has ended."""
        return Outcome(
            self.source,
            self.length,
            self.transferred,
            before=self.before,
            failed=self.error is not None,
            need_retry=self.need_retry,
            hit_eof=self.hit_eof,
            clear_tail=self.position >= self.asked_end,
        )

    def __repr__(self) -> str:
        return (
            f"R={self.request.id:08x}[{self.index}] {self.source.value} "
            f"[{self.start}, {self.end}) {self.transferred}/{self.length}"
        )


class Stream:
    """The subrequests of a request in order; they follow each other without gaps."""

    __slots__ = ("_collected_to", "_indexes", "request", "subrequests")

    def __init__(self, request: Request, start: int) -> None:
        self.request = request
        self.subrequests: deque[Subrequest] = deque()
        self._collected_to = start
        self._indexes = itertools.count()

    @property
    def front(self) -> Subrequest | None:
        """The subrequest that the collector waits for."""
        return self.subrequests[0] if self.subrequests else None

    @property
    def issued_to(self) -> int:
        """Where the last subrequest ends."""
        return self.subrequests[-1].end if self.subrequests else self._collected_to

    @property
    def collected_to(self) -> int:
        """How far the results have been folded in."""
        return self._collected_to

    def collect_to(self, position: int) -> None:
        """Move on; never back, never past what was issued."""
        invariant(
            self._collected_to <= position <= self.issued_to,
            "a stream is collected forwards, up to what was issued",
            position=position,
            collected_to=self._collected_to,
            issued_to=self.issued_to,
        )
        self._collected_to = position

    def issue(self, piece: Piece) -> Subrequest:
        """Append a subrequest for ``piece``, which continues the stream."""
        invariant(piece.length > 0, "a subrequest is never empty", piece=piece)
        invariant(piece.start == self.issued_to, "subrequests leave no gap", piece=piece)
        sub = self._new(piece)
        self.subrequests.append(sub)
        return sub

    def pop_front(self) -> Subrequest:
        """Clean the front subrequest away; it is done and collected."""
        sub = self.subrequests[0]
        invariant(
            sub.done and self._collected_to >= sub.end, "what is cleaned was collected", sub=sub
        )
        # The list may be empty afterwards: its end is then where it was collected to.
        self.subrequests.popleft()
        self.request.freed(sub)
        return sub

    def stopped(self) -> list[Stopped]:
        """All subrequests as the retry sees them; none of them is in progress."""
        invariant(
            not any(sub.in_progress for sub in self.subrequests), "retry waits for all to stop"
        )
        return [
            Stopped(sub.start, sub.end, sub.transferred, sub.state, sub.retries, sub.boundary)
            for sub in self.subrequests
        ]

    def cut_anew(self, plan: RetryPlan) -> list[Subrequest]:
        """Put the slices of ``plan`` in the place of what is retried; returns them, in order."""
        before, self.subrequests = list(self.subrequests), deque()
        slices = deque(plan.slices)
        again: list[Subrequest] = []
        for index, sub in enumerate(before):
            if index in plan.dropped:
                self.request.freed(sub)
                continue
            self.subrequests.append(sub)
            if slices and slices[0].reuses == index:
                self._reshape(sub, slices.popleft())
                again.append(sub)
            while slices and slices[0].reuses is None:
                further = self._further(sub, slices.popleft())
                self.subrequests.append(further)
                again.append(further)
        invariant(not slices, "every slice has its place", left=len(slices))
        for one, other in itertools.pairwise(self.subrequests):
            invariant(one.end == other.start, "subrequests leave no gap", one=one, other=other)
        return again

    def _reshape(self, sub: Subrequest, part: Slice) -> None:
        if part.start != sub.position:
            sub.start, sub.transferred = part.start, 0
        sub.end = part.end
        sub.retries = part.retries
        sub.source = self._source_of(part)

    def _further(self, like: Subrequest, part: Slice) -> Subrequest:
        further = self._new(Piece(part.start, part.end, self._source_of(part), like.copy))
        further.retries = part.retries
        return further

    def _source_of(self, part: Slice) -> Source:
        beyond = part.start >= self.request.zero_limit
        return Source.ZERO if beyond else Source.DOWNLOAD

    def _new(self, piece: Piece) -> Subrequest:
        sub = Subrequest(self.request, next(self._indexes), piece)
        self.request.made(sub)
        return sub


class Request:
    """One I/O as a whole.

    ``zero_limit``: from there on the server has nothing but zeros.  ``inval_counter`` is the
    cache object's when the request began.  ``failures`` are the extents that will not come, with
    their errors.
    """

    __slots__ = (
        "_cleaned_to",
        "_collected_to",
        "_waiters",
        "all_queued",
        "end",
        "ended",
        "error",
        "failures",
        "given_way",
        "id",
        "inval_counter",
        "origin",
        "paused",
        "size",
        "start",
        "stats",
        "stream",
        "task",
        "wakes",
        "zero_limit",
    )

    def __init__(
        self,
        origin: Origin,
        extent: Extent,
        stats: Stats,
        *,
        size: int,
        zero_limit: int | None = None,
        inval_counter: int = 0,
    ) -> None:
        self.id = next(_ids) & 0xFFFFFFFF
        self.origin = origin
        self.start, self.end = extent
        self.size = size
        self.zero_limit = OPEN_END if zero_limit is None else zero_limit
        self.inval_counter = inval_counter
        self.stats = stats
        self.stream = Stream(self, extent.start)
        self.failures: list[tuple[Extent, Exception]] = []
        self.error: Exception | None = None
        self.paused = False
        self.all_queued = False
        self.given_way = False
        self.ended = False
        self.task: asyncio.Task[None] | None = None
        self.wakes = 0
        self._collected_to = extent.start
        self._cleaned_to = extent.start
        self._waiters: list[asyncio.Future[None]] = []
        stats.add("Objs", "rr")

    # Positions.

    @property
    def collected_to(self) -> int:
        """How far it has come for those who wait for it."""
        return self._collected_to

    @property
    def cleaned_to(self) -> int:
        """How far its subrequests are gone."""
        return self._cleaned_to

    def collect_to(self, position: int) -> None:
        """Move on with the stream; never past it."""
        invariant(
            self._collected_to <= position <= self.stream.collected_to,
            "a request is collected forwards, behind its streams",
            position=position,
            collected_to=self._collected_to,
        )
        self._collected_to = position

    def clean_to(self, position: int) -> None:
        """What lies below is gone."""
        invariant(
            self._cleaned_to <= position <= self._collected_to,
            "what is cleaned was collected",
            position=position,
            cleaned_to=self._cleaned_to,
        )
        self._cleaned_to = position

    # Subrequests alive.

    def made(self, sub: Subrequest) -> None:
        """A subrequest has come to be."""
        self.stats.add("Objs", "sr")

    def freed(self, sub: Subrequest) -> None:
        """A subrequest is gone."""
        self.stats.add("Objs", "sr", -1)

    # Errors and the end.

    def fail(self, extent: Extent, error: Exception) -> None:
        """``extent`` will not come."""
        self.failures.append((extent, error))
        if self.error is None:
            self.error = error

    def failure_at(self, position: int) -> Exception | None:
        """What prevented ``position`` from coming."""
        for extent, error in self.failures:
            if extent.start <= position < extent.end:
                return error
        return None

    def finish(self) -> None:
        """Nothing more is to come: let go of what is left, tell everybody.  Once."""
        invariant(not self.ended, "a request ends once", id=self.id)
        self.ended = True
        for sub in self.stream.subrequests:
            invariant(not sub.in_progress, "a request outlives its subrequests", sub=sub)
            self.freed(sub)
        self.stream.subrequests.clear()
        self.stats.add("Objs", "rr", -1)
        self.tell()

    # Those who wait.

    def tell(self) -> None:
        """Let everybody who waits look again."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def wait_past(self, position: int) -> None:
        """Return when the byte at ``position`` has come, or when nothing more comes.

        Raises what prevented it from coming.  It may not be there all the same: the request gave
        way to another, or stopped before it was that far.
        """
        while self._collected_to <= position and not self.ended:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter
        if (error := self.failure_at(position)) is not None:
            raise error
