"""Orders to the memory server: answers at once, later, or with an error."""

from __future__ import annotations

import asyncio

import pytest

from netcache._core.extent import Extent
from netcache.backends.memory import MemoryBackend, MemoryServer
from netcache.errors import (
    ConflictError,
    NetCacheError,
    NotOfferedError,
    RemoteTimeoutError,
    StaleError,
    TransientError,
)
from netcache.spi import UploadCondition
from tests.conformance.peers import Bytes, Collector, pattern, read, version_of

URL = "http://memory.invalid/a"
DATA = pattern(3 << 20)


@pytest.fixture
def server() -> MemoryServer:
    """A server with one file."""
    server = MemoryServer()
    server.store(URL, DATA)
    return server


def busy() -> NetCacheError:
    """What a server says that has too much to do."""
    return TransientError("busy", url=URL)


async def test_at_once_without_orders(server: MemoryServer) -> None:
    """Nothing waits, and every request is counted once."""
    backend = MemoryBackend(server)
    await read(backend, URL)
    await backend.stat(URL)
    assert server.requests == [f"read {URL}", f"stat {URL}"]


async def test_later(server: MemoryServer) -> None:
    """A held request waits until it is released, others do not."""
    backend = MemoryBackend(server)
    held = server.answers.hold("read")
    task = asyncio.ensure_future(read(backend, URL))
    await held.arrived.wait()
    await backend.stat(URL)
    assert await read(backend, URL) == DATA
    assert not task.done()
    held.release()
    assert await task == DATA


async def test_later_sees_what_is_there_then(server: MemoryServer) -> None:
    """Held before it is done, a request meets the version of later; held after, that of before."""
    backend = MemoryBackend(server)
    for after, expected in ((False, b"later"), (True, DATA)):
        server.store(URL, DATA)
        held = server.answers.hold("read", after=after)
        task = asyncio.ensure_future(read(backend, URL))
        await held.arrived.wait()
        server.store(URL, b"later")
        held.release()
        assert await task == expected


async def test_later_with_an_error(server: MemoryServer) -> None:
    """What waits may also fail in the end."""
    held = server.answers.hold("stat")
    task = asyncio.ensure_future(MemoryBackend(server).stat(URL))
    await held.arrived.wait()
    held.release(RemoteTimeoutError("no answer", url=URL))
    with pytest.raises(RemoteTimeoutError):
        await task


async def test_cancelled_while_held(server: MemoryServer) -> None:
    """Nothing was done, and nothing waits on."""
    backend = MemoryBackend(server)
    held = server.answers.hold("put")
    task = asyncio.ensure_future(backend.put(URL, Bytes(b"new")))
    await held.arrived.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert server.files[URL].data == DATA


async def test_errors_by_verb_and_number(server: MemoryServer) -> None:
    """The second and third stat fail, nothing else; and each error is a new one."""
    backend = MemoryBackend(server)
    server.answers.fail("stat", busy, skip=1, count=2)
    await backend.stat(URL)
    found = []
    for _ in range(2):
        with pytest.raises(TransientError) as caught:
            await backend.stat(URL)
        found.append(caught.value)
    assert found[0] is not found[1]
    await backend.stat(URL)
    await read(backend, URL)


async def test_all_verbs(server: MemoryServer) -> None:
    """``*`` is every request, until the orders are cleared."""
    backend = MemoryBackend(server)
    server.answers.fail("*", busy)
    condition = UploadCondition(if_match='"1"')
    for asked in (
        backend.open_read(URL),
        backend.stat(URL),
        backend.list("http://memory.invalid/"),
        backend.put(URL, Bytes(b"x")),
        backend.delete(URL),
        backend.move(URL, URL + "b"),
        backend.make_folder(URL + "d/"),
    ):
        with pytest.raises(TransientError):
            await asked
    learnt = await backend.learn(URL)
    assert (learnt.patch, learnt.partial_put) == (False, False)
    with pytest.raises(NotOfferedError):
        await backend.update(URL, 0, b"x", size=len(DATA), condition=condition)
    server.answers.clear()
    assert (await backend.learn(URL)).patch is True
    assert server.files[URL].data == DATA


async def test_lost_reply(server: MemoryServer) -> None:
    """With ``after`` the change is made, and nobody is told."""
    backend = MemoryBackend(server)
    condition = UploadCondition(if_match=(await version_of(backend, URL)).validator.value)
    server.answers.fail("update", busy, after=True, count=1)
    with pytest.raises(TransientError):
        await backend.update(URL, 0, b"new", size=len(DATA), condition=condition)
    assert server.files[URL].data == b"new" + DATA[3:]
    with pytest.raises(ConflictError):
        await backend.update(URL, 0, b"new", size=len(DATA), condition=condition)


async def test_body_that_breaks_off(server: MemoryServer) -> None:
    """What came before stays good."""
    backend = MemoryBackend(server)
    server.answers.fail("body", busy, skip=1, count=1)
    collector = Collector()
    reply = await backend.open_read(URL)
    with pytest.raises(TransientError):
        await reply.receive(collector)
    assert 0 < len(collector.data) < len(DATA)
    assert DATA.startswith(collector.data)
    assert await read(backend, URL) == DATA


async def test_ranges_are_reads(server: MemoryServer) -> None:
    """Several extents at once are held and fail like one."""
    backend = MemoryBackend(server)
    version = await version_of(backend, URL)
    held = server.answers.hold("read")
    asked = [Extent(0, 5), Extent(9, 10)]
    task = asyncio.ensure_future(backend.open_ranges(URL, asked, expected=version))
    await held.arrived.wait()
    server.store(URL, b"another")
    held.release()
    with pytest.raises(StaleError):
        await task
