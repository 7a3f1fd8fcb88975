"""The issuer of reads: cuts a request into subrequests and lets them run.

Rules:

1. Subrequests are issued in order of position, as many at a time as the request may have.
2. Any retry or failure pauses the issuing.  After a failure nothing more is issued; what runs may
   end.
3. A retry runs when all subrequests have stopped, since sizes may be negotiated anew; its number is
   bounded.
4. Whatever happens, cancellation included, every subrequest ends once, what it brought is
   recorded, and everybody who waits is told.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

from netcache._core.read_retry import RetryState
from netcache._core.read_sources import Piece, Source
from netcache._core.readplan import whole_blocks
from netcache._netfs import events
from netcache._netfs.read_collector import Collector
from netcache._netfs.read_exchange import GaveWholeError, download, drop_reply
from netcache._netfs.read_ranges import download_ranges, group_of, offers_ranges
from netcache._netfs.read_retrier import Retrier
from netcache._netfs.request import OPEN_END, Request
from netcache.errors import CacheError, TransientError

if TYPE_CHECKING:
    from netcache._netfs.inode import Inode
    from netcache._netfs.read_means import ReadMeans
    from netcache._netfs.read_sinks import ReadSink
    from netcache._netfs.read_stream import Subrequest
    from netcache.spi import ReadReply

ZERO_STEP_BYTES = 8 << 20
"""How many zeros are written before others get their turn."""


class Issuer:
    """Runs one request.  On the client's loop; ``run`` once."""

    def __init__(
        self,
        request: Request,
        inode: Inode,
        sink: ReadSink,
        means: ReadMeans,
        *,
        resumable: bool,
        behind: Request | None = None,
    ) -> None:
        self.request = request
        self.whole_reply: ReadReply | None = None
        self._inode = inode
        self._sink = sink
        self._means = means
        self._behind = behind
        self._collector = Collector(
            request, sink, inode.resource.url, resumable=resumable, behind=behind
        )
        self._queue: deque[Piece] = deque()
        self._again: deque[Subrequest] = deque()
        self._running: dict[Subrequest, asyncio.Task[None] | None] = {}
        self._wakeup = asyncio.Event()
        self._crash: BaseException | None = None
        # Made by the first retry: most requests have none.
        self._made_retrier: Retrier | None = None
        self._url = inode.resource.url

    async def run(
        self, pieces: Iterable[Piece], cut_bytes: int, reply: ReadReply | None = None
    ) -> None:
        """Bring the pieces, downloads in parts of ``cut_bytes``.

        ``reply`` answers the first piece, all of it.  Returns when nothing more is to come; what
        did not come is in ``request.failures``.
        """
        self._queue.extend(pieces)
        if reply is not None:
            sub = self.request.stream.issue(self._queue.popleft())
            sub.reply = reply
            self._again.append(sub)
        try:
            await self._go_on(cut_bytes)
            await self._wait_behind()
        finally:
            await self._stop()
            self._collector.go_alone()

    async def _wait_behind(self) -> None:
        """All is here: let what comes before it be recorded first, unless there is bad news."""
        behind = self._behind
        if behind is not None and not behind.released:
            behind.when_released.append(self._wakeup.set)
            while not (behind.released or self.request.failures or self.request.given_way):
                await self._wait()

    async def _go_on(self, cut_bytes: int) -> None:
        request = self.request
        while True:
            if self._crash is not None:
                raise self._crash
            if request.failures or request.given_way:
                await self._quiesce()
                return
            if request.paused:
                await self._quiesce()
                await self._retrier.retry(self._again)
            elif len(self._running) >= self._means.parallel:
                await self._wait()
            elif self._again:
                await self._start(self._again.popleft())
            elif self._queue and (count := self._together()):
                self._start_group(count)
            elif self._queue:
                await self._start(self._issue(cut_bytes))
            elif self._running:
                request.all_queued = True
                await self._wait()
            else:
                request.all_queued = True
                return

    @property
    def _retrier(self) -> Retrier:
        if self._made_retrier is None:
            self._made_retrier = Retrier(
                self.request, self._sink, self._means, self._collector, self._url
            )
        return self._made_retrier

    def _issue(self, cut_bytes: int) -> Subrequest:
        """The next subrequest; a download is cut."""
        piece = self._queue[0]
        limit = piece.end
        if piece.source is Source.DOWNLOAD:
            most = min(cut_bytes, self._offered(piece))
            limit = piece.start + whole_blocks(most, self._sink.block_size)
        if limit < piece.end:
            self._queue[0] = piece._replace(start=limit)
            piece = piece._replace(end=limit)
        else:
            self._queue.popleft()
        sub = self.request.stream.issue(piece)
        events.sreq(sub, "PREP")
        return sub

    def _together(self) -> int:
        """How many of the next pieces are issued together, for one exchange of several ranges."""
        if len(self._queue) < 2 or self._means.read_limit(self._url) is not None:
            return 0
        count = group_of(self._queue)
        return count if count and offers_ranges(self._means, self._url) else 0

    def _offered(self, piece: Piece) -> int:
        """How much the server takes at once, as far as that is known."""
        negotiate = self._means.read_limit(self._url)
        largest = self.request.largest
        if negotiate is None or piece.end == OPEN_END:
            return largest
        return min(largest, max(1, negotiate(piece.start, piece.end)))

    # Attempts.

    async def _start(self, sub: Subrequest) -> None:
        """Begin an attempt; what nothing else waits for runs right here, without a task."""
        sub.begin()
        last = not self._queue and not self._again and not self._running
        if last or sub.source is Source.ZERO or not (self._sink.loads or sub.fetches):
            self._running[sub] = None
            await self._perform(sub)
            return
        task = asyncio.ensure_future(self._perform(sub))
        self._running[sub] = task
        task.add_done_callback(partial(self._never_begun, sub))

    def _start_group(self, count: int) -> None:
        """Begin an attempt for all downloads of the next pieces; the others have their turn."""
        subs = [self.request.stream.issue(self._queue.popleft()) for _ in range(count)]
        downloads = [sub for sub in subs if sub.fetches]
        self._again.extend(sub for sub in subs if not sub.fetches)
        for sub in subs:
            events.sreq(sub, "PREP")
        task = asyncio.ensure_future(self._perform_group(downloads))
        for sub in downloads:
            sub.begin()
            self._running[sub] = task
            task.add_done_callback(partial(self._never_begun, sub))

    async def _perform_group(self, subs: list[Subrequest]) -> None:
        asked = True
        try:
            asked = await download_ranges(
                subs, self._inode, self._sink, self._collector, self._means
            )
        except asyncio.CancelledError:
            for sub in subs:
                events.sreq(sub, "CANCL")
                sub.error = self._given_up()
            raise
        finally:
            for sub in subs:
                if asked:
                    self._ended(sub)
                else:
                    self._apart(sub)

    def _apart(self, sub: Subrequest) -> None:
        """Nothing was attempted: ``sub`` has its own exchange."""
        sub.in_progress = False
        del self._running[sub]
        self._again.append(sub)
        self._wakeup.set()

    async def _perform(self, sub: Subrequest) -> None:
        try:
            if sub.source is Source.DOWNLOAD:
                await download(sub, self._inode, self._sink, self._collector, self._means)
            elif sub.source is Source.CACHE:
                sub.transferred += await self._sink.load(sub.position, sub.end)
            else:
                await self._zero(sub)
        except GaveWholeError as gave:
            self._give_way(gave.reply)
            sub.error = gave
        except asyncio.CancelledError:
            events.sreq(sub, "CANCL")
            sub.error = self._given_up()
            raise
        finally:
            self._ended(sub)

    async def _zero(self, sub: Subrequest) -> None:
        self.request.stats.add("ZeroOps", "ZR")
        try:
            while sub.position < sub.end:
                step = min(sub.position + ZERO_STEP_BYTES, sub.end)
                self._sink.zero(sub.position, step)
                sub.transferred = step - sub.start
                self._collector.progressed(sub)
                await asyncio.sleep(0)
        except CacheError as error:
            sub.error = error

    def _ended(self, sub: Subrequest) -> None:
        self._running.pop(sub, None)
        try:
            self._collector.ended(sub)
        finally:
            self._wakeup.set()

    def _never_begun(self, sub: Subrequest, task: asyncio.Task[None]) -> None:
        """A task that is cancelled before its first step runs nothing of its own."""
        if self._running.get(sub) is task:
            sub.error = self._given_up()
            self._ended(sub)
        if not task.cancelled() and task.exception() is not None:
            self._crash = task.exception()
            self._wakeup.set()

    def _given_up(self) -> TransientError:
        return TransientError(f"read of {self._url} was given up", url=self._url)

    def _give_way(self, reply: ReadReply) -> None:
        """The server sent everything: one request for that brings what all of this one would."""
        self.request.given_way = True
        self.whole_reply = reply
        for task in self._running.values():
            if task is not None:
                task.cancel()

    async def _wait(self) -> None:
        # No await between what was looked at and here: no wake-up is lost.
        self._wakeup.clear()
        await self._wakeup.wait()

    async def _quiesce(self) -> None:
        if self._running:
            events.rreq(self.request, "WAIT-QUIESCE")
            while self._running:
                await self._wait()
            events.rreq(self.request, "DONE-QUIESCE")

    # The end.

    async def _stop(self) -> None:
        """Cancel what still runs and wait until it has ended; drop replies that nobody took."""
        tasks = [task for task in self._running.values() if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for sub in self.request.stream.subrequests:
            await drop_reply(sub)
            if sub.state is RetryState.AGAIN:
                # Nobody's fault: those who wait for it may ask anew.
                events.sreq(sub, "ABNDN")
                sub.state = RetryState.FAILED
