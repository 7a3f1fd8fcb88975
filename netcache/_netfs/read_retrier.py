"""The retrier of a read: gives what did not come of a request another attempt.

It is called when all subrequests have stopped (``read_issuer``): after a pause they are cut anew,
by the sizes that the server takes now (``read_retry``).  Most requests have none.  The number of
attempts is bounded, and counted from the last that brought anything.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from netcache._core.read_retry import Largest, RetryState, plan_retry
from netcache._core.read_sources import Source
from netcache._core.readplan import whole_blocks
from netcache._core.retry import Retries
from netcache._netfs import events
from netcache._netfs.request import OPEN_END, Request
from netcache.errors import TransientError

if TYPE_CHECKING:
    from netcache._netfs.read_collector import Collector
    from netcache._netfs.read_means import ReadMeans
    from netcache._netfs.read_sinks import ReadSink
    from netcache._netfs.read_stream import Subrequest


class Retrier:
    """The retries of one request.  On the client's loop."""

    def __init__(
        self, request: Request, sink: ReadSink, means: ReadMeans, collector: Collector, url: str
    ) -> None:
        self._request = request
        self._sink = sink
        self._means = means
        self._collector = collector
        self._url = url
        self._retries = Retries(means.retry)

    async def retry(self, again: deque[Subrequest]) -> None:
        """Let everything that lacks be asked for again, in its new cut; lift the pause.

        ``again`` is what waits for another attempt; what has its turn now is put there instead.
        """
        request, stream = self._request, self._request.stream
        lacking = [sub for sub in stream.subrequests if sub.state is RetryState.AGAIN]
        if not lacking or request.failures:
            request.paused = False
            return
        events.rreq(request, "RETRY")
        request.stats.add("Retries", "rq")
        try:
            pause_s = self._pause_s(lacking)
        except TransientError:
            for sub in lacking:
                if sub.error is not None:
                    self._collector.give_up(sub)
            return
        await asyncio.sleep(pause_s)
        self._cut_anew(again)
        request.paused = False
        events.rreq(request, "UNPAUSE")

    def _pause_s(self, lacking: list[Subrequest]) -> float:
        """How long to pause: not at all where nothing went wrong but the length."""
        if any(sub.transferred > sub.before for sub in lacking):
            self._retries = Retries(self._means.retry)
        errors = [sub.error for sub in lacking if isinstance(sub.error, TransientError)]
        if not errors:
            return 0.0
        return self._retries.pause_s(max(errors, key=lambda error: error.retry_after_s or 0.0))

    def _cut_anew(self, again: deque[Subrequest]) -> None:
        stream = self._request.stream
        for sub in again:
            # It has not had its turn: that is no attempt.
            sub.retries = max(0, sub.retries - 1)
        again.clear()
        before = list(stream.subrequests)
        largest = self._largest()
        plan = plan_retry(
            stream.stopped(),
            retries_max=self._means.retry.attempts - 1,
            in_place=largest is None,
            largest=largest,
        )
        for index in plan.given_up:
            self._collector.give_up(before[index])
        for sub in stream.cut_anew(plan):
            self._request.stats.add("Retries", "rs")
            events.sreq(sub, "RETRY" if sub in before else "SPLIT")
            again.append(sub)

    def _largest(self) -> Largest | None:
        """What sizes are negotiated by; None when they stay as they are."""
        negotiate = self._means.read_limit(self._url)
        known, block_size = self._request.largest, self._sink.block_size
        from_cache = any(sub.source is Source.CACHE for sub in self._request.stream.subrequests)
        if negotiate is None and known == OPEN_END and not from_cache:
            return None

        def largest(start: int, end: int) -> int:
            offered = end - start if negotiate is None else negotiate(start, end)
            return whole_blocks(min(offered, known), block_size) if offered > 0 else 0

        return largest
