"""The reply to a question for several ranges: its body on the way to a sink.

The body takes aiohttp's stream: ranges that are asked for together are short, or they would be
asked for apart.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from netcache._core.coherency import Version
from netcache._core.extent import Extent
from netcache._core.invariant import invariant
from netcache.backends.http_body import give_up, next_chunk
from netcache.backends.http_fields import content_length
from netcache.backends.http_multipart import MultipartParser
from netcache.backends.http_pieces import Pieces
from netcache.backends.http_ranges import (
    RangesHead,
    RangesQuestion,
    Shares,
    part_extent,
)
from netcache.backends.http_reply import NOTICE_BYTES_MIN, BodyMeans
from netcache.errors import (
    NotOfferedError,
    RemoteProtocolError,
    RemoteTimeoutError,
    TransientError,
)
from netcache.spi import BodySink

if TYPE_CHECKING:
    from netcache.backends.http_body import Response

__all__ = ["HttpRangesReply"]


class HttpRangesReply:
    """A ``RangesReply`` over an aiohttp response.

    ``refused`` is called when the server turns out to send much that was not asked for.
    """

    def __init__(
        self,
        question: RangesQuestion,
        response: Response,
        head: RangesHead,
        means: BodyMeans,
        refused: Callable[[], None],
    ) -> None:
        self.version: Version = question.expected
        self._question = question
        self._head = head
        self._means = means
        self._refused = refused
        self._response: Response | None = response

    async def receive(self, sink: BodySink, *, notice_bytes: int = 1 << 20) -> list[Extent]:
        """Hand the bytes to ``sink``; see the port."""
        invariant(
            notice_bytes >= NOTICE_BYTES_MIN and notice_bytes & (notice_bytes - 1) == 0,
            "notice_bytes is a power of two of at least 64 KiB",
            notice_bytes=notice_bytes,
        )
        response, self._response = self._response, None
        invariant(response is not None, "a body is taken once", url=self._question.url)
        assert response is not None

        def pieces(extent: Extent) -> Pieces:
            step_bytes = self._means.throttle.step_bytes
            return Pieces(self._means.pool, *extent, sink, notice_bytes, step_bytes=step_bytes)

        shares = Shares(self._question, pieces)
        try:
            await self._take(response, shares)
        except TransientError as error:
            shares.finish()
            raise self._named(error) from error
        except RemoteProtocolError as error:
            if error.url is not None:
                raise
            message = f"read of {self._question.as_one} failed: {error}"
            raise RemoteProtocolError(message, url=self._question.url) from error
        except NotOfferedError as error:
            self._refused()
            if error.url is not None:
                raise
            message = f"read of {self._question.as_one} failed: {error}"
            raise NotOfferedError(message, url=self._question.url) from error
        finally:
            shares.release()
            give_up(response)
        return shares.taken

    async def close(self) -> None:
        """Give the exchange up.  Idempotent."""
        response, self._response = self._response, None
        if response is not None:
            give_up(response)

    async def _take(self, response: Response, shares: Shares) -> None:
        extent = self._head.extent
        if extent is not None:
            left = shares.begin(extent)
            async for chunk in self._chunks(response):
                shares.take(memoryview(chunk))
                left -= len(chunk)
            if left:
                raise TransientError("the body ended early")
            return
        assert self._head.boundary is not None
        parser = MultipartParser(
            self._head.boundary,
            lambda fields: shares.begin(part_extent(self._question, fields)),
            shares.take,
        )
        async for chunk in self._chunks(response):
            parser.feed(chunk)
        if not parser.complete:
            if content_length(response.headers) is None:
                raise TransientError("the body ended early")
            raise RemoteProtocolError("a body of several parts has no end")

    async def _chunks(self, response: Response) -> AsyncIterator[bytes]:
        while chunk := await next_chunk(response, self._means.timeout_s):
            yield chunk
            await self._means.throttle.pass_bytes(len(chunk))

    def _named(self, error: TransientError) -> TransientError:
        """The same error, saying what it interrupted."""
        kind = RemoteTimeoutError if isinstance(error, RemoteTimeoutError) else TransientError
        return kind(f"read of {self._question.as_one} broke off: {error}", url=self._question.url)
