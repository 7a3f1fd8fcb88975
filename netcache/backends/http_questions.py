"""What an origin offers to writers: asked by ``OPTIONS``, once for all who want to know."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable

from netcache._core.retry import TRANSIENT_STATUSES
from netcache._core.urls import Resource
from netcache.backends.http_origins import OriginNotes
from netcache.backends.http_session import HttpSession
from netcache.errors import RemoteError, TransientError

__all__ = ["OriginQuestions"]


class OriginQuestions:
    """Asks, and has ``OriginNotes`` remember the answers."""

    def __init__(self, session: HttpSession, notes: OriginNotes) -> None:
        self._session = session
        self._notes = notes
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._asked: defaultdict[str, int] = defaultdict(int)

    async def ask_unless(self, known: Callable[[], bool], resource: Resource) -> None:
        """Ask, unless it is known; one question at a time, and one for all who wait for it."""
        origin = resource.origin
        if known():
            return
        asked_before = self._asked[origin]
        async with self._turns[origin]:
            if not known() and self._asked[origin] == asked_before:
                await self._ask(resource)
                self._asked[origin] += 1

    async def _ask(self, resource: Resource) -> None:
        """Ask once; no retries, since the answer to a failure is a whole upload, which has them."""
        try:
            exchange = await self._session.ask("OPTIONS", resource, {}, what="question")
        except TransientError:
            return
        except RemoteError:
            self._notes.saw_options(resource.origin, {})
            return
        await exchange.drop()
        if exchange.head.status in TRANSIENT_STATUSES:
            return
        self._notes.saw_options(resource.origin, exchange.head.fields)
