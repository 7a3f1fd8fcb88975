"""A crew: the hands of a run, other processes that bring small files for this one.

A Python process uses one core, and a small file costs more of that than of the network.

Rules:

1. Hands are started when the run has had ``hands_from`` small files, and end with it: a shorter one
   is over before another process has started.
2. There are as many turns as files may be in flight.  A hand that is at work holds its share of
   them, this process one for each file that it is at: together there are never more.
3. A hand without work gives its turns back.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from types import TracebackType

    from netcache._client.crew.hand import Hand
    from netcache._client.crew.messages import Done, Failed
    from netcache._client.local import LocalHalf
    from netcache._client.trees.folders import Job
    from netcache.spi import ResourceInfo

REST_S = 0.02
"""A hand that has had no work for so long rests."""


class Answer(NamedTuple):
    """What became of a file; ``what`` None: it is to be brought by this process."""

    job: Job
    what: Done | Failed | None


class _Place:
    """A hand's place in the crew."""

    def __init__(self, hand: Hand) -> None:
        self.hand = hand
        self.is_wanted = asyncio.Event()
        self.is_at_work = False


class Crew:
    """The crew of one run, a context manager.  On the client's loop."""

    def __init__(
        self,
        local: LocalHalf,
        credentials: dict[str, tuple[str, str]],
        processes: int,
        hands_from: int,
    ) -> None:
        transfers = local.options.transfers
        self.turns = asyncio.Semaphore(transfers)
        self._share = transfers // processes
        self._local = local
        self._credentials = credentials
        self._hand_count = processes - 1
        self._until_hands = hands_from
        self._places: list[_Place] = []
        self._keepers: list[asyncio.Task[None]] = []
        self._answers: list[Answer] = []
        self._has_answers = asyncio.Event()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._keepers:
            from netcache._finishing import finished

            await finished(self._end())

    def take(self, job: Job, info: ResourceInfo, path: str) -> bool:
        """Whether a hand brings this small file; its end is then among the ``answers``."""
        if self._until_hands:
            self._until_hands -= 1
            if not self._until_hands:
                self._start()
            return False
        best, most = None, 0
        for place in self._places:
            if not place.is_at_work:
                place.is_wanted.set()
            elif (room := place.hand.room) > most:
                best, most = place.hand, room
        if best is None:
            return False
        best.order(job, info, path)
        return True

    async def answers(self) -> list[Answer]:
        """The next answers, at least one."""
        await self._has_answers.wait()
        self._has_answers.clear()
        answers, self._answers = self._answers, []
        return answers

    def _answered(self, job: Job, what: Done | Failed | None) -> None:
        self._answers.append(Answer(job, what))
        self._has_answers.set()

    # The hands.

    def _start(self) -> None:
        from netcache._client.crew.hand import Hand

        for _ in range(self._hand_count):
            place = _Place(Hand(self._local, self._share, self._answered))
            self._places.append(place)
            self._keepers.append(asyncio.create_task(self._keep(place)))

    async def _keep(self, place: _Place) -> None:
        """Start a hand, and have it at work while there is work for it."""
        hand = place.hand
        try:
            await hand.start(self._credentials)
        except OSError as error:
            import logging

            logging.getLogger("netcache.crew").debug("a hand cannot be started: %s", error)
            return
        while not hand.is_gone:
            await place.is_wanted.wait()
            await self._have_at_work(place)

    async def _have_at_work(self, place: _Place) -> None:
        """Let a hand work until it is idle; it holds its turns meanwhile."""
        held = 0
        try:
            while held < self._share:
                await self.turns.acquire()
                held += 1
            place.is_wanted.clear()
            place.is_at_work = True
            while not place.hand.is_gone:
                orders = place.hand.ordered
                await place.hand.idle()
                await asyncio.sleep(REST_S)
                if place.hand.ordered == orders:
                    break
        finally:
            place.is_at_work = False
            for _ in range(held):
                self.turns.release()

    async def _end(self) -> None:
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        await asyncio.gather(*(place.hand.end() for place in self._places))
