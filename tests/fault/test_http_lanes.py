"""Lanes: small reads on kept connections, and all that may come instead of a plain answer."""

from __future__ import annotations

import asyncio

import pytest

from netcache.backends.http import HttpBackend
from netcache.backends.http_lanes import VAIN_MAX
from netcache.errors import (
    AccessDeniedError,
    NotFoundError,
    RemoteError,
    RemoteTimeoutError,
    TransientError,
)
from tests.support.http_rig import Rig
from tests.support.scripted import (
    BODY,
    PLAIN,
    Scripted,
    body_of,
    plainly,
    scripted,
    sending,
    way_of,
)


async def read(backend: HttpBackend, url: str) -> tuple[bytes, str]:
    """A small read: the body, and which way it took."""
    reply = await backend.open_small(url)
    return await body_of(reply), way_of(reply)


async def test_small_reads_share_the_connection_that_aiohttp_made() -> None:
    """And say what aiohttp's requests say."""
    async with scripted(headers={"X-Own": "1", "accept": "text/plain"}, token="t") as (
        server,
        backend,
    ):
        asked: list[list[str]] = []
        for _ in range(3):
            assert await read(backend, server.url) == (BODY, "lane")
        await body_of(await backend.open_read(server.url))
        for request in server.requests:
            lines = request.decode().strip().split("\r\n")
            asked.append([lines[0], *sorted(line.lower() for line in lines[1:])])
        assert asked == [asked[-1]] * 4
        assert server.connections == 2, "the lane keeps one for the moment"


async def test_as_many_lanes_as_ask_at_once_up_to_a_quarter_of_the_connections() -> None:
    """The others wait for them, one behind the other."""
    async with scripted(connections=8) as (server, backend):
        for _ in range(2):
            found = await asyncio.gather(*(read(backend, server.url) for _ in range(8)))
            assert found == [(BODY, "lane")] * 8
            assert server.connections <= 1 + 2
        assert server.at_once == 2


async def test_a_lane_that_nobody_uses_goes_back_to_the_pool() -> None:
    """At the second look after its last use; aiohttp goes on with its connection."""
    async with scripted() as (server, backend):
        await read(backend, server.url)
        lanes = next(iter(backend._small_reads._origins.values())).lanes
        (lane,) = lanes.free
        lane._look()
        assert lanes.free == [lane]
        lane._look()
        assert not lanes.free
        await body_of(await backend.open_read(server.url))
        assert server.connections == 1


@pytest.mark.parametrize(
    "data",
    [
        b'HTTP/1.1 200 OK\r\nETag: "1"\r\nTransfer-Encoding: chunked\r\n\r\na\r\n'
        + BODY
        + b"\r\n0\r\n\r\n",
        b"HTTP/1.1 102 Busy\r\n\r\n" + PLAIN,
        PLAIN.replace(b"\r\nETag", b"\r\n ETag").replace(b"200 OK", b"200 OK\r\nX: y"),
    ],
)
async def test_what_is_unusual_is_asked_again_and_the_lanes_are_given_up(data: bytes) -> None:
    """Once: afterwards nothing is asked for twice."""
    async with scripted() as (server, backend):
        server.answer = sending(data)
        assert await read(backend, server.url) == (BODY, "stream")
        assert len(server.requests) == 2
        assert await read(backend, server.url) == (BODY, "stream")
        assert len(server.requests) == 3


async def test_a_larger_file_than_expected_comes_the_ordinary_way() -> None:
    """It may have grown since it was listed."""
    large = bytes(70_000)
    async with scripted() as (server, backend):
        server.answer = sending(
            b'HTTP/1.1 200 OK\r\nETag: "1"\r\nContent-Length: 70000\r\n\r\n' + large
        )
        assert (await read(backend, server.url))[0] == large


async def test_more_than_was_said_is_not_believed() -> None:
    """aiohttp is to judge; here it finds an answer that nobody asked for."""
    async with scripted() as (server, backend):
        server.answer = sending(PLAIN + b"more", only=1)
        assert await read(backend, server.url) == (BODY, "stream")
        assert len(server.requests) == 2


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200", PLAIN[:-1]])
async def test_a_connection_that_ends_before_the_answer_costs_another_request(sent: bytes) -> None:
    """Not an attempt, and not the lanes."""
    async with scripted() as (server, backend):
        server.answer = sending(sent, only=1, close=True)
        assert await read(backend, server.url) == (BODY, "stream")
        assert len(server.requests) == 2
        assert await read(backend, server.url) == (BODY, "lane")


async def test_an_origin_that_never_answers_on_lanes_gets_no_more_of_them() -> None:
    """After a few."""
    async with scripted() as (server, backend):

        async def odd_ones(server: Scripted, writer: asyncio.StreamWriter) -> None:
            await sending(*((b"",) if len(server.requests) % 2 else (PLAIN,)), close=True)(
                server, writer
            )

        server.answer = odd_ones
        for _ in range(VAIN_MAX):
            assert await read(backend, server.url) == (BODY, "stream")
        server.requests.clear()
        server.answer = plainly
        assert await read(backend, server.url) == (BODY, "stream")
        assert len(server.requests) == 1


