"""Answers that are made to break, flood or delay a client: each ends in one short error.

The server speaks from a plain socket, so that nothing in between puts its bytes in order.
"""

from __future__ import annotations

import asyncio
import os
import zlib
from pathlib import Path

import pytest

import netcache
from netcache._core.extent import Extent
from netcache.errors import NetCacheError, RemoteError, RemoteProtocolError
from tests.support.http_rig import MakeClient
from tests.support.proxy import Seen, always, scripted_server

FLOOD_BYTES_MAX = 64 << 20
"""Far more than sockets and parsers hold; a client that reads on takes it all and fails."""


def head(*fields: str, status: str = "200 OK") -> bytes:
    """A head of these fields."""
    return "\r\n".join([f"HTTP/1.1 {status}", *fields, "", ""]).encode("latin-1")


def ok(*fields: str, body: bytes = b"xxxx") -> bytes:
    """A whole answer; the fields say how long it is."""
    return head('ETag: "a"', *fields) + body


def zeros() -> bytes:
    """64 MiB of zeros, deflated."""
    return zlib.compress(bytes(64 << 20))


BROKEN = {
    "a length beyond 64 bits": ok("Content-Length: 99999999999999999999999999"),
    "a negative length": ok("Content-Length: -1"),
    "two lengths": ok("Content-Length: 4", "Content-Length: 5"),
    "a list of lengths": ok("Content-Length: 4, 5"),
    "a signed length": ok("Content-Length: +4"),
    "a length and chunks": ok("Content-Length: 4", "Transfer-Encoding: chunked"),
    "a chunk of no size": ok("Transfer-Encoding: chunked", body=b"zz\r\nab\r\n"),
    "a chunk beyond 64 bits": ok("Transfer-Encoding: chunked", body=b"f" * 19 + b"\r\nab\r\n"),
    "a negative chunk": ok("Transfer-Encoding: chunked", body=b"-2\r\nab\r\n0\r\n\r\n"),
    "a NUL in a field": ok("X: a\0b", "Content-Length: 4"),
    "a bare CR in a field": ok("X: a\rb", "Content-Length: 4"),
    "an ETag of a megabyte": ok(f'ETag: "{"e" * (1 << 20)}"', "Content-Length: 4"),
    "no HTTP": b"hello world\r\n\r\n",
    "a coded body": ok("Content-Encoding: deflate", "Content-Length: 4"),
    "an unknown coding": ok("Content-Encoding: \x1b[31mred", "Content-Length: 4"),
    "a coding behind another": ok(
        "Content-Encoding: identity", "Content-Encoding: br", "Content-Length: 4"
    ),
    "a coded transfer": ok("Transfer-Encoding: gzip, chunked", body=b"4\r\nxxxx\r\n0\r\n\r\n"),
    "a coded part": head(
        "Content-Range: bytes 0-3/4", "Content-Encoding: gzip", "Content-Length: 4", status="206 P"
    )
    + b"xxxx",
    "a place beyond any file": head(
        f"Content-Range: bytes 0-3/{1 << 63}", 'ETag: "a"', "Content-Length: 4", status="206 P"
    )
    + b"xxxx",
    "a redirect to a file": head("Location: file:///etc/passwd", status="302 F"),
    "a redirect with controls": head("Location: /\x1b[31m", status="302 F"),
    "a redirect to itself": head("Location: ", "Content-Length: 0", status="302 F"),
}  # fmt: skip

FLOODS = {
    "fields": (head()[:-2], b"X-A: " + b"b" * 1000 + b"\r\n"),
    "one field": (head()[:-2] + b"X: ", b"b" * 4096),
    "a status": (b"HTTP/1.1 200 ", b"b" * 4096),
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
    "garbage": (b"", b"\xff\0" * 4096),
    "empty lines": (b"", b"\r\n" * 4096),
    "a chunk's extension": (ok("Transfer-Encoding: chunked", body=b"2;"), b"x" * 4096),
    "trailers": (ok("Transfer-Encoding: chunked", body=b"0\r\n"), b"X-A: " + b"b" * 1000 + b"\r\n"),
}


ENDED_BY_TIME = ("empty lines", "a chunk's extension")
"""Parsers drop these without a word; what ends them is that no head, or no byte, comes."""


def judge(error: NetCacheError) -> None:
    """One short line that can be printed."""
    message = str(error)
    assert message.isprintable()
    assert len(message) < 400
    assert error.exit_code in (3, 5)


async def fail_at_everything(make_client: MakeClient, url: str) -> None:
    """Reading and listing end in an error each, and the next client is not disturbed."""
    backend = make_client(timeout_s=0.5, retry=make_client().retry._replace(attempts=1))

    async def read(extent: Extent | None) -> None:
        reply = await backend.open_read(url, extent)
        try:
            await reply.receive(lambda _, view: None)
        finally:
            await reply.close()

    for attempt in (lambda: read(None), lambda: read(Extent(0, 4)), lambda: backend.list(url)):
        with pytest.raises(RemoteError) as caught:
            await attempt()
        judge(caught.value)


