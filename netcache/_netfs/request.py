"""Requests: one I/O as a whole, how far it has come, what went wrong, who waits for it.

Its stream (``read_stream``) is how it was cut.  Positions only grow, and in this order (checked at
each step)::

    issued_to >= stream collected_to >= request collected_to >= cleaned_to
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING

from netcache._core.extent import Extent
from netcache._core.invariant import invariant
from netcache._core.stats import Stats
from netcache._netfs import events
from netcache._netfs.request_ids import next_id

if TYPE_CHECKING:
    from netcache._netfs.read_stream import Stream, Subrequest

OPEN_END = 1 << 62
"""The end of a request whose length only the end of the body tells."""


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


class Request:
    """One I/O as a whole.

    ``zero_limit``: from there on the server has nothing but zeros.  ``inval_counter`` is the
    cache object's when the request began.  ``failures`` are the extents that will not come, with
    their errors.  ``paused``: nothing is issued for the moment.  ``broken``: what comes can no
    longer be kept.  ``given_way``: another request brings it.  ``wakes`` counts how often it was
    collected; when it has come to ``wanted_to``, somebody who waits has what he wants.

    What follows it is recorded after it, until it is ``released``: by its end, by a pause or by a
    failure; ``when_released`` is called then.
    """

    __slots__ = (
        "_cleaned_to",
        "_collected_to",
        "_stream",
        "_waiters",
        "all_queued",
        "broken",
        "end",
        "ended",
        "error",
        "failures",
        "given_way",
        "id",
        "inval_counter",
        "largest",
        "origin",
        "paused",
        "released",
        "size",
        "start",
        "stats",
        "wakes",
        "wanted_to",
        "when_released",
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
        self.id = next_id()
        self.origin = origin
        self.start, self.end = extent
        self.size = size
        self.zero_limit = OPEN_END if zero_limit is None else zero_limit
        self.inval_counter = inval_counter
        self.stats = stats
        self.failures: list[tuple[Extent, Exception]] = []
        self.error: Exception | None = None
        self.paused = False
        self.broken = False
        self.all_queued = False
        self.largest = OPEN_END
        self.given_way = False
        self.ended = False
        self.wakes = 0
        self.released = False
        self.when_released: list[Callable[[], object]] = []
        self._collected_to = extent.start
        self._cleaned_to = extent.start
        self._stream: Stream | None = None
        self._waiters: list[asyncio.Future[None]] = []
        self.wanted_to = OPEN_END
        stats.add("Objs", "rr")

    @property
    def stream(self) -> Stream:
        """How it is cut.  Made by the first that asks: what others bring is not cut here."""
        if self._stream is None:
            from netcache._netfs.read_stream import Stream

            self._stream = Stream(self, self._collected_to)
        return self._stream

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

    def skip_to(self, position: int) -> None:
        """Others have brought what lies below ``position``; nothing was issued yet."""
        if position > self._collected_to:
            if self._stream is not None:
                self._stream.skip_to(position)
            self._collected_to = self._cleaned_to = position
            self.tell()

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
        self.release()

    def failure_at(self, position: int) -> Exception | None:
        """What prevented ``position`` from coming."""
        return self.failure_in(position, position + 1)

    def failure_in(self, start: int, end: int) -> Exception | None:
        """What prevented part of ``[start, end)`` from coming."""
        for extent, error in self.failures:
            if extent.start < end and start < extent.end:
                return error
        return None

    def finish(self) -> None:
        """Nothing more is to come: let go of what is left, tell everybody.  Once."""
        invariant(not self.ended, "a request ends once", id=self.id)
        self.ended = True
        events.rreq(self, "COMPLET")
        if self._stream is not None:
            for sub in self._stream.subrequests:
                invariant(not sub.in_progress, "a request outlives its subrequests", sub=sub)
                self.freed(sub)
            self._stream.subrequests.clear()
        self.stats.add("Objs", "rr", -1)
        events.rreq(self, "FREE")
        self.tell()
        self.release()

    def release(self) -> None:
        """What follows need not wait for us any more."""
        self.released = True
        waiting, self.when_released = self.when_released, []
        for then in waiting:
            then()

    # Those who wait.

    def tell(self) -> None:
        """Let everybody who waits look again."""
        waiters, self._waiters = self._waiters, []
        self.wanted_to = OPEN_END
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def wait_for(self, start: int, end: int) -> None:
        """Return when ``[start, end)`` has come, or when nothing more comes.

        Raises what prevented part of it from coming.  It may not be there all the same: the
        request gave way to another, or stopped before it was that far.
        """
        while True:
            if (error := self.failure_in(start, end)) is not None:
                raise error
            if self._collected_to >= end or self.ended:
                return
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            self.wanted_to = min(self.wanted_to, end)
            await waiter
