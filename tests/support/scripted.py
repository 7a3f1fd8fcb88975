"""A server that says exactly what a test wants, and a backend that has asked it once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

from netcache.backends.http import HttpBackend
from netcache.spi import ReadReply
from tests.support.http_rig import client

BODY = b"some bytes"
PLAIN = b'HTTP/1.1 200 OK\r\nETag: "1"\r\nContent-Length: 10\r\n\r\n' + BODY

Answer = Callable[["Scripted", asyncio.StreamWriter], Awaitable[None]]


class Scripted:
    """A server that answers each request as ``answer`` says; the first of all, plainly."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[bytes] = []
        self.connections = 0
        # How many requests were being answered at the same time, at most.
        self.at_once = 0
        self._answering = 0
        self.answer: Answer = plainly
        # Held by a connection of a server that serves one at a time.
        self.turn: asyncio.Lock | None = None
        self._serving: set[asyncio.Task[Any]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        async with self.turn or contextlib.nullcontext():
            await self._serve(reader, writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._serving.add(task)
        with contextlib.suppress(
            asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError
        ):
            while not writer.is_closing():
                self.requests.append(await reader.readuntil(b"\r\n\r\n"))
                self._answering += 1
                self.at_once = max(self.at_once, self._answering)
                try:
                    await asyncio.sleep(0)
                    await self.answer(self, writer)
                finally:
                    self._answering -= 1
                await writer.drain()
        writer.transport.abort()
        self._serving.discard(task)

    async def stop(self) -> None:
        """End all connections."""
        for task in (tasks := list(self._serving)):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def sending(data: bytes, *, only: int | None = None, close: bool = False) -> Answer:
    """Send this; to the requests up to number ``only``, plainly afterwards."""

    async def answer(server: Scripted, writer: asyncio.StreamWriter) -> None:
        special = only is None or len(server.requests) <= only
        writer.write(data if special else PLAIN)
        if special and close:
            writer.close()

    return answer


plainly = sending(PLAIN)


async def body_of(reply: ReadReply) -> bytes:
    """All that a reply bears."""
    data = bytearray()
    await reply.receive(lambda _, view: data.extend(view))
    await reply.close()
    return bytes(data)


def way_of(reply: ReadReply) -> str:
    """Which way a body took."""
    return str(cast(Any, reply).path)


@asynccontextmanager
async def scripted(**options: Any) -> AsyncIterator[tuple[Scripted, HttpBackend]]:
    """A server, and a backend that has asked it once."""
    server, backend = Scripted(), client(**options)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    host, port = listening.sockets[0].getsockname()
    server.url = f"http://{host}:{port}/file"
    try:
        await (await backend.open_read(server.url)).receive(lambda start, view: None)
        server.requests.clear()
        yield server, backend
    finally:
        await backend.close()
        listening.close()
        await server.stop()
        await listening.wait_closed()