@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_answer_is_one_short_error(make_client: MakeClient, name: str) -> None:
    """What cannot be taken at its word is refused, never guessed at."""

    async def script(
        seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(BROKEN[name])
        writer.close()

    async with scripted_server(script) as server:
        await fail_at_everything(make_client, server.url)


@pytest.mark.parametrize("name", FLOODS)
async def test_a_flood_is_not_drunk(make_client: MakeClient, name: str) -> None:
    """A head or a frame without end is cut off: the server cannot even send what it has."""
    begin, again = FLOODS[name]
    sent = 0

    async def script(
        seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        nonlocal sent
        sent = 0
        writer.write(begin)
        while not writer.is_closing():
            writer.write(again)
            sent += len(again)
            await writer.drain()
            # A moment for the client, which shares the loop.
            await asyncio.sleep(0)

    async with scripted_server(script) as server:
        await fail_at_everything(make_client, server.url)
        assert sent < FLOOD_BYTES_MAX or name in ENDED_BY_TIME


async def test_a_page_of_zeros_is_not_inflated(make_client: MakeClient) -> None:
    """Codings are refused before a byte is decoded: the answer's own bytes are not even read."""
    bomb = zeros()
    response = head("Content-Encoding: deflate", f"Content-Length: {len(bomb)}") + bomb
    async with scripted_server(always(response)) as server:
        with pytest.raises(RemoteProtocolError, match="the server encodes it"):
            await make_client().list(server.url)


async def test_the_interim_answers_that_are_allowed_are_passed_over(
    make_client: MakeClient,
) -> None:
    """A few are nothing unusual (RFC 9110 15.2)."""
    response = b"HTTP/1.1 102 Processing\r\n\r\n" * 20 + ok("Content-Length: 4")
    async with scripted_server(always(response)) as server:
        info = await make_client().open_read(server.url + "x")
        await info.close()
        assert info.version is not None


@pytest.mark.parametrize("size", [(1 << 62) - 1, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
async def test_sizes_at_the_edge_of_what_files_can_be(tmp_path: Path, size: int) -> None:
    """No arithmetic breaks: reading ends with what came, and an error that says so."""
    response = ok(f"Content-Length: {size}")

    async def script(
        seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(response)
        writer.close()

    async with (
        scripted_server(script) as server,
        netcache.AsyncClient(cache_dir=tmp_path / "cache", retries=0, timeout=2.0) as client,
    ):
        file = await client.open(server.url + "f", "rb")
        async with file:
            with pytest.raises(NetCacheError) as caught:
                await file.pread(4096, 0)
            judge(caught.value)
        with pytest.raises(NetCacheError) as caught:
            await client.get(server.url + "f", tmp_path / "target")
        judge(caught.value)
    assert await asyncio.to_thread(os.listdir, tmp_path) == ["cache"]


@pytest.mark.parametrize(
    "field",
    [
        'ETag: "' + "e" * 8000 + '"',
        'ETag: "a\x9b31m\xff"',
        'ETag: "a\x1b[31m"',
        'ETag: "a\r\n b"',
        'ETag: W/"' + "e" * 5000 + '"',
        "Last-Modified: Sat, 21 Nov 2020 10:00:00 GMT" + "x" * 5000,
        "Last-Modified: Sat, 21 Nov 99999999999999999999 10:00:00 GMT",
        "Last-Modified: Sat, 21 Nov 0001 10:00:00 GMT",
        "Last-Modified: \x1b[31m",
        "Content-Type: " + "x" * 8000,
        "Retry-After: 9999999999999999999",
        "Accept-Ranges: \x1b",
        "Set-Cookie: a=b",
    ],
)
async def test_odd_fields_do_no_harm(tmp_path: Path, field: str) -> None:
    """The bytes come all the same, twice; nothing odd is sent back but an ETag as it came."""
    fields = head("Content-Length: 4", "Date: Sat, 21 Nov 2026 10:00:00 GMT", field)

    async def script(
        seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(fields if seen.method == "HEAD" else fields + b"data")

    async with (
        scripted_server(script) as server,
        netcache.AsyncClient(cache_dir=tmp_path / "cache", retries=0, timeout=5.0) as client,
    ):
        for _ in range(2):
            file = await client.open(server.url + "f", "rb")
            async with file:
                assert await file.read() == b"data"
        for seen in server.seen:
            assert "cookie" not in seen.headers
            told = [value for name, value in seen.headers.items() if name.startswith("if-")]
            assert all(f"ETag: {value}" == field for value in told), told
