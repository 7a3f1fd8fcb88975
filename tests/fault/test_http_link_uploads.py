"""Uploads on links of our own: those that are for it, and answers that aiohttp would know better.

What uploads do on both ways is in the other tests of uploads (``both_ways``).
"""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path

import pytest

from netcache._core.urls import parse
from netcache._netfs.bodies import FileBody
from netcache._netfs.tee import Tee
from netcache.backends.http import HttpBackend
from netcache.backends.http_first import REQUESTS_MAX
from netcache.backends.http_link import Link
from netcache.errors import ConflictError, NotFoundError, RemoteTimeoutError, TransientError
from netcache.spi import UploadBody, UploadCondition
from tests.conformance.peers import Bytes, pattern
from tests.fault.test_http_faults import ONCE
from tests.support.http_rig import MIB, MakeClient, Rig
from tests.support.proxy import Seen, answer, scripted_server

MANY = 1000
ABSENT = UploadCondition(if_absent=True)
CREATED = answer(201, ETag='"1"')
CHUNKED = (
    b'HTTP/1.1 201 Created\r\nETag: "1"\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n'
)
ENDLESS = b'HTTP/1.1 201 Created\r\nETag: "1"\r\n\r\nok'


def in_file(file: int, size: int) -> FileBody:
    """A body that a thread sends from an open file."""
    return FileBody(file, size, Tee(None, parse("http://x/"), hashing=False), lambda _: None)


def asked_aiohttp(backend: HttpBackend) -> bool:
    """Whether the backend has made a session of aiohttp's."""
    return backend._session._client is not None


