"""Subrequests, and the stream of them that tiles a request.

A stream is the ordered list of subrequests, each with one source.  The issuer appends to it, the
collector takes finished subrequests from its front; both run on the client's loop, so no lock is
needed, and the head of the list is the only record of the front.
"""

from __future__ import annotations

import itertools
from collections import deque
from typing import TYPE_CHECKING, Protocol

from netcache._core.invariant import invariant
from netcache._core.read_completion import Outcome
from netcache._core.read_retry import RetryPlan, RetryState, Slice, Stopped
from netcache._core.read_sources import Piece, Source

if TYPE_CHECKING:
    from netcache._core.stats import Stats
    from netcache.spi import ReadReply


class Tiled(Protocol):
    """The request that a stream tiles, as its subrequests see it."""

    id: int
    stats: Stats
    broken: bool
    """What comes can no longer be kept."""
    largest: int
    """No range longer than this is asked for, in bytes."""
    zero_limit: int
    """From there on the server has nothing but zeros."""

    def made(self, sub: Subrequest) -> None:
        """A subrequest of it begins to live."""

    def freed(self, sub: Subrequest) -> None:
        """A subrequest of it is cleaned away."""


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

    def __init__(self, request: Tiled, index: int, piece: Piece) -> None:
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
    def fetches(self) -> bool:
        """Whether the server is to be asked."""
        return self.source is Source.DOWNLOAD

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

    def __init__(self, request: Tiled, start: int) -> None:
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

    def skip_to(self, position: int) -> None:
        """Begin at ``position``; nothing was issued yet."""
        invariant(not self.subrequests, "what was issued is not skipped", position=position)
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
