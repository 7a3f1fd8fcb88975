"""The question on the caller's own thread: only a plain "unchanged" counts, in time."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from netcache._core.coherency import Validator, ValidatorKind
from netcache._core.urls import parse
from netcache.backends import http_here
from netcache.backends.http_access import Access
from netcache.backends.http_here import says_unchanged
from netcache.backends.http_options import HttpOptions
from tests.support.scripted import Answer, Scripted, plainly, scripted, sending

TAG = Validator(ValidatorKind.STRONG_ETAG, '"1"')
DATE = Validator(ValidatorKind.STRONG_DATE, "Sun, 06 Nov 1994 08:49:37 GMT")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n"
LATER = b"Date: Sun, 06 Nov 1994 09:49:37 GMT\r\n"


def ask(url: str, validator: Validator = TAG, access: Access | None = None, **options: Any) -> bool:
    """The answer, as the caller gets it."""
    wanted = HttpOptions(**{"timeout_s": 5.0, **options})
    return says_unchanged(wanted, access or Access.of(wanted), parse(url), validator)


async def answered(answer: Answer, validator: Validator = TAG, **options: Any) -> bool:
    """The answer when the server says this."""
    async with scripted() as (server, _):
        server.answer = answer
        return await asyncio.to_thread(ask, server.url, validator, **options)


@pytest.mark.parametrize(
    ("head", "validator"),
    [
        (b"HTTP/1.1 304 Not Modified\r\n\r\n", TAG),
        (b'HTTP/1.1 304 Not Modified\r\nETag: "1"\r\nContent-Length: 10\r\n\r\n', TAG),
        (OK + b'ETag: "1"\r\n\r\n', TAG),
        (OK + LATER + b"Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n", DATE),
    ],
)
async def test_unchanged(head: bytes, validator: Validator) -> None:
    """By its status, or by the validator that it has."""
    assert await answered(sending(head), validator)


@pytest.mark.parametrize(
    "head",
    [
        OK + b'ETag: "2"\r\n\r\n',
        OK + b'ETag: W/"1"\r\n\r\n',
        OK + b"\r\n",
        OK + b'ETag: "1"\r\nContent-Encoding: gzip\r\n\r\n',
        OK + b'ETag: "1"\r\nTransfer-Encoding: chunked\r\n\r\n',
        b'HTTP/1.0 200 OK\r\nContent-Length: 10\r\nETag: "1"\r\n\r\n',
        b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 304 Not Modified\r\n\r\n",
        b"HTTP/1.1 301 Moved\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 401 No\r\nWWW-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nX: " + b"x" * (64 << 10) + b"\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\0" * 100,
        b"",
    ],
    ids=lambda head: head[:60].decode("latin-1").replace("\0", "0") or "nothing",
)
async def test_anything_else_is_no_answer(head: bytes) -> None:
    """Whoever says it, and then closes."""
    assert not await answered(sending(head, close=True))


async def test_a_head_in_pieces() -> None:
    """Taken together."""
    head = b'HTTP/1.1 304 Not Modified\r\nETag: "1"\r\n\r\n'

    async def answer(server: Scripted, writer: asyncio.StreamWriter) -> None:
        for byte in head:
            writer.write(bytes([byte]))
            await writer.drain()

    assert await answered(answer)


@pytest.mark.parametrize("beginning", [b"", b"HTTP/1.1 304 Not"])
async def test_silence_is_no_answer(beginning: bytes) -> None:
    """It is waited for no longer than may be."""
    assert not await answered(sending(beginning), timeout_s=0.1)


async def test_who_goes_on_sending_a_head_is_not_heard_to_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All waits together are bounded."""
    monkeypatch.setattr(http_here, "WAIT_MAX_S", 0.2)

    async def answer(server: Scripted, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 304 Not Modified\r\n")
        while not writer.is_closing():
            writer.write(b"X: y\r\n")
            await writer.drain()
            await asyncio.sleep(0.01)

    assert not await answered(answer)


def test_nobody_there() -> None:
    """Neither a server nor a host."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        assert not ask(f"http://127.0.0.1:{nobody.getsockname()[1]}/file")
    assert not ask("http://nobody.invalid/file")


async def test_what_is_asked() -> None:
    """As any other question: the fields that all have, the condition, and the credentials."""
    async with scripted() as (server, _):
        access = Access.of(HttpOptions(headers={"X-Own": "1", "user-agent": "me"}))
        access.add(parse(server.url).origin, "ann", "secret")
        await asyncio.to_thread(ask, server.url, TAG, access)
        (request,) = server.requests
    lines = request.decode().split("\r\n")
    assert lines[0] == "HEAD /file HTTP/1.1"
    assert {"X-Own: 1", "user-agent: me", 'If-None-Match: "1"', "Accept-Encoding: identity"} <= {
        *lines
    }
    assert "Authorization: Basic YW5uOnNlY3JldA==" in lines
    assert not any(line.startswith("User-Agent") for line in lines)


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("https://{place}/file", {}),
        ("http://{place}/file", {"headers": {"X-Own": "gr\u00fcn"}}),
        ("http://{place}/file", {"ca_cert": "/no/such/file"}),
    ],
)
async def test_what_is_left_to_the_ordinary_way(url: str, options: dict[str, Any]) -> None:
    """Nothing is asked at all."""
    async with scripted() as (server, _):
        place = server.url.split("/")[2]
        server.connections, server.answer = 0, plainly
        assert not await asyncio.to_thread(ask, url.format(place=place), TAG, **options)
        assert not server.connections


async def test_nor_by_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is connected to directly who is to be reached by one."""
    async with scripted() as (server, _):
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:1/")
        server.connections = 0
        assert not await asyncio.to_thread(ask, server.url)
        assert not server.connections
