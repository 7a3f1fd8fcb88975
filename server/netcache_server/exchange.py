"""One request and what became of it: the connection it came on, its counters, its log record.

Rules:

1. ``status``, the byte counters and ``error`` are what really happened, not what was intended.
2. The record holds no credential: neither ``Authorization`` nor anything that it decodes to.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from aiohttp import StreamReader, web
from aiohttp.http import HttpRequestParser

from netcache_server.faults import NO_EFFECTS, Effects
from netcache_server.options import LogRecord
from netcache_server.paths import RequestPath

READ_BUFFER_BYTES = 1 << 20
MAX_LINE_BYTES = 16 * 1024
MAX_PIPELINED = 32
FIRST_HEAD_S = 60.0
"""A connection whose first request has not come by then is closed."""
_ids = itertools.count(1)
_VALIDATORS = (
    "If-Match",
    "If-None-Match",
    "If-Modified-Since",
    "If-Unmodified-Since",
    "If-Range",
)


class Connection(web.RequestHandler):
    """aiohttp's handler of one connection, which also tells when the connection is gone."""

    lost: asyncio.Event
    unread_timeout_s: float | None = None
    lingering: StreamReader | None = None
    has_asked = False
    _first_head_timer: asyncio.TimerHandle
    _next_parser: Any = None

    def prepare_parser(self) -> bool:
        """Whether ``renew_parser`` will work; asked before anything depends on it.

        aiohttp has no public way to say that a body was taken off the connection.  What is used
        here exists in the versions that were tested; elsewhere the answer is no.
        """
        try:
            self._next_parser = HttpRequestParser(
                self,
                asyncio.get_running_loop(),
                READ_BUFFER_BYTES,
                max_line_size=MAX_LINE_BYTES,
                max_field_size=MAX_LINE_BYTES,
                payload_exception=web.RequestPayloadError,
                auto_decompress=False,
                max_msg_queue_size=MAX_PIPELINED,
            )
        except TypeError:
            return False
        return self._parser is not None

    def renew_parser(self) -> None:
        """Read what comes next as a new request; the body of the last one was taken elsewhere."""
        self._parser, self._next_parser = self._next_parser, None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop; limits how long a client may leave sent bytes unread."""
        self.lost = asyncio.Event()
        handle = transport.get_extra_info("socket")
        if handle is not None and self.unread_timeout_s and hasattr(socket, "TCP_USER_TIMEOUT"):
            milliseconds = min(int(self.unread_timeout_s * 1000), 2**31 - 1)
            with suppress(OSError):
                handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
        super().connection_made(transport)
        # Between requests aiohttp has a limit of its own; before the first one it has none.
        limit_s = min(FIRST_HEAD_S, self.unread_timeout_s or FIRST_HEAD_S)
        loop = asyncio.get_running_loop()
        self._first_head_timer = loop.call_later(limit_s, self._close_unless_asked)

    def _close_unless_asked(self) -> None:
        if not self.has_asked:
            self.force_close()

    def connection_lost(self, error: BaseException | None) -> None:
        """Called by the loop when the connection is gone, from either side."""
        self.lost.set()
        self._first_head_timer.cancel()
        super().connection_lost(error)
        if self.lingering is not None:
            self.lingering.feed_eof()  # or aiohttp would wait for the rest until its time is over


class Exchange:
    """One request: its parts, its connection, and the record of what happened."""

    def __init__(self, request: web.BaseRequest) -> None:
        self.id = next(_ids)
        self.request = request
        self.connection.has_asked = True
        self.method = request.method
        self.headers = request.headers
        self.path = RequestPath((), True)
        self.effects: Effects = NO_EFFECTS
        self.fault_names: tuple[str, ...] = ()
        self.status: int | None = None
        self.answer_headers: dict[str, str] = {}
        self.bytes_sent = 0
        self.bytes_received = 0
        self.error: str | None = None
        self._time = time.time()
        self._started = time.monotonic()

    @property
    def connection(self) -> Connection:
        """The connection that the request came on."""
        protocol = self.request.protocol
        assert isinstance(protocol, Connection)
        return protocol

    @property
    def transport(self) -> asyncio.Transport:
        """The transport; raises ``ConnectionResetError`` once the connection is gone."""
        transport = self.request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client has gone")
        return transport

    async def pause(self, seconds: float | None) -> None:
        """Wait so long, or for ever, but no longer than the client stays."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.connection.lost.wait()

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Put raw bytes on the wire; returns when there is room for more."""
        await self.request.writer.write(data)

    async def flushed(self) -> None:
        """Wait until the kernel has taken all that was written."""
        transport = self.transport
        low, high = 0, 0
        transport.set_write_buffer_limits(high=high, low=low)
        await self.request.writer.drain()

    def end(self) -> None:
        """Tell the client that nothing follows, while what it still sends is read and dropped.

        To close at once would reset the connection, and the client could lose the answer that it
        has not read yet (RFC 9112 9.6).
        """
        transport = self.request.transport
        unread = not self.request.content.is_eof()
        if unread and transport is not None and transport.can_write_eof():
            transport.write_eof()

    def leave(self) -> None:
        """The answer is given: what is left of the body ends with the connection, or before."""
        if not self.request.content.is_eof():
            self.connection.lingering = self.request.content

    async def cut(self, *, reset: bool = False) -> None:
        """Close the connection here and now; what was written before still arrives.

        With ``reset`` the client is told by RST, and what it has not read may be lost to it.
        """
        transport = self.request.transport
        if transport is None:
            return
        with suppress(ConnectionError):
            await self.flushed()
        if reset:
            linger = b"\1\0\0\0\0\0\0\0"
            handle = transport.get_extra_info("socket")
            with suppress(OSError, AttributeError):
                handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        transport.abort()

    def record(self) -> LogRecord:
        """The log record of the request as it stands."""
        headers = self.headers
        record: LogRecord = {
            "time": datetime.fromtimestamp(self._time, UTC).isoformat(timespec="milliseconds"),
            "id": self.id,
            "method": self.method,
            "path": self.path.text.encode("utf-8", "replace").decode("utf-8"),
            "query": self.path.query.encode("utf-8", "replace").decode("utf-8"),
            "range": headers.get("Range"),
            "status": self.status,
            "bytes_sent": self.bytes_sent,
            "bytes_received": self.bytes_received,
            "duration_ms": round((time.monotonic() - self._started) * 1000, 3),
            "user_agent": headers.get("User-Agent"),
        }
        for name in _VALIDATORS:
            record[name.lower().replace("-", "_")] = headers.get(name)
        record["etag"] = self.answer_headers.get("ETag")
        record["content_range"] = self.answer_headers.get("Content-Range")
        record["content_type"] = self.answer_headers.get("Content-Type")
        record["request_content_range"] = headers.get("Content-Range")
        record["update_range"] = headers.get("X-Update-Range")
        record["upload_offset"] = headers.get("Upload-Offset")
        record["content_digest"] = headers.get("Content-Digest")
        record["want_repr_digest"] = headers.get("Want-Repr-Digest")
        record["connection"] = id(self.request.protocol)
        record["faults"] = list(self.fault_names)
        record["error"] = self.error
        return record
