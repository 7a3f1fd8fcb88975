"""A crew: the hands of a run, other processes that bring small files for this one.

A Python process uses one core, and a small file costs more of that than of the network.

Rules:

1. Hands are started when the run has had ``hands_from`` small files, and end with it: a shorter one
   is over before another process has started.
2. Each hand asks for as many small files at a time as its share of the transfers allows, and this
   process, from when the first hand is ready, for what is left of them.  Together they are no more,
   but for the first ones, and where there is no cache.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Self

from netcache._client.options import small_files_at_once

if TYPE_CHECKING:
    from types import TracebackType

    from netcache._client.crew.hand import Hand
    from netcache._client.crew.messages import Done, Failed
    from netcache._client.local import LocalHalf
    from netcache._client.trees.folders import Job
    from netcache.spi import ResourceInfo


class Answer(NamedTuple):
    """What became of a file; ``what`` None: it is to be brought by this process."""

    job: Job
    what: Done | Failed | None


class Crew:
    """The crew of one run, a context manager.  On the client's loop.

    ``limit`` is told how many small files this process may ask for at a time.
    """

    def __init__(
        self,
        local: LocalHalf,
        credentials: dict[str, tuple[str, str]],
        processes: int,
        hands_from: int,
        limit: Callable[[int], None],
    ) -> None:
        self._transfers = local.options.transfers
        self._share = self._transfers // processes
        self._local = local
        self._credentials = credentials
        self._limit = limit
        self._hand_count = processes - 1
        self._until_hands = hands_from
        self._hands: list[Hand] = []
        self._starts: list[asyncio.Task[None]] = []
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
        if self._starts:
            from netcache._finishing import finished

            await finished(self._end())

    def take(self, job: Job, info: ResourceInfo, path: str) -> bool:
        """Whether a hand brings this small file; its end is then among the ``answers``."""
        if self._until_hands:
            self._until_hands -= 1
            if not self._until_hands:
                self._start()
            return False
        hand = max(self._hands, key=lambda hand: hand.room, default=None)
        if hand is None or not hand.room:
            return False
        hand.order(job, info, path)
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

        in_flight = small_files_at_once(self._share)
        for _ in range(self._hand_count):
            hand = Hand(self._local, self._share, in_flight, self._answered)
            self._hands.append(hand)
            self._starts.append(asyncio.create_task(self._begin(hand)))

    async def _begin(self, hand: Hand) -> None:
        try:
            await hand.start(self._credentials)
        except OSError as error:
            import logging

            logging.getLogger("netcache.crew").debug("a hand cannot be started: %s", error)
            return
        if not hand.is_gone:
            self._limit(self._transfers - self._share * self._hand_count)

    async def _end(self) -> None:
        for start in self._starts:
            start.cancel()
        await asyncio.gather(*self._starts, return_exceptions=True)
        await asyncio.gather(*(hand.end() for hand in self._hands))
        self._limit(self._transfers)
