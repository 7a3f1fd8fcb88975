"""The first reads: links of our own, as long as nothing is odd; then aiohttp, which asks again."""

from __future__ import annotations

import asyncio
import gc
import socket
from pathlib import Path

import pytest

from netcache._core.extent import Extent
from netcache.backends.http import HttpBackend
from netcache.backends.http_first import REQUESTS_MAX
from netcache.backends.http_link import HELD_BYTES_MAX, Link
from netcache.backends.http_query import place_of
from netcache.backends.http_reply import HttpReadReply
from netcache.errors import (
    ClosedError,
    NotFoundError,
    RemoteProtocolError,
    RemoteTimeoutError,
    StaleError,
    TransientError,
)
from tests.conformance.peers import Collector
from tests.fault.test_http_faults import ONCE
from tests.support.http_rig import DATA, MIB, Rig, client
from tests.support.proxy import running_relay
from tests.support.scripted import BODY, PLAIN, Scripted, plainly, scripted, sending

MANY = 1000


def asked_aiohttp(backend: HttpBackend) -> bool:
    """Whether the backend has made a session of aiohttp's."""
    return backend._session._client is not None


async def read(backend: HttpBackend, url: str, extent: Extent | None = None) -> tuple[bytes, str]:
    """The bytes, and the way that they took."""
    reply = await backend.open_read(url, extent)
    assert isinstance(reply, HttpReadReply)
    collector = Collector()
    await reply.receive(collector)
    return bytes(collector.data), reply.path


@pytest.mark.parametrize(
    ("authority", "place"),
    [
        ("some.host", ("some.host", 80)),
        ("some.host:8080", ("some.host", 8080)),
        ("127.0.0.1:1", ("127.0.0.1", 1)),
        ("[::1]", ("::1", 80)),
        ("[::1]:8080", ("::1", 8080)),
    ],
)
def test_where_an_authority_is(authority: str, place: tuple[str, int]) -> None:
    """Its host and its port."""
    assert place_of(authority) == place


async def test_reads_and_stats_go_without_aiohttp(rig: Rig) -> None:
    """One request each, and the bytes are those of the resource; large bodies by our receiver."""
    backend = rig.client(first_requests=MANY)
    assert await read(backend, rig.url) == (DATA, "receiver")
    assert await read(backend, rig.url, Extent(5, MIB)) == (DATA[5:MIB], "receiver")
    assert await read(backend, rig.url, Extent(7, 9)) == (DATA[7:9], "stream")
    info = await backend.stat(rig.url)
    assert info is not None
    assert info.size == len(DATA)
    assert info.version is not None
    same = await backend.open_read(rig.url, unless=info.version.validator)
    assert same.not_modified
    assert len(rig.log()) == 5
    assert not asked_aiohttp(backend)


async def test_a_link_is_used_again_after_exactly_its_body(rig: Rig) -> None:
    """Whatever the answer was."""
    async with running_relay(rig.server.port) as relay:
        backend, url = rig.client(first_requests=MANY), f"http://127.0.0.1:{relay.port}/a.bin"
        for _ in range(3):
            assert (await read(backend, url))[0] == DATA
            assert (await read(backend, url, Extent(7, 9)))[0] == DATA[7:9]
            assert await backend.stat(url) is not None
            with pytest.raises(NotFoundError):
                await backend.open_read(url + "-none")
            nothing = await backend.open_read(url, Extent(len(DATA), len(DATA) + 1))
            await nothing.close()
        assert relay.connections == 1
        left = await backend.open_read(url)
        await left.close()
        assert (await read(backend, url))[0] == DATA
        assert relay.connections == 2
        assert not asked_aiohttp(backend)


async def test_who_asks_more_than_a_few_times_asks_by_aiohttp(rig: Rig) -> None:
    """It is imported then, once."""
    backend = rig.client(first_requests=REQUESTS_MAX)
    for number in range(REQUESTS_MAX + 1):
        assert not asked_aiohttp(backend), number
        assert (await read(backend, rig.url, Extent(0, 10)))[0] == DATA[:10]
    assert asked_aiohttp(backend)


async def test_where_aiohttp_is_imported_already_it_asks(rig: Rig) -> None:
    """There is nothing to be saved."""
    backend = rig.client()
    await read(backend, rig.url, Extent(0, 10))
    assert asked_aiohttp(backend)


