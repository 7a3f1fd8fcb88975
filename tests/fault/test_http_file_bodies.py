"""Bodies that a worker thread sends from a file: the same bytes, errors and ends as any other."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from netcache._core.retry import RetryPolicy
from netcache._core.urls import parse
from netcache._netfs.bodies import FileBody, sha256_of
from netcache._netfs.tee import Tee
from netcache.errors import ConflictError, NetCacheError, RemoteTimeoutError, TransientError
from netcache.spi import FileRun, UploadCondition
from tests.conformance.peers import pattern
from tests.support.http_rig import MIB, MakeClient, Rig
from tests.support.proxy import Seen, scripted_server

pytestmark = pytest.mark.usefixtures("both_ways")

SIZE = 9 * MIB + 123
"""More than one run, and no whole number of steps."""
ABSENT = UploadCondition(if_absent=True)
ONCE = RetryPolicy(attempts=1)


class Source:
    """A local file, open, as a body; counts what was taken of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data = pattern(SIZE, 3)
        path.write_bytes(self.data)
        self.fd = os.open(path, os.O_RDONLY)
        self.taken: list[FileRun] = []

    def body(self, size: int = SIZE) -> FileBody:
        """The body, without a cache."""
        made = _Counted(self.fd, size, Tee(None, parse("http://x/"), hashing=False), lambda _: None)
        made.taken = self.taken
        assert made.may_run()
        return made


class _Counted(FileBody):
    taken: list[FileRun]

    async def runs(self) -> AsyncIterator[FileRun]:
        async for run in super().runs():
            self.taken.append(run)
            yield run


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Source]:
    """A local file; nothing is left of its upload but its own descriptor."""
    made = Source(tmp_path / "source")
    try:
        yield made
    finally:
        os.close(made.fd)


def stored(rig: Rig) -> bytes | None:
    """What is at the server."""
    path = rig.root / "up"
    return path.read_bytes() if path.exists() else None


async def test_all_bytes_come_in_order(rig: Rig, source: Source) -> None:
    """In runs that tile the file."""
    reply = await rig.client().put(rig.server.url + "up", source.body(), condition=ABSENT)
    assert stored(rig) == source.data
    assert reply.version is not None
    assert source.taken[0].start == 0
    assert source.taken[-1].end == SIZE
    assert [run.start for run in source.taken[1:]] == [run.end for run in source.taken[:-1]]


@pytest.mark.parametrize("cut_after", [0, 1, 8 * MIB, SIZE - 1])
async def test_a_cut_connection_begins_anew(rig: Rig, source: Source, cut_after: int) -> None:
    """From the first byte, on a new connection."""
    rig.faults(method=("PUT",), upload_cut_after=cut_after, count=1)
    await rig.client().put(rig.server.url + "up", source.body(), condition=ABSENT)
    assert stored(rig) == source.data


async def test_a_server_that_always_cuts_is_an_error(rig: Rig, source: Source) -> None:
    """Nothing is published."""
    rig.faults(method=("PUT",), upload_cut_after=MIB)
    with pytest.raises(TransientError):
        await rig.client().put(rig.server.url + "up", source.body(), condition=ABSENT)
    assert stored(rig) is None


async def test_a_limited_rate_takes_the_other_way(rig: Rig, source: Source) -> None:
    """Through the loop, in pieces."""
    backend = rig.client(bandwidth_limit=1 << 40)
    await backend.put(rig.server.url + "up", source.body(), condition=ABSENT)
    assert source.taken == []
    assert stored(rig) == source.data


async def test_a_file_that_has_become_shorter_is_an_error(rig: Rig, source: Source) -> None:
    """What was announced never comes: nothing is published, and the error says why."""
    os.truncate(source.path, SIZE - MIB)
    with pytest.raises(NetCacheError) as caught:
        await rig.client(retry=ONCE).put(rig.server.url + "up", source.body(), condition=ABSENT)
    assert str(SIZE) in str(caught.value)
    assert stored(rig) is None


