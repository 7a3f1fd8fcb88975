"""The pace at which reads begin: a few in each turn of the loop.

Where hundreds of reads are asked for at once, to prepare them all takes longer than a round trip,
and until that is done nothing of the first ones can be sent, nor a connection be made for them.
"""

from __future__ import annotations

import asyncio
from collections import deque

BEGIN_AT_ONCE = 4


class Pace:
    """Lets ``BEGIN_AT_ONCE`` in with each turn of the loop, in the order of their coming."""

    __slots__ = ("_counts", "_left", "_waiting")

    def __init__(self) -> None:
        self._left = BEGIN_AT_ONCE
        self._counts = False
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def begin(self) -> None:
        """Return when it is this one's turn; at once when there are few."""
        loop = asyncio.get_running_loop()
        if not self._counts:
            self._counts = True
            loop.call_soon(self._turn, loop)
        if self._left:
            self._left -= 1
            return
        turn = loop.create_future()
        self._waiting.append(turn)
        await turn

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        self._left = BEGIN_AT_ONCE
        while self._left and self._waiting:
            turn = self._waiting.popleft()
            # A reader that was cancelled gives its place away.
            if not turn.done():
                turn.set_result(None)
                self._left -= 1
        self._counts = bool(self._waiting) or self._left < BEGIN_AT_ONCE
        if self._counts:
            loop.call_soon(self._turn, loop)
