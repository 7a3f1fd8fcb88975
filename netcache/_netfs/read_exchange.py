"""Read exchanges: how one attempt of one subrequest brings its bytes.

A download is one request to the server and its body.  What prevents the head has been tried again
by the backend already, and is an error; a body that breaks off asks for another attempt.  A
backend may answer at once or later, for all that was asked or for less; the largest extent that it
offers is remembered.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from netcache._core.extent import Extent
from netcache._netfs import events
from netcache._netfs.read_collector import NOTICE_BYTES, Collector
from netcache._netfs.request import OPEN_END
from netcache.errors import CacheError, RemoteProtocolError, TransientError

if TYPE_CHECKING:
    from netcache._netfs.inode import Inode
    from netcache._netfs.read_means import ReadMeans
    from netcache._netfs.read_sinks import ReadSink
    from netcache._netfs.read_stream import Subrequest
    from netcache.spi import ReadReply


class GaveWholeError(Exception):
    """The server sent the whole resource instead of a part; ``reply`` bears it."""

    def __init__(self, reply: ReadReply) -> None:
        super().__init__("the server sent the whole resource")
        self.reply = reply


class TooMuchError(Exception):
    """More came than was asked for."""


class _EnoughError(Exception):
    """Of a body that holds more, the part that was asked for has come."""


class Intake:
    """Takes the body of one exchange."""

    __slots__ = ("_collector", "_eof", "_inode", "_passes_over", "_sink", "_stats", "_sub", "came")

    def __init__(
        self,
        sub: Subrequest,
        inode: Inode,
        sink: ReadSink,
        collector: Collector,
        *,
        eof: int,
        passes_over: bool,
    ) -> None:
        self._sub = sub
        self._inode = inode
        self._sink = sink
        self._collector = collector
        self._eof = eof
        self._passes_over = passes_over
        self._stats = sub.request.stats
        # How far bytes came, kept or not.
        self.came = sub.position

    def take(self, start: int, view: memoryview) -> None:
        """The ``BodySink``."""
        sub = self._sub
        if self._passes_over:
            start, view = self._part(start, view)
        end = start + len(view)
        if end > sub.asked_end:
            # Nothing beyond the request is copied, and the rest is not believed (T8).
            sub.transferred = max(end - sub.start, sub.length + 1)
            raise TooMuchError
        if start != sub.position:
            url = self._inode.resource.url
            raise RemoteProtocolError(
                f"read of {url}: bytes at {start} came, {sub.position} was next", url=url
            )
        self._inode.received_bytes += len(view)
        self._stats.add("DownOps", "bytes", len(view))
        try:
            kept_end = self._sink.put(start, view, self._eof)
        except CacheError:
            with suppress(CacheError):
                self._sink.cancel(start, end)
            raise
        sub.transferred = kept_end - sub.start
        self.came = end
        self._collector.progressed(sub)
        if sub.request.broken:
            raise CacheError("what comes of this file cannot be kept any more")
        if self._passes_over and sub.position >= sub.asked_end:
            raise _EnoughError

    def _part(self, start: int, view: memoryview) -> tuple[int, memoryview]:
        """What was asked for of a piece of the whole."""
        sub = self._sub
        part = Extent(start, start + len(view)).clip(sub.position, sub.asked_end)
        return part.start, view[part.start - start : part.end - start] if part.length else view[:0]


async def download(
    sub: Subrequest, inode: Inode, sink: ReadSink, collector: Collector, means: ReadMeans
) -> None:
    """One attempt from the server: leaves in ``sub`` what came, and why not more.

    Raises ``GaveWholeError``, and nothing else but cancellation.
    """
    try:
        if sub.reply is not None:
            # Its connection is in use already: to wait for a turn would only hold it longer.
            await _attempt(sub, inode, sink, collector, means)
        else:
            async with means.gate:
                await _attempt(sub, inode, sink, collector, means)
    except (TooMuchError, _EnoughError):
        return
    except GaveWholeError:
        raise
    except Exception as error:
        sub.error = error


async def _attempt(
    sub: Subrequest, inode: Inode, sink: ReadSink, collector: Collector, means: ReadMeans
) -> None:
    events.sreq(sub, "SUBMT")
    means.stats.add("DownOps", "DL")
    try:
        if sub.reply is None:
            sub.reply = await means.open_read(
                inode.resource.url,
                Extent(sub.position, -1 if sub.asked_end == OPEN_END else sub.asked_end),
                expected=inode.version,
            )
        _check_place(sub.reply, sub, inode, sink)
        await _receive(sub, inode, sink, collector, means)
    finally:
        means.stats.add("DownOps", "ds")
        await drop_reply(sub)


async def drop_reply(sub: Subrequest) -> None:
    """Give up the exchange that ``sub`` holds, if any."""
    reply, sub.reply = sub.reply, None
    if reply is not None:
        await reply.close()


async def _receive(
    sub: Subrequest, inode: Inode, sink: ReadSink, collector: Collector, means: ReadMeans
) -> None:
    reply = sub.reply
    assert reply is not None
    eof = _eof_of(reply, sub)
    passes_over = reply.whole and not sink.takes_whole
    intake = Intake(sub, inode, sink, collector, eof=eof, passes_over=passes_over)
    try:
        await reply.receive(intake.take, notice_bytes=NOTICE_BYTES)
    except TransientError as error:
        sub.error = error
        sub.need_retry = True
        if intake.came > sub.position:
            means.misses.cut_off(inode, sub.position, intake.came)
        return
    _note_end(reply, sub, eof)


def _check_place(reply: ReadReply, sub: Subrequest, inode: Inode, sink: ReadSink) -> None:
    """The body begins where it was asked for, or is the whole of what was asked for in part."""
    start, end = reply.extent
    if start == sub.position and (end <= sub.asked_end or not reply.whole):
        return
    if reply.whole and start == 0:
        if not sink.takes_whole:
            return
        sub.reply = None
        raise GaveWholeError(reply)
    url = inode.resource.url
    raise RemoteProtocolError(
        f"read of {url} [{sub.position}, {sub.asked_end}): the server sent {reply.extent}", url=url
    )


def _eof_of(reply: ReadReply, sub: Subrequest) -> int:
    """Where the bytes end behind which there are only zeros (-1: nowhere); a block that they end
    in is filled up with zeros."""
    size = reply.version.size if reply.version is not None else -1
    if 0 <= size < sub.asked_end and reply.extent.end >= size:
        return max(size, sub.position)
    return sub.asked_end if sub.asked_end < sub.end else -1


def _note_end(reply: ReadReply, sub: Subrequest, eof: int) -> None:
    """A body has come whole: was it all that was asked for, or all that there is?"""
    if sub.end == OPEN_END:
        sub.end = sub.position
    elif 0 <= eof < sub.asked_end:
        sub.hit_eof = True
    elif reply.extent.end < sub.asked_end and reply.extent.length > 0:
        # It took less than it was asked for: that is what it offers.
        events.sreq(sub, "LIMIT")
        sub.request.largest = min(sub.request.largest, reply.extent.length)
