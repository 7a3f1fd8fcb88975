"""Write requests: one writeback as a whole, its two streams, and the bytes that both send.

Stream 0 goes to the server, stream 1 to the cache.  Both tile the same queue on their own: what is
sent to the server is exactly what changed, what goes to the cache is whole blocks of it.  The
queue's segments are copies taken when a part is submitted, so nothing changes under a digest, and
both streams get the same bytes.
"""

from __future__ import annotations

from enum import Enum

from netcache._core.coherency import Version
from netcache._core.extent import Extent
from netcache._core.invariant import invariant
from netcache._core.stats import Stats
from netcache._netfs import events
from netcache._netfs.buffer_queue import BufferQueue
from netcache._netfs.dirty_file import DirtyFile
from netcache._netfs.request_ids import next_id
from netcache._netfs.segment_array import Arena


class WriteOrigin(Enum):
    """Why a request was made; the kernel's letters and names."""

    WRITEBACK = ("WB", "WRITEBACK")
    DIRECT = ("DW", "DIO-WRITE")

    @property
    def letters(self) -> str:
        """Two letters, as in the kernel's list of requests."""
        return self.value[0]

    @property
    def event(self) -> str:
        """The kind that ``netfs_write`` tells."""
        return self.value[1]


class WriteSource(Enum):
    """Where a subrequest writes to."""

    UPLOAD = "UPLD"
    CACHE_WRITE = "WRIT"


class WriteSubrequest:
    """One exchange, or one run of cache writes: ``[start, end)`` of its request."""

    __slots__ = ("end", "error", "index", "request", "retries", "source", "start", "transferred")

    def __init__(
        self, request: WriteRequest, index: int, source: WriteSource, extent: Extent
    ) -> None:
        self.request = request
        self.index = index
        self.source = source
        self.start, self.end = extent
        self.transferred = 0
        self.retries = 0
        self.error: BaseException | None = None

    @property
    def length(self) -> int:
        """How many bytes it is about."""
        return self.end - self.start

    def ended(self, error: BaseException | None = None) -> None:
        """It came to its end: all of it, or nothing."""
        self.error = error
        self.transferred = self.length if error is None else 0
        events.sreq(self, "TERM" if error is None else "CANCL")
        self.request.freed(self)


class WriteRequest:
    """A writeback of a file.  ``version`` is what the server has by now; ``proven``: and nobody
    else can have changed anything in it.  On the client's loop; ``close`` it."""

    def __init__(self, file: DirtyFile, origin: WriteOrigin, stats: Stats) -> None:
        self.id = next_id()
        self.file = file
        self.origin = origin
        self.start = 0
        self.end = self.size = file.size
        self.version = file.base.version
        self.proven = True
        self.error: BaseException | None = None
        self.queue: BufferQueue | None = None
        self.sent: list[Extent] = []
        self.issued_to = [0, 0]
        self.stream_collected_to = [0, 0]
        self._alive = 0
        self._made = 0
        self._arena = Arena(stats)
        self._stats = stats
        stats.add("Objs", "rr")
        events.write(self, file.resource.url)

    @property
    def collected_to(self) -> int:
        """How far every stream that was issued to has come."""
        return min(self.stream_collected_to)

    @property
    def sent_bytes(self) -> int:
        """How much the server has acknowledged and the cache has not got."""
        return sum(extent.length for extent in self.sent)

    def issue(self, source: WriteSource, extent: Extent) -> WriteSubrequest:
        """Begin a subrequest; those of a stream come in order of position."""
        stream = source is WriteSource.CACHE_WRITE
        invariant(
            self.issued_to[stream] <= extent.start < extent.end,
            "a stream is issued to forwards",
            extent=extent,
            issued_to=self.issued_to[stream],
        )
        self.issued_to[stream] = extent.end
        self._made += 1
        self._alive += 1
        self._stats.add("Objs", "sr")
        sub = WriteSubrequest(self, self._made, source, extent)
        events.sreq(sub, "SUBMT")
        return sub

    def freed(self, sub: WriteSubrequest) -> None:
        """A subrequest has ended."""
        self._alive -= 1
        self._stats.add("Objs", "sr", -1)
        stream = sub.source is WriteSource.CACHE_WRITE
        if sub.error is None:
            self.stream_collected_to[stream] = sub.end

    def snapshot(self, extent: Extent) -> BufferQueue:
        """A queue over a copy of ``[start, end)`` of the file as it is now; close it."""
        if self.queue is None:
            self.queue = BufferQueue(self._arena, extent.start)
        self.queue.allocate(extent.length, at=extent.start)
        try:
            part = self.queue.slice(*extent)
        except BaseException:
            self.queue.shorten(extent.start)
            raise
        try:
            with self.file.lock:
                position = extent.start
                for view in part.buffers(*extent):
                    self.file.pages.read_into(view, position)
                    position += len(view)
        except BaseException:
            part.close()
            self.queue.shorten(extent.start)
            raise
        return part

    def acknowledged(self, extent: Extent, version: Version, *, proven: bool) -> None:
        """The server has ``extent``, and with it is ``version``."""
        self.sent.append(extent)
        self.version = version
        self.proven = self.proven and proven

    def take_sent(self) -> tuple[BufferQueue | None, list[Extent]]:
        """What was acknowledged so far, with its bytes; the request begins a new queue."""
        queue, self.queue = self.queue, None
        sent, self.sent = self.sent, []
        return queue, sent

    def close(self, error: BaseException | None = None) -> None:
        """It is over; nothing of it is left.  Idempotent."""
        if self._arena is None:
            return
        invariant(not self._alive, "a request outlives its subrequests", alive=self._alive)
        self.error = error
        queue, _ = self.take_sent()
        if queue is not None:
            queue.close()
        self._arena = None  # type: ignore[assignment]
        events.rreq(self, "WR-DONE" if error is None else "S-ABNDN")
        events.rreq(self, "FREE")
        self._stats.add("Objs", "rr", -1)
