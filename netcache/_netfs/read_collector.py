"""The collector of reads: folds the results of subrequests, in order, into progress and errors.

Rules:

1. It goes forwards only: it takes what has come of the front subrequest, cleans finished ones away
   and stops at the first that is not done.
2. Finished cache writes that follow each other are recorded as one run.
3. It is woken early only when the front has come on by ``max(NOTICE_BYTES, the front block)``
   since it was last collected, and either somebody who waits has then what he wants, or much has
   come, or some time has passed; the end of a subrequest always wakes it.
4. What follows another request that gets on well (``behind``) is recorded after it: an object that
   is filled from the front keeps holding everything up to where it ends, and needs no map.
5. A subrequest that failed is passed over: those who wait for its bytes get its error, and what
   lies behind it is collected all the same.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from netcache._core.extent import Extent
from netcache._core.read_completion import Verdict, judge
from netcache._core.read_retry import RetryState
from netcache._core.read_sources import Source
from netcache._netfs import events
from netcache.errors import CacheError, RemoteProtocolError, TransientError

if TYPE_CHECKING:
    from netcache._netfs.read_sinks import ReadSink
    from netcache._netfs.read_stream import Subrequest
    from netcache._netfs.request import Request

NOTICE_BYTES = 256 * 1024
"""How much must have come before readers are told (netfs: max(256 KiB, the front folio))."""

LATER_BYTES, LATER_S = 4 << 20, 0.05
"""So much, or what comes in so long, is collected though nobody here waits for it: others follow,
and what is not recorded is lost with the process."""


class Collector:
    """Collects one request.  On the client's loop; no call waits."""

    __slots__ = ("_behind", "_collected_at", "_notice", "_request", "_resumable", "_sink", "_url")

    def __init__(
        self,
        request: Request,
        sink: ReadSink,
        url: str,
        *,
        resumable: bool,
        behind: Request | None = None,
    ) -> None:
        self._request = request
        self._sink = sink
        self._url = url
        self._resumable = resumable
        self._behind = behind
        if behind is not None and not behind.released:
            behind.when_released.append(self.collect)
        self._collected_at = time.monotonic()
        self._notice = max(NOTICE_BYTES, sink.block_size)

    def progressed(self, sub: Subrequest) -> None:
        """More bytes of ``sub`` have come."""
        if sub is self._request.stream.front and self._is_due(sub.position):
            events.sreq(sub, "PRGRS")
            self.collect()

    def _is_due(self, position: int) -> bool:
        came = position - self._request.stream.collected_to
        return came >= self._notice and (
            position >= self._request.wanted_to
            or came >= LATER_BYTES
            or time.monotonic() - self._collected_at >= LATER_S
        )

    def ended(self, sub: Subrequest) -> Verdict:
        """An attempt has ended: judge it, and collect."""
        sub.in_progress = False
        verdict = judge(sub.outcome())
        events.sreq(sub, "TERM")
        if verdict is Verdict.CLEAR:
            verdict = self._clear_rest(sub)
        if verdict.retries and not self._resumable:
            verdict = Verdict.FAIL
        self._count(sub, verdict)
        if verdict.fine:
            sub.state = RetryState.DONE
            sub.error = None
        elif verdict.retries:
            sub.state = RetryState.AGAIN
            if sub.transferred > sub.before:
                sub.retries = 0
            if sub.source is Source.CACHE:
                # What the cache could not give is no attempt at the server.
                sub.retries = -1
            events.sreq(sub, "ND-RT" if sub.need_retry else "SHORT")
        else:
            self.give_up(sub, verdict)
        if verdict.pauses and not self._request.paused:
            self._request.paused = True
            events.rreq(self._request, "PAUSE")
            self._request.release()
        self.collect()
        return verdict

    def _clear_rest(self, sub: Subrequest) -> Verdict:
        """What lacks at the end is zeros."""
        events.sreq(sub, "N-CLR")
        try:
            self._sink.zero(sub.position, sub.end)
        except CacheError as error:
            sub.error = error
            return Verdict.FAIL
        sub.transferred = sub.length
        return Verdict.CLEAR

    def _count(self, sub: Subrequest, verdict: Verdict) -> None:
        stats = self._request.stats
        if verdict in (Verdict.RETRY, Verdict.CLEAR, Verdict.NO_DATA):
            stats.add("ZeroOps", "sh")
        if verdict is Verdict.RETRY_FROM_SERVER:
            stats.add("CaRdOps", "rf")
            stats.add("DownOps", "di")
        elif sub.source is Source.DOWNLOAD and verdict.fails:
            stats.add("DownOps", "df")

    def give_up(self, sub: Subrequest, verdict: Verdict = Verdict.FAIL) -> None:
        """``sub`` has failed for good."""
        if verdict is Verdict.TOO_MUCH:
            events.sreq(sub, "TOO-MUCH")
            self._distrust(sub)
        sub.state = RetryState.FAILED
        error = self._error_of(sub, verdict)
        events.failure(self._request, "read" if sub.error else "short-read", error)
        events.sreq(sub, "ABNDN")
        if self._request.given_way:
            return
        self._request.fail(Extent(sub.position, sub.end), error)

    def _distrust(self, sub: Subrequest) -> None:
        """Nothing of ``sub`` counts that readers do not have already."""
        came_to = min(sub.position, sub.end)
        sub.transferred = max(0, self._request.stream.collected_to - sub.start)
        if sub.position < came_to:
            with suppress(CacheError):
                self._sink.cancel(sub.position, came_to)

    def _error_of(self, sub: Subrequest, verdict: Verdict) -> Exception:
        if sub.error is not None:
            return sub.error
        extent = Extent(sub.start, sub.end)
        if verdict is Verdict.TOO_MUCH:
            text = f"read of {self._url} {extent}: the server sent more than was asked for"
        elif verdict is Verdict.NO_DATA:
            text = f"read of {self._url} {extent} brought nothing to keep"
        else:
            return TransientError(f"read of {self._url} {extent} broke off", url=self._url)
        error = RemoteProtocolError(text, url=self._url)
        error.errno = verdict.errno
        return error

    def go_alone(self) -> None:
        """Wait for no other request any more."""
        self._behind = None
        self.collect()

    def collect(self) -> None:
        """Fold in what has come at the front; tell those who wait."""
        request, stream = self._request, self._request.stream
        if request.ended or (self._behind is not None and not self._behind.released):
            return
        request.wakes += 1
        self._collected_at = time.monotonic()
        if request.broken:
            # Whatever still ends brings nothing that could be kept.
            return
        before = run_start = stream.collected_to
        for sub in list(stream.subrequests):
            if sub.state is RetryState.FAILED and not sub.in_progress:
                stream.collect_to(max(stream.collected_to, sub.position))
                self._record(run_start, sub.position)
                events.collect_gap(request, sub.position, sub.end)
                run_start = sub.end
                stream.collect_to(sub.end)
            elif sub.source is Source.CACHE and sub.done:
                self._record(run_start, sub.start)
                run_start = sub.end
                stream.collect_to(sub.end)
            else:
                stream.collect_to(max(stream.collected_to, sub.position))
            if not sub.done:
                break
        self._record(run_start, stream.collected_to)
        if not request.broken:
            self._clean()
        if stream.collected_to > before or request.failures:
            request.tell()

    def _record(self, start: int, end: int) -> None:
        """Let readers have ``[start, end)``; everything that follows fails when that fails."""
        request = self._request
        if request.broken or start >= end:
            return
        try:
            self._sink.record(start, end)
        except CacheError as error:
            request.broken = request.paused = True
            events.failure(request, "copy-to-cache", error)
            request.fail(Extent(start, request.end), error)
            return
        events.collect(request, start, end)
        request.collect_to(end)

    def _clean(self) -> None:
        request, stream = self._request, self._request.stream
        request.collect_to(stream.collected_to)
        while (front := stream.front) is not None and front.done:
            if front.end > stream.collected_to:
                break
            events.sreq(front, "CONSM")
            stream.pop_front()
        front = stream.front
        request.clean_to(min(stream.collected_to, front.start if front else stream.collected_to))
