"""A crew: the hands of a run, other processes that bring small files for this one.

A Python process uses one core, and a small file costs more of that than of the network.

Rules:

1. Hands are started when the run has had ``hands_from`` small files, and end with it: a shorter one
   is over before another process has started.
2. A hand that is ready is lent its share of the transfers, until it ends, however it ends: it asks
   for as many small files at a time as that allows, and this process for what is left.  Together
   they are no more, but for the first ones, and where there is no cache.
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

    ``lend`` is told how many transfers are lent to a hand; below 0, they come back.
    """

    def __init__(
        self,
        local: LocalHalf,
        credentials: dict[str, tuple[str, str]],
        processes: int,
        hands_from: int,
        lend: Callable[[int], None],
    ) -> None:
        self._share = local.options.transfers // processes
        self._local = local
        self._credentials = credentials
        self._lend = lend
        self._hand_count = processes - 1
        self._until_hands = hands_from
        self._hands: list[Hand] = []
        self._lives: list[asyncio.Task[None]] = []
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
        if self._lives:
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

    def dismiss(self) -> None:
        """Have the hands that are at work drop what they are at, and end: their jobs come back."""
        for hand in self._hands:
            hand.dismiss()

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
            self._lives.append(asyncio.create_task(self._live(hand)))

    async def _live(self, hand: Hand) -> None:
        """Start a hand, and lend it its share as long as it is at work."""
        try:
            await hand.start(self._credentials)
        except OSError as error:
            import logging

            logging.getLogger("netcache.crew").debug("a hand cannot be started: %s", error)
            return
        if hand.is_gone:
            return
        self._lend(self._share)
        try:
            await hand.has_ended.wait()
        finally:
            self._lend(-self._share)

    async def _end(self) -> None:
        for life in self._lives:
            life.cancel()
        await asyncio.gather(*self._lives, return_exceptions=True)
        await asyncio.gather(*(hand.end() for hand in self._hands))
