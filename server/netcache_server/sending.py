"""From a ``Reply`` to bytes on the wire.

Rules:

1. The whole answer is one version: file bodies come from the descriptor opened once, and if that
   very file was changed in place meanwhile the connection is cut before the answer is complete.
2. The log record is made just before the last bytes go out, so whoever has the whole answer finds
   the record there.
3. Memory is constant: the kernel copies (``sendfile``) where TLS and faults let it, otherwise one
   chunk is held.
4. Small answers are one write.
"""

from __future__ import annotations

import asyncio
import io
import os
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Executor
from contextlib import aclosing

import aiofiles
from aiohttp import web

from netcache_server.conditionals import http_date
from netcache_server.digest import WANT_CONTENT_DIGEST
from netcache_server.distortion import distort_headers
from netcache_server.exchange import Exchange
from netcache_server.ranges import Span
from netcache_server.reply import FileBody, Reply, Stream, forbids_body, reason
from netcache_server.shaping import End, Pause, altered, declared_length, paced

CHUNK_BYTES = 256 * 1024
_TAIL_BYTES = 16 * 1024
"""The end of a large file body is read and written last, after the record was made (rule 2)."""

_SENDFILE_BYTES = 32 * 1024 * 1024
"""One call to ``sendfile``; between two calls the connection's other duties get a turn."""


class Done(web.StreamResponse):
    """Tells aiohttp that the answer is already on the wire, and whether the connection stays."""

    def __init__(self, keep_alive: bool) -> None:
        super().__init__()
        self._stay = keep_alive

    @property
    def keep_alive(self) -> bool:
        """Whether another request may follow on the connection."""
        return self._stay

    async def prepare(self, request: web.BaseRequest) -> None:
        """Nothing is left to do."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to do."""


