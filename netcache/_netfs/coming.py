"""What brings bytes to an inode, as those see it who wait for them; see ``flight``.

On the client's loop.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple, Protocol

from netcache._core.extent import ExtentSet

if TYPE_CHECKING:
    import asyncio

    from netcache._core.extent import Extent
    from netcache._netfs.request import Request


class Coming(Protocol):
    """One extent on its way."""

    dense: bool
    """Whether the object holds everything before it, or will."""
    request: Request
    task: asyncio.Task[None]
    gone: asyncio.Future[None]
    """Done when everybody has been told of the end, which is after that of ``task``."""

    @property
    def position(self) -> int:
        """How far it has come: what lies below is there, or will not come by this flight."""

    @property
    def end(self) -> int:
        """Where it ends; ``OPEN_END`` while only the end of the body tells it."""

    async def wait_for(self, start: int, end: int) -> None:
        """Return when ``[start, end)`` has come, or nothing more comes; else raise why."""


class Question(NamedTuple):
    """The server is being asked whether the version is current, and for ``extent`` with that."""

    extent: Extent
    answered: asyncio.Event

    def is_for(self, position: int) -> bool:
        """Whether the answer brings ``position``."""
        return self.extent.start <= position < self.extent.end


class Taker(Protocol):
    """Somebody who has a use for what comes besides its being kept."""

    def take(self, start: int, view: memoryview) -> None:
        """``view``, the bytes at ``start``, has come and is kept.  Valid during the call; no error
        comes out of it."""


class Flights:
    """All flights of one inode, sorted by where they begin.

    Hundreds may be under way, and each new one asks.  Most lie apart: a lookup is O(log n) as long
    as none is much longer than the others.
    """

    __slots__ = ("_flights", "_longest", "_starts", "takers")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._flights: list[Coming] = []
        # In bytes; no flight that is here is longer.
        self._longest = 0
        self.takers: list[Taker] = []

    def add(self, flight: Coming) -> None:
        """A flight begins; its start and end stay what they are."""
        start = flight.request.start
        index = bisect_right(self._starts, start)
        self._starts.insert(index, start)
        self._flights.insert(index, flight)
        self._longest = max(self._longest, flight.request.end - start)

    def remove(self, flight: Coming) -> None:
        """A flight has ended."""
        index = self._flights.index(flight, bisect_left(self._starts, flight.request.start))
        del self._starts[index], self._flights[index]
        if not self._flights:
            self._longest = 0

    def meeting(self, start: int, end: int) -> list[Coming]:
        """The flights that are made for part of ``[start, end)``, or that end at ``start``."""
        first = bisect_left(self._starts, start - self._longest)
        last = bisect_left(self._starts, end, first)
        return [flight for flight in self._flights[first:last] if flight.request.end >= start]

    def bringing(self, position: int) -> Coming | None:
        """The flight that is going to bring ``position``, the oldest where there are more."""
        found = [
            flight
            for flight in self.meeting(position, position + 1)
            if flight.position <= position < flight.end
        ]
        return min(found, key=lambda flight: flight.request.id, default=None)

    def still_to_come(self, start: int, end: int) -> ExtentSet:
        """What flights are going to bring of ``[start, end)``, perhaps with more around it."""
        return ExtentSet((flight.position, flight.end) for flight in self.meeting(start, end))

    def __iter__(self) -> Iterator[Coming]:
        return iter(self._flights)

    def __len__(self) -> int:
        return len(self._flights)
