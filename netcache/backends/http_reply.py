"""The reply to a read: a head that has been judged, and a body on its way to a sink.

The body takes one of two paths: our own receiver on the transport (``http_takeover``) where its
length is known, aiohttp's stream otherwise; both keep the promises of ``ReadReply.receive``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from netcache._core.invariant import invariant
from netcache.backends.http_body import give_up, next_chunk, of_aiohttp
from netcache.backends.http_fields import content_length
from netcache.backends.http_pieces import BufferPool, Pieces
from netcache.backends.http_plain import UnusualError
from netcache.backends.http_takeover import (
    BodyReceiver,
    Seat,
    drain,
    find_seat,
    let_the_parser_end,
)
from netcache.errors import (
    RemoteError,
    RemoteProtocolError,
    RemoteTimeoutError,
    TransientError,
)

if TYPE_CHECKING:
    from netcache._core.coherency import Version
    from netcache._core.extent import Extent
    from netcache.backends.http_body import Response
    from netcache.backends.http_session import Exchange
    from netcache.backends.http_wire import ReadHead
    from netcache.backends.throttle import Throttle
    from netcache.spi import BodySink

__all__ = ["BodyMeans", "HttpReadReply", "HttpSmallReply"]

NOTICE_BYTES_MIN = 64 * 1024
TAKEOVER_BYTES_MIN = 64 * 1024
"""Below this the rest of a body is not worth a change of protocol."""


class BodyMeans:
    """What all bodies of a backend share.  ``takeover`` False makes all of them take the stream."""

    def __init__(self, throttle: Throttle, timeout_s: float, *, takeover: bool = True) -> None:
        self.pool = BufferPool()
        self.throttle = throttle
        self.timeout_s = timeout_s
        self.takeover = takeover


class HttpSmallReply:
    """A ``ReadReply`` whose body has come with its head."""

    path = "lane"

    def __init__(self, head: ReadHead, body: bytes) -> None:
        self.not_modified = head.not_modified
        self.version: Version | None = head.version
        self.extent: Extent = head.extent
        self.whole = head.whole
        self.ranges_supported = head.ranges_supported
        self._body = body

    async def receive(self, sink: BodySink, *, notice_bytes: int = 1 << 20) -> int:
        """Hand the body to ``sink``; see the port."""
        body, self._body = memoryview(self._body), b""
        for start in range(0, len(body), notice_bytes):
            sink(start, body[start : start + notice_bytes])
        return len(body)

    async def close(self) -> None:
        """There is nothing to give up."""


class HttpReadReply:
    """A ``ReadReply`` over an aiohttp response.

    ``path`` tells which way the body took, for tests and measurements.
    """

    def __init__(self, url: str, exchange: Exchange, head: ReadHead, means: BodyMeans) -> None:
        self.head_s = exchange.head_s
        self.not_modified = head.not_modified
        self.version: Version | None = head.version
        self.extent: Extent = head.extent
        self.whole = head.whole
        self.ranges_supported = head.ranges_supported
        self.path: Literal["none", "receiver", "stream"] = "none"
        self._url = url
        self._means = means
        self._response: Response | None = exchange.response
        if head.not_modified or self.extent.start == self.extent.end:
            exchange.give_up()

    async def receive(self, sink: BodySink, *, notice_bytes: int = 1 << 20) -> int:
        """Hand the body to ``sink``; see the port."""
        invariant(
            notice_bytes >= NOTICE_BYTES_MIN and notice_bytes & (notice_bytes - 1) == 0,
            "notice_bytes is a power of two of at least 64 KiB",
            notice_bytes=notice_bytes,
        )
        response, self._response = self._response, None
        invariant(response is not None, "a body is taken once", url=self._url)
        assert response is not None
        if self.not_modified or self.extent.start == self.extent.end:
            return 0
        throttle = self._means.throttle
        pieces = Pieces(
            self._means.pool, *self.extent, sink, notice_bytes, step_bytes=throttle.step_bytes
        )
        try:
            await self._take(response, pieces)
            return pieces.taken_bytes
        except TransientError as error:
            pieces.finish()
            raise self._named(error, pieces) from error
        except RemoteProtocolError as error:
            raise RemoteProtocolError(
                f"read of {self._url} failed: {error}", url=self._url
            ) from error
        finally:
            pieces.release()
            give_up(response)

    async def close(self) -> None:
        """Give the exchange up.  Idempotent."""
        response, self._response = self._response, None
        if response is not None:
            give_up(response)

    async def _take(self, response: Response, pieces: Pieces) -> None:
        left = (content_length(response.headers) or 0) - response.content.total_bytes
        if self._means.takeover and self.extent.end >= 0 and left >= TAKEOVER_BYTES_MIN:
            seat = find_seat(response)
            if seat is not None:
                await self._take_by_receiver(seat, pieces)
        if not pieces.complete:
            await self._take_by_stream(response, pieces)

    async def _take_by_receiver(self, seat: Seat, pieces: Pieces) -> None:
        for chunk in drain(seat):
            pieces.put(chunk)
            await self._means.throttle.pass_bytes(len(chunk))
        if pieces.complete:
            let_the_parser_end(seat)
        if pieces.complete or seat.content.is_eof() or seat.transport.is_closing():
            return
        self.path = "receiver"
        receiver = BodyReceiver(seat, pieces, self._means.throttle, self._means.timeout_s)
        receiver.sit_down()
        try:
            await receiver.done
        finally:
            receiver.stand_up()
        seat.content.feed_eof()
        await self._means.throttle.pass_bytes(0)

    async def _take_by_stream(self, response: Response, pieces: Pieces) -> None:
        self.path = "stream"
        connection = response.connection
        protocol = connection.protocol if connection is not None else None
        while chunk := await next_chunk(response, self._means.timeout_s):
            pieces.put(chunk)
            await self._means.throttle.pass_bytes(len(chunk))
        pieces.finish()
        if self.extent.end >= 0 and not pieces.complete:
            raise TransientError("the body ended early")
        if protocol is not None and _is_excess(protocol.exception()):
            raise RemoteProtocolError("the server sent more bytes than it said")

    def _named(self, error: TransientError, pieces: Pieces) -> RemoteError:
        """The same error, saying what it interrupted."""
        size = f" of {self.extent.length}" if self.extent.end >= 0 else ""
        kind = RemoteTimeoutError if isinstance(error, RemoteTimeoutError) else TransientError
        return kind(
            f"read of {self._url} broke off after {pieces.position - pieces.start}{size} bytes: "
            f"{error}",
            url=self._url,
        )


def _is_excess(error: BaseException | None) -> bool:
    """Whether a connection reports that more came than an answer."""
    return isinstance(error, (UnusualError, *of_aiohttp("PARSER_ERRORS")))