async def test_a_refusal_is_heard_while_the_body_is_sent(rig: Rig, source: Source) -> None:
    """A failed condition ends the upload early."""
    rig.plant("up", b"theirs")
    with pytest.raises(ConflictError):
        await rig.client().put(rig.server.url + "up", source.body(), condition=ABSENT)
    assert stored(rig) == b"theirs"


async def test_a_server_that_stops_reading_times_out(
    make_client: MakeClient, source: Source
) -> None:
    """It has the head and takes nothing more."""
    stalled = asyncio.Event()

    async def script(
        seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if seen.method == "PUT":
            await stalled.wait()

    async with scripted_server(script) as server:
        with pytest.raises(RemoteTimeoutError):
            await make_client(timeout_s=0.3, retry=ONCE).put(
                server.url + "up", source.body(), condition=UploadCondition()
            )
        stalled.set()


async def test_a_cancelled_upload_leaves_nothing_behind(
    make_client: MakeClient, source: Source
) -> None:
    """The worker has ended, its descriptors are closed."""
    begun, stalled = asyncio.Event(), asyncio.Event()

    async def script(
        seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if seen.method == "PUT":
            await reader.readexactly(1)
            begun.set()
            await stalled.wait()

    async with scripted_server(script) as server:
        before = len(os.listdir("/proc/self/fd"))
        backend = make_client(timeout_s=60)
        sending = asyncio.ensure_future(
            backend.put(server.url + "up", source.body(), condition=UploadCondition())
        )
        await begun.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        await backend.close()
        stalled.set()
    assert len(os.listdir("/proc/self/fd")) <= before


class _Gated(ThreadPoolExecutor):
    """Worker threads that wait for ``gate`` before each piece of work; ``begun`` counts those."""

    def __init__(self) -> None:
        super().__init__(max_workers=1)
        self.gate = threading.Event()
        self.begun = asyncio.Semaphore(0)
        self.ended = 0

    def submit(self, work: Any, /, *arguments: Any, **options: Any) -> Any:
        """Do ``work`` when the gate is open."""
        loop = asyncio.get_running_loop()

        def later() -> Any:
            loop.call_soon_threadsafe(self.begun.release)
            self.gate.wait()
            try:
                return work(*arguments, **options)
            finally:
                self.ended += 1

        return super().submit(later)


@pytest.mark.parametrize("opened", [True, False], ids=["descriptor", "path"])
async def test_a_cancelled_digest_of_a_file_ends_when_nobody_reads_the_file_any_more(
    source: Source, opened: bool
) -> None:
    """Whoever cancels closes the descriptor next: another file may have its number then."""
    before = len(os.listdir("/proc/self/fd"))
    workers = _Gated()
    asyncio.get_running_loop().set_default_executor(workers)
    hashing = asyncio.ensure_future(
        source.body().sha256() if opened else sha256_of(str(source.path))
    )
    await workers.begun.acquire()
    hashing.cancel()
    for _ in range(20):
        await asyncio.sleep(0)
    left_early, ended = hashing.done(), workers.ended
    workers.gate.set()
    assert (left_early, ended) == (False, 0)
    with pytest.raises(asyncio.CancelledError):
        await hashing
    assert workers.ended == 1
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("size", [0, 1, 17 * MIB])
async def test_the_digest_of_a_file_is_that_of_all_of_it(tmp_path: Path, size: int) -> None:
    """In one step, in several; the position of an open file stays."""
    path = tmp_path / "file"
    path.write_bytes(pattern(size, 5))
    expected = hashlib.sha256(path.read_bytes()).digest()
    assert await sha256_of(str(path)) == expected
    with path.open("rb", buffering=0) as file:
        file.seek(size // 2)
        assert await sha256_of(file.fileno()) == expected
        assert file.tell() == size // 2
