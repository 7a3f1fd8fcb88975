"""A server that answers rows of requests as a test says, and a backend that has asked it once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from netcache._core.coherency import Validator, ValidatorKind, Version
from netcache.backends.http import HttpBackend
from netcache.backends.http_lanes import Lanes
from tests.support.http_rig import client
from tests.support.scripted import body_of, way_of
from tests.support.served import random_bytes

DAY = "Sun, 22 Nov 2026 12:00:%02d GMT"

Handle = Callable[["RowServer", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class RowServer:
    """Files by number, over bare connections that a test handles itself.

    A check of a file (``HEAD``) has its number, negative; those that have ``changed`` since are not
    current.  ``rows`` has how many requests lay on a connection whenever it was looked.
    """

    def __init__(self, handle: Handle) -> None:
        self.files = {number: random_bytes(100 + number, number) for number in range(64)}
        self.asked: list[int] = []
        self.rows: list[int] = []
        self.etags = True
        self.changed: set[int] = set()
        self.times = {number: DAY % (number % 60) for number in self.files}
        self._handle = handle
        self._serving: set[asyncio.Task[Any]] = set()

    def answer(self, number: int, extra: bytes = b"") -> bytes:
        """The answer that bears a file, or to a check."""
        if number < 0:
            return self._checked(-number, extra)
        if number not in self.files:
            return b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone"
        data = self.files[number]
        tag = b'ETag: "%d"\r\n' % number if self.etags else b""
        time = b"Last-Modified: %b\r\n" % self.times[number].encode()
        head = b"HTTP/1.1 200 OK\r\n%b%b%bContent-Length: %d\r\n\r\n" % (
            tag,
            time,
            extra,
            len(data),
        )
        return head + data

    def _checked(self, number: int, extra: bytes) -> bytes:
        if number not in self.files:
            return b"HTTP/1.1 404 Not Found\r\n%bContent-Length: 4\r\n\r\n" % extra
        if number not in self.changed:
            return b'HTTP/1.1 304 Not Modified\r\n%bETag: "%d"\r\n\r\n' % (extra, number)
        tag = b'ETag: "%d-again"\r\n' % number
        return b"HTTP/1.1 200 OK\r\n%b%bContent-Length: 7\r\n\r\n" % (extra, tag)

    async def next(self, reader: asyncio.StreamReader) -> int:
        """The next request."""
        head = await reader.readuntil(b"\r\n\r\n")
        number = int(head.split(b" ")[1][1:]) * (-1 if head.startswith(b"HEAD") else 1)
        self.asked.append(number)
        return number

    async def row(self, reader: asyncio.StreamReader) -> list[int]:
        """All requests that have come; at least one."""
        numbers = [await self.next(reader)]
        for _ in range(5):
            await asyncio.sleep(0)
        while b"\r\n\r\n" in reader._buffer:  # type: ignore[attr-defined]
            numbers.append(await self.next(reader))
        self.rows.append(len(numbers))
        return numbers

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            await self._handle(self, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            self._serving.discard(task)

    async def stop(self) -> None:
        """End all connections."""
        for task in (tasks := list(self._serving)):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def in_order(
    server: RowServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """As it ought to be."""
    while True:
        numbers = await server.row(reader)
        writer.write(b"".join(map(server.answer, numbers)))


def misordered(order: Callable[[list[int]], Sequence[int]]) -> Handle:
    """Rows are answered in another order."""

    async def handle(
        server: RowServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while True:
            numbers = await server.row(reader)
            writer.write(b"".join(map(server.answer, order(numbers))))

    return handle


def ending(after: int, extra: bytes = b"") -> Handle:
    """Each connection ends behind so many answers; the last one has ``extra`` fields."""

    async def handle(
        server: RowServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        left = after
        while left:
            numbers = await server.row(reader)
            for number in numbers[:left]:
                left -= 1
                writer.write(server.answer(number, b"" if left else extra))
            await writer.drain()

    return handle


def unreliable(rng: random.Random) -> Handle:
    """Rows are answered, mostly; what else is done with them, ``rng`` says.

    (Who answers one request twice could deceive any client; only tags show that.)
    """

    def reordered(server: RowServer, numbers: list[int]) -> list[int]:
        kind = rng.randrange(12) if len(numbers) > 1 else -1
        if kind == 0:
            return rng.sample(numbers, len(numbers))
        if kind == 1 and server.etags:
            return [*numbers, numbers[-1]]
        if kind == 2:
            return numbers[rng.randrange(len(numbers)) :]
        return numbers

    async def handle(
        server: RowServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while True:
            row = reordered(server, await server.row(reader))
            data = b"".join(map(server.answer, row))
            kind = rng.randrange(12) if row != [0] else -1
            if kind == 0:
                last = server.answer(row[-1], b"Connection: close\r\n")
                writer.write(b"".join(map(server.answer, row[:-1])) + last)
                return
            if kind == 1:
                writer.write(data[: rng.randrange(len(data))])
                return
            while data:
                cut = rng.randrange(1, len(data) + 1)
                writer.write(data[:cut])
                data = data[cut:]
                await asyncio.sleep(0)

    return handle


def version_of(server: RowServer, number: int, **changed: Any) -> Version:
    """What a listing says of a file."""
    tag = Validator(ValidatorKind.STRONG_ETAG, f'"{number}"')
    date = Validator(ValidatorKind.WEAK_DATE, server.times.get(number, DAY % 0))
    size = len(server.files.get(number, b"none"))
    return Version(tag if server.etags else date, size)._replace(**changed)


@asynccontextmanager
async def row_server(
    handle: Handle, **options: Any
) -> AsyncIterator[tuple[RowServer, HttpBackend, str]]:
    """A server, a backend that has asked it once, and its URL."""
    server, backend = RowServer(handle), client(**({"connections": 4} | options))
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    host, port = listening.sockets[0].getsockname()
    url = f"http://{host}:{port}/"
    try:
        await (await backend.open_read(f"{url}0")).receive(lambda start, view: None)
        server.asked.clear()
        server.rows.clear()
        yield server, backend, url
    finally:
        await backend.close()
        listening.close()
        await server.stop()
        await listening.wait_closed()


def lanes_of(backend: HttpBackend) -> Lanes:
    """The lanes to the only origin."""
    (origin,) = backend._small_reads._origins.values()
    return origin.lanes


async def read_all(
    server: RowServer, backend: HttpBackend, url: str, numbers: Sequence[int]
) -> list[str]:
    """Read files at the same time, compare them, and tell which way each took."""

    async def read(number: int) -> str:
        reply = await backend.open_small(f"{url}{number}", version_of(server, number))
        assert await body_of(reply) == server.files[number]
        return way_of(reply)

    return list(await asyncio.gather(*map(read, numbers)))


async def check_all(
    server: RowServer, backend: HttpBackend, url: str, numbers: Sequence[int]
) -> None:
    """Check files at the same time; what is found has to be true."""

    async def check(number: int) -> None:
        tag = Validator(ValidatorKind.STRONG_ETAG, f'"{number}"')
        found = await backend.check_small(f"{url}{number}", unless=tag, want_digest=True)
        if number not in server.changed:
            assert found is None
        else:
            assert found is not None
            assert (found.etag, found.size) == (f'"{number}-again"', 7)

    await asyncio.gather(*map(check, numbers))