class Sender:
    """Sends one reply of one exchange."""

    def __init__(self, exchange: Exchange, pool: Executor, finished: Callable[[], None]) -> None:
        self._exchange = exchange
        self._effects = exchange.effects
        self._pool = pool
        self._finished = finished
        self._chunked = False

    async def send(self, reply: Reply) -> bool:
        """Send it all; the result says whether the connection stays open.

        Raises ``ConnectionError`` if the client leaves first or a fault cuts the connection.
        """
        exchange = self._exchange
        length = self._length(reply)
        silent = forbids_body(exchange.method, reply.status)
        unframed = length is None and not silent and exchange.request.version < (1, 1)
        # A client that was not told to go on may leave its body out, and what comes next is then
        # the next request or the body after all: nobody can tell, so there is no next one.
        waiting = "Expect" in exchange.headers and not exchange.request.content.is_eof()
        closes = reply.close or unframed or waiting
        keep_alive = exchange.request.keep_alive and not closes
        self._chunked = length is None and not silent and not unframed
        head = self._head(reply, length, keep_alive)
        exchange.status = reply.status
        if silent:
            await self._last(head, 0)
        elif self._effects.shapes_body:
            await exchange.write(head)
            await self._shaped(reply)
        elif isinstance(reply.body, bytes):
            await self._last(head + reply.body, len(reply.body))
        elif isinstance(reply.body, FileBody):
            await exchange.write(head)
            await self._file(reply.body)
        else:
            await exchange.write(head)
            await self._chunks(self._stream(reply.body))
        return keep_alive

    def _length(self, reply: Reply) -> int | None:
        if isinstance(reply.body, Stream):
            return None
        length = len(reply.body) if isinstance(reply.body, bytes) else reply.body.length
        if reply.head_length is not None:
            length = reply.head_length
        return declared_length(length, self._effects)

    def _head(self, reply: Reply, length: int | None, keep_alive: bool) -> bytes:
        version = self._exchange.request.version
        headers = {
            "Date": http_date(time.time()),
            "Server": "netcache_server",
            "Want-Content-Digest": WANT_CONTENT_DIGEST,
        }
        headers |= reply.headers
        if length is not None and reply.status not in (204, 304):
            headers["Content-Length"] = str(length)
        elif self._chunked:
            headers["Transfer-Encoding"] = "chunked"
        if not keep_alive:
            headers["Connection"] = "close"
        elif version < (1, 1):
            headers["Connection"] = "keep-alive"
        distort_headers(headers, self._effects)
        self._exchange.answer_headers = headers
        spoken = "1.0" if version == (1, 0) else "1.1"
        lines = [f"HTTP/{spoken} {reply.status} {reason(reply.status)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if any(character in line for line in lines for character in "\r\n\0"):
            raise ValueError("a line break inside a header")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape")

    async def _last(self, data: bytes, body_length: int) -> None:
        """Make the record, then let the last bytes go."""
        _ = self._exchange.transport
        self._exchange.bytes_sent += body_length
        self._finished()
        await self._exchange.write(data)

    async def _file(self, body: FileBody) -> None:
        exchange = self._exchange
        plain = exchange.transport.get_extra_info("sslcontext") is None
        if not plain:
            await self._chunks(self._file_chunks(body))
            return
        *parts, last = body.parts
        if isinstance(last, Span):
            middle = max(last.start, last.end - _TAIL_BYTES)
            parts.append(Span(last.start, middle))
            last = Span(middle, last.end)
        for part in parts:
            if isinstance(part, bytes):
                await exchange.write(part)
                exchange.bytes_sent += len(part)
            else:
                await self._sendfile(body.file.fd, part)
        data = last if isinstance(last, bytes) else os.pread(body.file.fd, last.length, last.start)
        self._check(body, len(data), last)
        await self._last(data, len(data))

    def _check(self, body: FileBody, length: int, last: bytes | Span) -> None:
        """Rule 1: cut the connection rather than complete an answer of two versions."""
        if not body.file.unchanged() or (isinstance(last, Span) and length != last.length):
            self._exchange.error = "the file was changed while it was sent"
            self._exchange.transport.abort()
            raise ConnectionAbortedError(self._exchange.error)

    async def _sendfile(self, fd: int, span: Span) -> None:
        loop = asyncio.get_running_loop()
        start = span.start
        with io.FileIO(fd, closefd=False) as file:
            while start < span.end:
                count = min(_SENDFILE_BYTES, span.end - start)
                os.lseek(fd, start, os.SEEK_SET)
                try:
                    sent = await loop.sendfile(self._exchange.transport, file, start, count)
                except RuntimeError as error:  # the loop's word for a transport that is closing
                    raise ConnectionResetError("the client has gone") from error
                except BaseException:
                    # The loop leaves the file's offset where it stopped sending.
                    self._exchange.bytes_sent += os.lseek(fd, 0, os.SEEK_CUR) - start
                    raise
                self._exchange.bytes_sent += sent
                start += sent
                if sent < count:
                    self._exchange.error = "the file was cut while it was sent"
                    self._exchange.transport.abort()
                    raise ConnectionAbortedError(self._exchange.error)

    async def _chunks(self, chunks: AsyncGenerator[bytes, None]) -> None:
        """Send chunks; one is held back, so that the last one is known to be it."""
        held = b""
        async with aclosing(chunks):
            async for chunk in chunks:
                if held:
                    await self._body(held)
                held = chunk
        closing = b"0\r\n\r\n" if self._chunked else b""
        await self._last(self._framed(held) + closing, len(held))

    async def _shaped(self, reply: Reply) -> None:
        effects = self._effects
        length = None if isinstance(reply.body, Stream) else self._true_length(reply)
        source = self._source(reply)
        steps = paced(altered(source, length, effects), effects)
        due = asyncio.get_running_loop().time()
        held = b""
        async with aclosing(source), aclosing(steps):
            async for step in steps:
                await self._body(held)
                held = step if isinstance(step, bytes) else b""
                if isinstance(step, Pause):
                    due = await self._pause(step, due)
                elif step is End.CUT:
                    self._finished()
                    await self._exchange.cut(reset=effects.reset)
                    raise ConnectionAbortedError("cut by a fault")
        closing = b"0\r\n\r\n" if self._chunked else b""
        await self._last(self._framed(held) + closing, len(held))

    def _source(self, reply: Reply) -> AsyncGenerator[bytes, None]:
        if isinstance(reply.body, FileBody):
            return self._file_chunks(reply.body)
        return self._stream(reply.body) if isinstance(reply.body, Stream) else _once(reply.body)

    async def _pause(self, pause: Pause, due: float) -> float:
        """Wait until the pause is over; gives the time at which the next one begins."""
        await self._exchange.flushed()
        clock = asyncio.get_running_loop().time
        if pause.seconds is None:
            await self._exchange.pause(None)
        else:
            # A pause counts from the end of the last one, so that the pace is kept on average.
            due = max(due, clock() - 1.0) + pause.seconds
            await self._exchange.pause(max(0.0, due - clock()))
        _ = self._exchange.transport
        return due

    def _true_length(self, reply: Reply) -> int:
        assert not isinstance(reply.body, Stream)
        return len(reply.body) if isinstance(reply.body, bytes) else reply.body.length

    async def _body(self, chunk: bytes) -> None:
        _ = self._exchange.transport
        if chunk:
            await self._exchange.write(self._framed(chunk))
        self._exchange.bytes_sent += len(chunk)

    def _framed(self, chunk: bytes) -> bytes:
        if not self._chunked or not chunk:
            return chunk
        return b"%x\r\n%b\r\n" % (len(chunk), chunk)

    async def _file_chunks(self, body: FileBody) -> AsyncGenerator[bytes, None]:
        async with aiofiles.open(
            body.file.fd, "rb", buffering=0, closefd=False, executor=self._pool
        ) as file:
            for part in body.parts:
                if isinstance(part, bytes):
                    yield part
                    continue
                await file.seek(part.start)
                left = part.length
                while left:
                    chunk = await file.read(min(CHUNK_BYTES, left))
                    left -= len(chunk)
                    if not chunk or (left == 0 and not body.file.unchanged()):
                        self._exchange.error = "the file was changed while it was sent"
                        self._exchange.transport.abort()
                        raise ConnectionAbortedError(self._exchange.error)
                    yield chunk

    async def _stream(self, body: Stream) -> AsyncGenerator[bytes, None]:
        loop = asyncio.get_running_loop()
        while chunk := await loop.run_in_executor(self._pool, next, body.chunks, b""):
            yield chunk


async def _once(data: bytes) -> AsyncGenerator[bytes, None]:
    if data:
        yield data
