"""The means of reads: what all reads of an engine share, and how far away the server is."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol

from netcache._core.extent import Extent

if TYPE_CHECKING:
    from netcache._core.coherency import Validator, Version
    from netcache._core.retry import RetryPolicy
    from netcache._core.stats import Stats
    from netcache._netfs.misses import Misses
    from netcache.spi import Backend, ReadReply, ResourceInfo

FAR_AWAY_S = 0.010
"""From this latency on it pays to ask for several short extents at once."""
_HEADS_REMEMBERED = 8
_HEADS_TO_TELL = 3


ReadLimit = Callable[[str, Extent], int]
"""``read_limit(url, extent)``, which a backend may have that knows beforehand how much it takes:
how many bytes of ``extent`` one exchange brings at most; 0 refuses it."""


OpenSmall = Callable[[str, "Version | None"], Awaitable["ReadReply"]]
"""``open_small(url, listed)``, which a backend may have that brings small resources more cheaply;
``listed`` is the version in a listing."""


class CheckSmall(Protocol):
    """``check_small``, which a backend may have that does what ``stat`` does more cheaply, for
    many resources."""

    def __call__(
        self, url: str, *, unless: Validator, want_digest: bool
    ) -> Awaitable[ResourceInfo | None]:
        """See ``Backend.stat``."""


class ReadMeans:
    """What all reads of an engine share.

    ``gate`` bounds the exchanges of all requests, ``parallel`` those of one.
    """

    def __init__(
        self,
        backend: Callable[[], Backend],
        stats: Stats,
        *,
        retry: RetryPolicy,
        timeout_s: float,
        exchanges: int,
        parallel: int,
        misses: Misses,
    ) -> None:
        self.backend = backend
        self.stats = stats
        self.retry = retry
        self.timeout_s = timeout_s
        self.gate = asyncio.Semaphore(exchanges)
        self.parallel = parallel
        self.misses = misses
        self._heads_s: deque[float] = deque(maxlen=_HEADS_REMEMBERED)
        self._later: set[asyncio.Future[None]] = set()

    @property
    def latency_s(self) -> float:
        """How long a head takes at best, of late; 0 while that is not known."""
        return min(self._heads_s, default=0.0)

    async def open_read(
        self,
        url: str,
        extent: Extent | None = None,
        *,
        expected: Version | None = None,
        unless: Validator | None = None,
    ) -> ReadReply:
        """``Backend.open_read``, timed.

        A reply may have ``head_s``, for how many seconds its head was on its way: then what came
        before (imports, earlier attempts and their pauses) does not make the server look far away.
        """
        loop = asyncio.get_running_loop()
        begun_s = loop.time()
        reply = await self.backend().open_read(url, extent, expected=expected, unless=unless)
        took_s = loop.time() - begun_s
        self.note_head(getattr(reply, "head_s", took_s))
        return reply

    async def open_small(self, url: str, listed: Version | None) -> ReadReply:
        """``open_read`` of all of a resource that is thought to be small.

        It may have waited behind others: how long it took tells nothing of the way.
        """
        open_small: OpenSmall | None = getattr(self.backend(), "open_small", None)
        if open_small is None:
            return await self.open_read(url)
        return await open_small(url, listed)

    async def check_small(
        self, url: str, unless: Validator, *, want_digest: bool
    ) -> ResourceInfo | None:
        """``Backend.stat`` of one of many resources that are checked."""
        backend = self.backend()
        check: CheckSmall = getattr(backend, "check_small", backend.stat)
        return await check(url, unless=unless, want_digest=want_digest)

    def note_head(self, seconds: float) -> None:
        """So long a head took to come."""
        self._heads_s.append(seconds)

    @property
    def far_away(self) -> bool:
        """Whether an exchange is dear: several heads have come, and none of them soon."""
        return len(self._heads_s) >= _HEADS_TO_TELL and self.latency_s >= FAR_AWAY_S

    def later(self, work: Coroutine[Any, Any, None]) -> None:
        """Let ``work`` run when there is time for it."""
        task = asyncio.ensure_future(work)
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    async def all_done(self) -> None:
        """Wait until nothing is left that was to run later."""
        while self._later:
            await asyncio.gather(*self._later, return_exceptions=True)

    def read_limit(self, url: str) -> Callable[[int, int], int] | None:
        """The backend's limit for extents of ``url``; None when it negotiates none (T1, T26)."""
        limit: ReadLimit | None = getattr(self.backend(), "read_limit", None)
        if limit is None:
            return None
        return lambda start, end: limit(url, Extent(start, end))