class Taking:
    """A server that takes bodies and answers with ``created``; ``interim`` is its 100."""

    def __init__(self, created: bytes = CREATED, interim: bytes = answer(100)) -> None:
        self.created = created
        self.interim = interim.replace(b"Content-Length: 0\r\n", b"")
        self.bodies: list[bytes] = []
        self.connections: list[int] = []

    async def __call__(
        self, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """One request."""
        self.connections.append(seen.connection)
        if seen.method != "PUT":
            writer.write(answer(404))
            return
        if "expect" in seen.headers:
            for byte in self.interim:
                writer.write(bytes([byte]))
                await writer.drain()
        self.bodies.append(await reader.readexactly(int(seen.headers["content-length"])))
        writer.write(self.created)


async def test_an_upload_needs_no_aiohttp(rig: Rig, tmp_path: Path) -> None:
    """From memory, and from a file by a thread; the answer tells the version."""
    backend = rig.client(first_requests=MANY)
    for size in (0, 1, 3 * MIB):
        data = pattern(size)
        source = tmp_path / "source"
        source.write_bytes(data)
        with source.open("rb") as file:
            bodies: list[UploadBody] = [Bytes(data), in_file(file.fileno(), size)]
            for number, body in enumerate(bodies):
                url = f"{rig.server.url}{size}-{number}"
                reply = await backend.put(url, body, condition=ABSENT)
                assert reply.version is not None
                assert (reply.version.size, reply.created) == (size, True)
                assert (rig.root / f"{size}-{number}").read_bytes() == data
    assert not asked_aiohttp(backend)


async def test_a_first_upload_with_its_questions_is_not_too_many(rig: Rig) -> None:
    """What a command asks before it sends a large file."""
    backend = rig.client(first_requests=REQUESTS_MAX)
    assert await backend.stat(rig.url) is not None
    await backend.put(rig.server.url + "up", Bytes(pattern(17 * MIB)), condition=ABSENT)
    assert not asked_aiohttp(backend)


@pytest.mark.parametrize(
    "body",
    [Bytes(b"some", size=None), Bytes(b"some", replayable=False)],
    ids=["of unknown length", "only once"],
)
async def test_what_is_left_to_aiohttp(rig: Rig, body: Bytes) -> None:
    """Whose parser has to be right the first time."""
    backend = rig.client(first_requests=MANY)
    await backend.put(rig.server.url + "up", body)
    assert asked_aiohttp(backend)
    assert (rig.root / "up").read_bytes() == b"some"


@pytest.mark.parametrize(
    "created", [CREATED, CHUNKED, ENDLESS], ids=["plain", "chunked", "endless"]
)
async def test_a_body_is_sent_once_whatever_that_of_its_answer_is(
    make_client: MakeClient, created: bytes
) -> None:
    """Nobody reads it; the connection goes on only where its end is known."""
    taking, data = Taking(created), pattern(2 * MIB)
    async with scripted_server(taking) as server:
        backend = make_client(first_requests=MANY)
        for number in (1, 2):
            reply = await backend.put(server.url + "up", Bytes(data), condition=ABSENT)
            assert reply.version is not None
            assert taking.bodies == [data] * number
        assert not asked_aiohttp(backend)
        assert len(set(taking.connections)) == (1 if created is CREATED else 2)


async def test_what_was_not_sent_ends_the_connection(make_client: MakeClient) -> None:
    """The server may take the next request for the body that it was told of."""
    connections: list[int] = []

    async def script(
        seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        connections.append(seen.connection)
        writer.write(answer(412) if seen.method == "PUT" else answer(404))

    async with scripted_server(script) as server:
        backend = make_client(first_requests=MANY, retry=ONCE)
        with pytest.raises(ConflictError):
            await backend.put(server.url + "up", Bytes(pattern(2 * MIB)), condition=ABSENT)
        with pytest.raises(NotFoundError):
            await backend.stat(server.url + "up")
        assert not asked_aiohttp(backend)
    assert connections[0] == connections[1] == 1
    assert connections[-1] == 2


async def test_an_odd_answer_is_a_failed_attempt(make_client: MakeClient) -> None:
    """It may have had its effect: it is found out what there is, and all else goes by aiohttp."""
    taking = Taking(CREATED.replace(b"HTTP/1.1", b"HTTP/1.0"))
    async with scripted_server(taking) as server:
        with pytest.raises(TransientError, match="the answer is not plain"):
            await make_client(first_requests=MANY, retry=ONCE).put(
                server.url + "up", Bytes(b"some")
            )
        backend = make_client(first_requests=MANY)
        await backend.put(server.url + "up", Bytes(b"some"))
        assert asked_aiohttp(backend)
        assert taking.bodies == [b"some"] * 3


@pytest.mark.parametrize("size", [4, 2 * MIB])
async def test_a_body_that_is_welcome_more_than_once_is_sent_once(
    make_client: MakeClient, size: int
) -> None:
    """Each proxy on the way may say so (RFC 9110 15.2), asked or not."""
    word = answer(100).replace(b"Content-Length: 0\r\n", b"")
    taking, data = Taking(word + CREATED, interim=word + word), pattern(size)
    async with scripted_server(taking) as server:
        backend = make_client(first_requests=MANY, retry=ONCE)
        reply = await backend.put(server.url + "up", Bytes(data), condition=ABSENT)
        assert reply.version is not None
        assert taking.bodies == [data]
        assert not asked_aiohttp(backend)


async def test_an_odd_word_before_the_body_costs_no_body(make_client: MakeClient) -> None:
    """Nothing was sent yet: aiohttp asks, at once."""
    taking = Taking(interim=b"HTTP/1.1 102 Busy\r\n\r\n" + answer(100))
    data = pattern(2 * MIB)
    async with scripted_server(taking) as server:
        backend = make_client(first_requests=MANY, retry=ONCE)
        body = Bytes(data)
        await backend.put(server.url + "up", body, condition=ABSENT)
        assert asked_aiohttp(backend)
        assert body.passes == 1


@pytest.mark.parametrize("taken", [0, 1000, 4])
async def test_a_server_that_goes_away_is_told_so(make_client: MakeClient, taken: int) -> None:
    """Before the body, in its middle, or after it."""

    async def script(
        seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if taken:
            await reader.readexactly(taken)
        writer.transport.abort()

    async with scripted_server(script) as server:
        backend = make_client(first_requests=MANY, retry=ONCE)
        size = 4 if taken == 4 else 8 * MIB
        with pytest.raises(TransientError, match="connection"):
            await backend.put(server.url + "up", Bytes(pattern(size)))
        assert not asked_aiohttp(backend)


class Telling(Link):
    """Tells when something has come."""

    def __init__(self) -> None:
        super().__init__()
        self.told = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        """As ever, and told."""
        super().data_received(data)
        self.told.set()


async def test_an_answer_counts_though_the_body_breaks_off_as_it_comes() -> None:
    """A server that has said why closes the connection, and both are known at once."""

    async def script(
        seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(answer(413))

    async def body(link: Link) -> None:
        assert isinstance(link, Telling)
        await link.told.wait()
        raise BrokenPipeError

    async with scripted_server(script) as server:
        loop = asyncio.get_running_loop()
        _, link = await loop.create_connection(Telling, "127.0.0.1", server.port)
        request = b"PUT /up HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"
        got = await link.send(request, body, expects=False, timeout_s=5.0)
        assert got.status == 413
        got.release()
        assert link.has_ended


@pytest.mark.parametrize("source", ["memory", "file"])
async def test_a_server_that_goes_away_when_it_has_asked_for_the_body_is_told_so(
    make_client: MakeClient, tmp_path: Path, source: str
) -> None:
    """The connection is gone before the first byte of the body is on its way."""

    async def script(
        seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if seen.method == "PUT":
            writer.write(answer(100).replace(b"Content-Length: 0\r\n", b""))
            writer.close()
        else:
            writer.write(answer(404))

    data = pattern(2 * MIB)
    (tmp_path / "source").write_bytes(data)
    with (tmp_path / "source").open("rb") as file:
        async with scripted_server(script) as server:
            backend = make_client(first_requests=MANY, retry=ONCE)
            body = Bytes(data) if source == "memory" else in_file(file.fileno(), len(data))
            with pytest.raises(TransientError, match="connection"):
                await backend.put(server.url + "up", body, condition=ABSENT)
            assert not asked_aiohttp(backend)


async def test_silence_after_the_body_ends_in_time(make_client: MakeClient) -> None:
    """As without a link."""

    async def script(
        seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.readexactly(4)
        await reader.read()

    async with scripted_server(script) as server:
        backend = make_client(first_requests=MANY, retry=ONCE, timeout_s=0.2)
        with pytest.raises(RemoteTimeoutError, match=r"no answer within 0\.2 s"):
            await backend.put(server.url + "up", Bytes(b"some"))


async def test_an_upload_that_is_cancelled_leaves_nothing_behind(
    make_client: MakeClient, tmp_path: Path
) -> None:
    """Neither a thread that sends, nor a connection."""
    ended = asyncio.Event()

    async def script(
        seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.readexactly(1000)
        begun.set()
        while await reader.read(MIB):
            pass
        ended.set()

    begun = asyncio.Event()
    source = tmp_path / "source"
    source.write_bytes(pattern(64 * MIB))
    async with scripted_server(script) as server:
        backend = make_client(first_requests=MANY, retry=ONCE)
        with source.open("rb") as file:
            task = asyncio.create_task(
                backend.put(server.url + "up", in_file(file.fileno(), 64 * MIB))
            )
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await asyncio.wait_for(ended.wait(), 10)
        assert not asked_aiohttp(backend)


@pytest.mark.parametrize("word", [CREATED, b""], ids=["an answer", "none"])
async def test_an_upload_that_is_cancelled_as_its_answer_comes_leaves_nothing_behind(
    make_client: MakeClient, word: bytes
) -> None:
    """Neither a connection that nobody uses, nor an error that nobody hears of."""
    unheard: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: unheard.append(context["message"]))

    async def script(
        seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.readexactly(4)
        writer.write(word)
        if not word:
            writer.close()

    async with scripted_server(script) as server:
        steps, is_done = 0, False
        while not is_done:
            backend = make_client(first_requests=MANY, retry=ONCE)
            task = asyncio.create_task(backend.put(server.url + "up", Bytes(b"some")))
            for _ in range(steps):
                await asyncio.sleep(0)
            is_done, steps = task.done(), steps + 1
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            del task
            first = backend._session._first
            links = first._all() if first is not None else []
            assert all(link.has_ended or link.is_free for link in links)
            await backend.close()
    gc.collect()
    assert not unheard