async def test_what_only_aiohttp_can_say_or_reach_is_left_to_it(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proxies, a value that is not plain, the pages of folders, uploads."""
    odd = rig.client(first_requests=MANY, headers={"X-Name": "caf\u00e9"})
    assert (await read(odd, rig.url, Extent(0, 10)))[0] == DATA[:10]
    listing = rig.client(first_requests=MANY)
    assert len(await listing.list(rig.server.url)) == 1
    monkeypatch.setenv("http_proxy", rig.server.url)
    proxied = rig.client(first_requests=MANY)
    assert (await read(proxied, rig.url, Extent(0, 10)))[0] == DATA[:10]
    assert all(map(asked_aiohttp, (odd, listing, proxied)))


async def test_a_server_of_one_connection_at_a_time_is_not_kept_waiting() -> None:
    """By a link that nobody needs any more, when aiohttp asks."""
    async with scripted(first_requests=2, retry=ONCE, timeout_s=5.0) as (server, backend):
        await backend.close()
        server.turn = asyncio.Lock()
        backend = client(first_requests=1, retry=ONCE, timeout_s=5.0)
        try:
            for by_aiohttp in (False, True):
                assert (await read(backend, server.url))[0] == BODY
                assert asked_aiohttp(backend) is by_aiohttp
        finally:
            await backend.close()


ODD = [
    b'HTTP/1.1 200 OK\r\nETag: "1"\r\nTransfer-Encoding: chunked\r\n\r\n'
    b"a\r\nsome bytes\r\n0\r\n\r\n",
    b"HTTP/1.1 102 Busy\r\n\r\n" + PLAIN,
    b'HTTP/1.0 200 OK\r\nETag: "1"\r\nContent-Length: 10\r\n\r\n' + BODY,
    b'HTTP/1.1 200 OK\r\nX: y\r\n ETag: "1"\r\nContent-Length: 10\r\n\r\n' + BODY,
]


@pytest.mark.parametrize("answer", ODD)
async def test_an_odd_answer_is_asked_again_by_aiohttp(answer: bytes) -> None:
    """Once, and from then on all is."""
    async with scripted(first_requests=MANY) as (server, backend):
        assert not asked_aiohttp(backend)
        server.answer = sending(answer, close=True)
        assert (await read(backend, server.url))[0] == BODY
        assert len(server.requests) == 2
        server.answer = plainly
        assert (await read(backend, server.url))[0] == BODY
        assert len(server.requests) == 3
        assert asked_aiohttp(backend)


@pytest.mark.parametrize("behind", [b"!", b"HTTP/1.1 200 OK\r\n\r\n"])
async def test_bytes_behind_a_body_are_an_error_as_with_aiohttp(behind: bytes) -> None:
    """They may mean that the length was wrong."""
    async with scripted(first_requests=MANY) as (server, backend):
        server.answer = sending(PLAIN + behind)
        reply = await backend.open_read(server.url)
        with pytest.raises(RemoteProtocolError, match="more bytes than it said"):
            await reply.receive(Collector())
        server.answer = plainly
        assert (await read(backend, server.url))[0] == BODY


async def test_a_connection_that_ends_before_the_head_is_asked_again_as_ever() -> None:
    """Each time counts as an attempt."""
    async with scripted(first_requests=MANY) as (server, backend):
        await (await backend.open_read(server.url)).close()
        server.requests.clear()
        server.answer = sending(b"HTTP/1.1 200 OK\r\nETa", only=2, close=True)
        assert (await read(backend, server.url))[0] == BODY
        assert len(server.requests) == 3
        server.answer = sending(b"", close=True)
        with pytest.raises(TransientError, match="the server closed the connection"):
            await backend.open_read(server.url)


async def test_a_kept_link_that_the_server_has_closed_costs_no_attempt() -> None:
    """The request is sent on another connection at once."""
    async with scripted(first_requests=MANY, retry=ONCE) as (server, backend):
        server.answer = sending(b"", only=1, close=True)
        assert (await read(backend, server.url))[0] == BODY
        assert len(server.requests) == 2
        await server.stop()
        assert (await read(backend, server.url))[0] == BODY
        assert not asked_aiohttp(backend)


async def test_a_link_that_has_ended_asks_nothing() -> None:
    """However it ended, who asks is told at once."""
    ours, theirs = socket.socketpair()
    with theirs:
        _, link = await asyncio.get_running_loop().create_connection(Link, sock=ours)
        link.abort()
        await asyncio.sleep(0)
        with pytest.raises(ConnectionResetError):
            await link.ask(b"GET / HTTP/1.1\r\n\r\n", to_head=False)


async def test_a_body_that_breaks_off_gives_what_came() -> None:
    """The error says how far."""
    cut = PLAIN.replace(b" 10\r", b" 99\r")
    async with scripted(first_requests=MANY) as (server, backend):
        server.answer = sending(cut, close=True)
        reply, collector = await backend.open_read(server.url), Collector()
        with pytest.raises(TransientError, match="after 10 of 99 bytes"):
            await reply.receive(collector)
        assert bytes(collector.data) == BODY


@pytest.mark.parametrize("beginning", [b"", PLAIN[:20]])
async def test_silence_before_the_head_is_an_error_in_time(beginning: bytes) -> None:
    """As is a connection that nobody accepts."""
    # (Of a busy machine: a connection to this one has to be made within that, too.)
    async with scripted(first_requests=MANY, retry=ONCE, timeout_s=1.0) as (server, backend):
        server.answer = sending(beginning)
        with pytest.raises(RemoteTimeoutError, match="no answer within 1 s"):
            await backend.open_read(server.url)
    with socket.socket() as full, socket.socket() as first:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        first.connect(full.getsockname())
        backend = client(first_requests=MANY, retry=ONCE, timeout_s=0.2)
        try:
            with pytest.raises(RemoteTimeoutError, match=r"no connection within 0\.2 s"):
                await backend.open_read(f"http://127.0.0.1:{full.getsockname()[1]}/file")
        finally:
            await backend.close()


@pytest.mark.parametrize("turn", range(12))
async def test_a_connection_that_is_given_up_while_it_is_made_leaves_no_socket(turn: int) -> None:
    """In whichever turn of the loop that is."""
    with socket.create_server(("127.0.0.1", 0)) as nobody_answers:
        backend = client(first_requests=MANY, retry=ONCE)
        url = f"http://127.0.0.1:{nobody_answers.getsockname()[1]}/file"
        try:
            task = asyncio.create_task(backend.open_read(url))
            for _ in range(turn):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        finally:
            await backend.close()
        gc.collect()


async def test_nobody_there_is_told_by_aiohttp() -> None:
    """A port that refuses, a name that nobody knows."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}/file"
        backend = client(first_requests=MANY, retry=ONCE)
        try:
            with pytest.raises(TransientError, match="no connection"):
                await backend.open_read(url)
            assert asked_aiohttp(backend)
        finally:
            await backend.close()


async def test_a_change_and_a_redirect_are_told_as_ever(rig: Rig) -> None:
    """A pinned read of another version; a resource that lies elsewhere."""
    backend = rig.client(first_requests=MANY)
    info = await backend.stat(rig.url)
    assert info is not None
    rig.plant("a.bin", DATA[:MIB])
    with pytest.raises(StaleError):
        await backend.open_read(rig.url, Extent(0, 10), expected=info.version)
    rig.faults(redirect=rig.server.url + "b.bin", path="/a.bin")
    rig.plant("b.bin", b"elsewhere")
    assert (await read(backend, rig.url))[0] == b"elsewhere"
    assert not asked_aiohttp(backend)


async def test_a_body_that_nobody_takes_stops_the_server() -> None:
    """What is held of it is bounded; who takes it lets more come."""
    ours, theirs = socket.socketpair()
    with theirs:
        _, link = await asyncio.get_running_loop().create_connection(Link, sock=ours)
        asking = asyncio.create_task(link.ask(b"GET / HTTP/1.1\r\n\r\n", to_head=False))
        await asyncio.sleep(0)
        link.data_received(PLAIN.replace(b" 10\r", b" %d\r" % MIB) + bytes(HELD_BYTES_MAX - 11))
        content = (await asking).content
        assert link.transport.is_reading()
        link.data_received(bytes(2))
        assert not link.transport.is_reading()
        assert len(await content.readany()) == content.total_bytes == HELD_BYTES_MAX + 1
        more = asyncio.create_task(content.readany())
        await asyncio.sleep(0)
        assert link.transport.is_reading()
        link.data_received(b"more")
        assert await more == b"more"
        link.abort()


async def asking_in_vain(server: Scripted, backend: HttpBackend) -> asyncio.Task[object]:
    """A read that the server has begun to answer, and no more."""
    begun = asyncio.Event()

    async def begin(server: Scripted, writer: asyncio.StreamWriter) -> None:
        writer.write(PLAIN[:20])
        begun.set()

    server.answer = begin
    task: asyncio.Task[object] = asyncio.create_task(backend.open_read(server.url))
    await begun.wait()
    return task


async def test_closing_ends_what_is_asked_and_leaves_no_socket() -> None:
    """The caller is told that it was closed."""
    async with scripted(first_requests=MANY, retry=ONCE) as (server, backend):
        task = await asking_in_vain(server, backend)
        await backend.close()
        with pytest.raises(ClosedError):
            await task
        with pytest.raises(ClosedError):
            await backend.open_read(server.url)
    gc.collect()


async def test_a_question_that_is_cancelled_costs_its_connection() -> None:
    """Its answer is not taken for the next one's."""
    async with scripted(first_requests=MANY) as (server, backend):
        task = await asking_in_vain(server, backend)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        server.answer = plainly
        assert (await read(backend, server.url))[0] == BODY
        assert server.connections == 2