async def test_a_server_that_closes_after_its_answer_is_asked_on_another_connection() -> None:
    """Nothing is asked for twice."""
    async with scripted() as (server, backend):
        server.answer = sending(
            PLAIN.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), close=True
        )
        for _ in range(3):
            assert await read(backend, server.url) == (BODY, "lane")
        assert len(server.requests) == 3
        assert server.connections >= 3


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200", PLAIN[:-1]])
async def test_silence_is_an_error_in_time(sent: bytes) -> None:
    """It is tried again as often as any other."""
    async with scripted(timeout_s=0.05) as (server, backend):
        server.answer = sending(sent)
        with pytest.raises(RemoteTimeoutError, match=r"no answer within 0\.05 s"):
            await read(backend, server.url)
        assert len(server.requests) == 3


async def test_a_head_that_comes_byte_by_byte_is_silence() -> None:
    """Only in a body each piece counts."""
    async with scripted(timeout_s=0.1) as (server, backend):

        async def trickle(server: Scripted, writer: asyncio.StreamWriter) -> None:
            for number in range(len(PLAIN) - len(BODY) - 4):
                writer.write(PLAIN[number : number + 1])
                await asyncio.sleep(0.005)
            await asyncio.sleep(60)

        server.answer = trickle
        with pytest.raises(RemoteTimeoutError):
            await read(backend, server.url)


@pytest.mark.parametrize(
    ("status", "kind", "requests"),
    [
        (404, NotFoundError, 1),
        (403, AccessDeniedError, 1),
        (400, RemoteError, 1),
        (503, TransientError, 3),
    ],
)
async def test_refusals_are_the_same_as_of_other_reads(
    status: int, kind: type[Exception], requests: int
) -> None:
    """With as many attempts."""
    async with scripted() as (server, backend):
        server.answer = sending(b"HTTP/1.1 %d No\r\nContent-Length: 4\r\n\r\nbody" % status)
        said = []
        for ask in (backend.open_small, backend.open_read):
            server.requests.clear()
            with pytest.raises(kind) as caught:
                await ask(server.url)
            assert len(server.requests) == requests
            said.append(str(caught.value))
        assert said[0] == said[1]


async def test_a_read_that_is_cancelled_leaves_nothing_to_the_next() -> None:
    """Its answer is nobody's."""
    async with scripted() as (server, backend):
        asked, go = asyncio.Event(), asyncio.Event()

        async def late(server: Scripted, writer: asyncio.StreamWriter) -> None:
            asked.set()
            await go.wait()
            writer.write(PLAIN.replace(BODY, b"other data"))

        server.answer = late
        task = asyncio.ensure_future(read(backend, server.url))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        server.answer = plainly
        go.set()
        for _ in range(5):
            assert (await read(backend, server.url))[0] == BODY


async def test_redirects_are_followed_as_ever(rig: Rig) -> None:
    """The origin gets no lanes any more."""
    backend = rig.client()
    rig.plant("small", BODY)
    await body_of(await backend.open_read(rig.server.url + "small"))
    assert await read(backend, rig.server.url + "small") == (BODY, "lane")
    rig.faults(path="/moved", redirect="small")
    assert await read(backend, rig.server.url + "moved") == (BODY, "stream")


async def test_where_lanes_cannot_be_reads_are_ordinary(rig: Rig) -> None:
    """An origin that was never asked, a limit of bandwidth, or too few connections."""
    rig.plant("small", BODY)
    url = rig.server.url + "small"
    for options in ({}, {"bandwidth_limit": 1 << 30}, {"connections": 1}, {"takeover": False}):
        backend = rig.client(**options)
        assert await read(backend, url) == (BODY, "stream")
        assert await read(backend, url) == (BODY, "lane" if not options else "stream")


async def test_closing_the_backend_ends_the_lanes(rig: Rig) -> None:
    """Nothing is left open."""
    rig.plant("small", BODY)
    backend = rig.client()
    for _ in range(2):
        await read(backend, rig.server.url + "small")
    (origin,) = backend._small_reads._origins.values()
    assert len(origin.lanes._lanes) == 1
    await backend.close()
    assert not origin.lanes._lanes


async def test_a_host_that_the_caller_names_leads_no_request_astray() -> None:
    """Every request names one of two servers: each is still asked for what is its own."""
    async with scripted() as (named, _):
        host = named.url.split("/")[2]
        async with scripted(headers={"Host": host}) as (other, backend):
            other.answer = sending(PLAIN.replace(BODY, b"other text"))
            await (await backend.open_read(named.url)).receive(lambda start, view: None)
            await (await backend.open_read(other.url)).receive(lambda start, view: None)
            named.requests.clear()
            assert (await read(backend, named.url))[0] == BODY
            assert (await read(backend, other.url))[0] == b"other text"
            assert len(named.requests) == 1
