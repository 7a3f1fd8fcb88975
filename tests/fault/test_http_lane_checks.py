"""Checks of small files on lanes: they find what ``stat`` finds, whatever the server answers."""

from __future__ import annotations

import asyncio

import pytest

from netcache._core.coherency import Validator, ValidatorKind
from netcache._core.urls import parse
from netcache.backends.http import HttpBackend
from netcache.errors import (
    AccessDeniedError,
    NotFoundError,
    RemoteProtocolError,
    RemoteTimeoutError,
    TransientError,
)
from netcache.spi import ResourceInfo
from tests.support.http_rig import Rig
from tests.support.scripted import BODY, PLAIN, Scripted, scripted, sending

CURRENT = b'HTTP/1.1 304 Not Modified\r\nETag: "1"\r\n\r\n'
ANOTHER = b'HTTP/1.1 200 OK\r\nETag: "2"\r\nContent-Length: 123456789\r\n\r\n'
TAG = Validator(ValidatorKind.STRONG_ETAG, '"1"')
DATE = Validator(ValidatorKind.STRONG_DATE, "Mon, 01 Jan 2024 00:00:00 GMT")


async def check(
    backend: HttpBackend, url: str, unless: Validator = TAG, *, want_digest: bool = True
) -> ResourceInfo | None:
    """One check."""
    return await backend.check_small(url, unless=unless, want_digest=want_digest)


async def test_a_check_says_what_a_stat_says() -> None:
    """The same fields, one of them once; on the connection that is there."""
    async with scripted(headers={"X-Own": "1"}, token="t") as (server, backend):
        server.answer = sending(CURRENT)
        assert await check(backend, server.url) is None
        assert await backend.stat(server.url, unless=TAG, want_digest=True) is None
        asked = [request.decode().strip().split("\r\n") for request in server.requests]
        one, other = ([lines[0], *sorted(line.lower() for line in lines[1:])] for lines in asked)
        assert one == other
        assert one[0] == "HEAD /file HTTP/1.1"
        assert 'if-none-match: "1"' in one
        assert server.connections == 2, "the lane keeps one for the moment"


@pytest.mark.parametrize(
    "answer",
    [
        CURRENT,
        CURRENT.replace(b"\r\n\r\n", b"\r\nContent-Length: 10\r\n\r\n"),
        ANOTHER,
        ANOTHER.replace(b'"2"', b'"1"'),
        ANOTHER.replace(b'"2"', b'W/"2"'),
        ANOTHER.replace(b'ETag: "2"', b"Repr-Digest: sha-256=:AAAA:"),
    ],
)
@pytest.mark.parametrize("unless", [TAG, DATE])
async def test_what_is_found_is_what_stat_finds(answer: bytes, unless: Validator) -> None:
    """With one request each."""
    async with scripted() as (server, backend):
        server.answer = sending(answer)
        one = await check(backend, server.url, unless)
        other = await backend.stat(server.url, unless=unless, want_digest=True)
        assert one == other
        assert len(server.requests) == 2


async def test_checks_and_reads_share_lanes() -> None:
    """In any order."""
    async with scripted() as (server, backend):

        async def fitting(server: Scripted, writer: asyncio.StreamWriter) -> None:
            writer.write(CURRENT if server.requests[-1].startswith(b"HEAD") else PLAIN)

        server.answer = fitting
        for _ in range(3):
            assert await check(backend, server.url) is None
            reply = await backend.open_small(server.url)
            assert await reply.receive(lambda start, view: None) == len(BODY)
            await reply.close()
        assert server.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 405 No\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 501 No\r\nContent-Length: 4\r\n\r\n",
        b'HTTP/1.1 200 OK\r\nETag: "2"\r\n\r\n',
    ],
)
async def test_a_server_that_takes_no_head_is_asked_for_a_byte(answer: bytes) -> None:
    """By the next check at once, without a lane."""
    part = (
        b'HTTP/1.1 206 Partial\r\nETag: "2"\r\nContent-Range: bytes 0-0/10\r\n'
        b"Content-Length: 1\r\n\r\ns"
    )
    async with scripted() as (server, backend):

        async def fitting(server: Scripted, writer: asyncio.StreamWriter) -> None:
            writer.write(answer if server.requests[-1].startswith(b"HEAD") else part)

        server.answer = fitting
        for requests in (3, 2):
            server.requests.clear()
            found = await check(backend, server.url)
            assert found is not None
            assert (found.etag, found.size) == ('"2"', 10)
            assert len(server.requests) == requests


