"""A small HTTP proxy (forwarding and CONNECT), and a server that answers what a test scripts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Seen:
    """The head of a request as it came."""

    method: str
    target: str
    headers: dict[str, str]
    connection: int


async def read_head(reader: asyncio.StreamReader, connection: int) -> Seen | None:
    """The next request's head, with field names in lower case; None when there is none."""
    try:
        text = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    first, *lines = text.split("\r\n")[:-2]
    method, target, _ = first.split(" ", 2)
    pairs = (line.partition(":") for line in lines)
    return Seen(method, target, {n.lower(): v.strip() for n, _, v in pairs}, connection)


Script = Callable[[Seen, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""Answers one request; the connection stays open until it closes the writer."""


@dataclass
class Scripted:
    """A running server: its port, and what it has seen."""

    port: int
    seen: list[Seen] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Its root."""
        return f"http://127.0.0.1:{self.port}/"


@asynccontextmanager
async def scripted_server(script: Script, port: int = 0) -> AsyncIterator[Scripted]:
    """Run a server on loopback that answers every request by ``script``."""
    running = Scripted(0)
    tasks: set[asyncio.Task[None]] = set()
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        number = connections
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            while not writer.is_closing():
                head = await read_head(reader, number)
                if head is None:
                    return
                running.seen.append(head)
                await script(head, reader, writer)
                with suppress(ConnectionError):
                    await writer.drain()
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    running.port = server.sockets[0].getsockname()[1]
    try:
        yield running
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


def answer(status: int, body: bytes = b"", **headers: str) -> bytes:
    """A whole response; underscores in names mean hyphens."""
    fields = {"Content-Length": str(len(body))}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def always(response: bytes) -> Script:
    """Gives the same response to every request, whose body it takes first."""

    async def script(
        seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.readexactly(int(seen.headers.get("content-length", "0")))
        writer.write(response)

    return script


def running_proxy(authorization: str | None = None) -> AbstractAsyncContextManager[Scripted]:
    """A proxy; with ``authorization`` it asks for that."""

    async def script(
        seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if authorization is not None and seen.headers.get("proxy-authorization") != authorization:
            writer.write(answer(407, Proxy_Authenticate='Basic realm="x"', Connection="close"))
            writer.close()
        elif seen.method == "CONNECT":
            host, _, port = seen.target.rpartition(":")
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await _join(reader, writer, host, int(port), b"")
        else:
            parts = urlsplit(seen.target)
            path = parts.path + (f"?{parts.query}" if parts.query else "")
            lines = [f"{seen.method} {path} HTTP/1.1", "Connection: close"]
            lines += [f"{n}: {v}" for n, v in seen.headers.items() if not n.startswith("proxy-")]
            head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
            await _join(reader, writer, parts.hostname or "", parts.port or 80, head)

    return scripted_server(script)


@dataclass
class Relay:
    """A running relay: its port, and how many connections came."""

    port: int
    connections: int = 0


@asynccontextmanager
async def running_relay(port: int) -> AsyncIterator[Relay]:
    """Pass every connection on to ``port`` on loopback, and count them."""
    relay = Relay(0)
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        relay.connections += 1
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with suppress(asyncio.CancelledError, ConnectionError):
            await _join(reader, writer, "127.0.0.1", port, b"")
        tasks.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    relay.port = server.sockets[0].getsockname()[1]
    try:
        yield relay
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


async def _join(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    host: str,
    port: int,
    first: bytes,
) -> None:
    """Pass bytes both ways until both sides have ended."""
    far_reader, far_writer = await asyncio.open_connection(host, port)
    far_writer.write(first)
    passing = [
        asyncio.ensure_future(_pass(reader, far_writer)),
        asyncio.ensure_future(_pass(far_reader, writer)),
    ]
    try:
        await asyncio.wait(passing, return_when=asyncio.FIRST_COMPLETED)
        if passing[1].done():
            writer.close()
        await asyncio.wait(passing, timeout=1)
    finally:
        for task in passing:
            task.cancel()
        await asyncio.gather(*passing, return_exceptions=True)
        far_writer.close()
        writer.close()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