@pytest.mark.parametrize(
    ("status", "kind", "requests"),
    [(404, NotFoundError, 1), (410, NotFoundError, 1), (401, AccessDeniedError, 1)],
)
async def test_refusals_are_those_of_stat(
    status: int, kind: type[Exception], requests: int
) -> None:
    """In the same words."""
    async with scripted() as (server, backend):
        server.answer = sending(b"HTTP/1.1 %d No\r\nContent-Length: 4\r\n\r\n" % status)
        said = []
        for ask in (backend.check_small, backend.stat):
            server.requests.clear()
            with pytest.raises(kind) as caught:
                await ask(server.url, unless=TAG, want_digest=True)
            assert len(server.requests) == requests
            said.append(str(caught.value))
        assert said[0] == said[1]


async def test_a_server_that_is_busy_is_asked_again() -> None:
    """As often as ever."""
    async with scripted() as (server, backend):
        server.answer = sending(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
        with pytest.raises(TransientError):
            await check(backend, server.url)
        assert len(server.requests) == 3


async def test_silence_is_an_error_in_time() -> None:
    """On a lane too."""
    async with scripted(timeout_s=0.05) as (server, backend):
        server.answer = sending(b"")
        with pytest.raises(RemoteTimeoutError):
            await check(backend, server.url)


async def test_an_encoded_answer_is_refused() -> None:
    """Its length would be another."""
    async with scripted() as (server, backend):
        server.answer = sending(ANOTHER.replace(b"ETag", b"Content-Encoding: gzip\r\nETag"))
        with pytest.raises(RemoteProtocolError):
            await check(backend, server.url)


async def test_a_body_behind_the_answer_ends_the_lanes() -> None:
    """It is no answer to anything; aiohttp asks again."""
    async with scripted() as (server, backend):

        async def odd_once(server: Scripted, writer: asyncio.StreamWriter) -> None:
            writer.write(ANOTHER if len(server.requests) > 1 else CURRENT + PLAIN)

        server.answer = odd_once
        found = await check(backend, server.url)
        assert found is not None
        assert found.etag == '"2"'
        assert len(server.requests) == 2
        (origin,) = backend._small_reads._origins.values()
        assert origin.lanes.closed


@pytest.mark.parametrize("value", ['"a"\r\nX-Evil: 1', '"\xe9"', '"a"\n', '"tab\t"', "", ' "a"'])
async def test_a_tag_that_is_not_plain_goes_by_no_lane(value: str) -> None:
    """What is cached may have been written by anybody."""
    async with scripted() as (server, backend):
        answer = await backend._small_reads.ask_head(
            parse(server.url), {"If-None-Match": value}, TAG
        )
        assert answer is None
        assert server.requests == []


async def test_fields_of_the_caller_are_not_said_twice() -> None:
    """His way is aiohttp's."""
    async with scripted(headers={"if-none-match": '"own"'}) as (server, backend):
        server.answer = sending(CURRENT)
        await check(backend, server.url)
        assert server.requests[0].lower().count(b"if-none-match") == 1
        (origin,) = backend._small_reads._origins.values()
        assert not origin.lanes._lanes


async def test_where_lanes_cannot_be_checks_are_ordinary(rig: Rig) -> None:
    """An origin that was never asked, a limit of bandwidth, or too few connections."""
    rig.plant("small", BODY)
    url = rig.server.url + "small"
    for options in ({}, {"bandwidth_limit": 1 << 30}, {"connections": 1}, {"takeover": False}):
        backend = rig.client(**options)
        for _ in range(2):
            found = await check(backend, url)
            assert found is not None
            assert found.version is not None
            assert await check(backend, url, found.version.validator) is None
            assert found.digest_sha256 is not None
