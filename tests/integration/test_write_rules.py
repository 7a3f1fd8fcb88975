"""The rules of writing that need an upload to stand still: T15, T17, T23, T24, T31; fsync, stable
pages, limits.  The server is in memory, and answers when it is told to."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import netcache
from netcache.backends.memory import MemoryBackend, MemoryServer
from netcache.errors import TransientError
from tests.support.memory_rig import turns
from tests.support.served import random_bytes

URL = "http://memory.invalid/data"
BLOCK = 4096
DATA = random_bytes(40 * BLOCK + 17, 3)


class Rig:
    """A server in memory, and a client on it."""

    def __init__(self, folder: Path, server: MemoryServer, **options: Any) -> None:
        self.server = server
        self.options: dict[str, Any] = {
            "cache_dir": folder / "cache",
            "write_mode": "back",
            "flush_interval": 1000.0,
            "backend": lambda: MemoryBackend(server),
        } | options

    @property
    def data(self) -> bytes:
        """What the server has."""
        return bytes(self.server.files[URL].data)

    @asynccontextmanager
    async def client(self) -> AsyncIterator[netcache.AsyncClient]:
        """A client; nothing of it is left alive when it closes."""
        async with netcache.AsyncClient(**self.options) as client:
            yield client
            assert set(client.stats()["Objs"].values()) == {0}


@pytest.fixture(params=["cache", "no-cache"])
def rig(tmp_path: Path, request: pytest.FixtureRequest) -> Rig:
    """A rig whose server has ``DATA``."""
    server = MemoryServer()
    made = Rig(tmp_path, server, use_cache=request.param == "cache")
    with netcache.Client(**made.options) as client, client.open(URL, "wb") as file:
        file.write(DATA)
    return made


def run(work: Any) -> None:
    """Run a test on a loop of its own; a minute is a hang."""
    asyncio.run(asyncio.wait_for(work, 60))


def test_t24_two_flushes_of_one_file_are_one_after_the_other(rig: Rig) -> None:
    """The second waits for the first to end, cache included, and sends only what came since."""

    async def scenario() -> None:
        async with rig.client() as client, await client.open(URL, "r+b") as file:
            first = rig.server.answers.hold("update")
            await file.pwrite(b"a" * BLOCK, 0)
            one = asyncio.ensure_future(file.fsync())
            await first.arrived.wait()
            await file.pwrite(b"b" * BLOCK, BLOCK)
            two = asyncio.ensure_future(file.fsync())
            await asyncio.sleep(0)
            assert not one.done()
            assert not two.done()
            assert rig.data == DATA
            first.release()
            await asyncio.gather(one, two)
            assert rig.data == b"a" * BLOCK + b"b" * BLOCK + DATA[2 * BLOCK :]
            assert client.stats()["WbLock"]["wait"] == 1
            assert client.stats()["UpldOps"]["bytes"] == 2 * BLOCK

    run(scenario())


def test_t15_a_gap_is_read_while_its_block_is_written_back(rig: Rig) -> None:
    """Before, during and after: the new bytes, with the old ones around them."""

    async def scenario() -> None:
        async with rig.client() as client, await client.open(URL, "r+b") as file:
            expected = DATA[:100] + b"new" + DATA[103:BLOCK]
            await file.pwrite(b"new", 100)
            held = rig.server.answers.hold("update")
            flushing = asyncio.ensure_future(file.fsync())
            await held.arrived.wait()
            assert await file.pread(BLOCK, 0) == expected
            held.release()
            await flushing
            assert await file.pread(BLOCK, 0) == expected
            assert rig.data[:BLOCK] == expected

    run(scenario())


def test_u_sp1_a_write_under_writeback_neither_waits_nor_mixes_in(rig: Rig) -> None:
    """What is sent is the copy; the write is dirty, and goes with the next flush (U-WT4)."""

    async def scenario() -> None:
        async with rig.client() as client, await client.open(URL, "r+b") as file:
            await file.pwrite(b"a" * BLOCK, 0)
            held = rig.server.answers.hold("update")
            flushing = asyncio.ensure_future(file.fsync())
            await held.arrived.wait()
            await asyncio.wait_for(file.pwrite(b"b" * 10, 5), 5)
            held.release()
            await flushing
            assert rig.data[:BLOCK] == b"a" * BLOCK
            assert await file.pread(20, 0) == b"a" * 5 + b"b" * 10 + b"a" * 5
            await file.fsync()
            assert rig.data[:20] == b"a" * 5 + b"b" * 10 + b"a" * 5

    run(scenario())


def test_u_sp2_u_sp3_both_streams_get_the_bytes_that_were_hashed(rig: Rig) -> None:
    """The server checks the digest of each part; the cache afterwards shows the same bytes."""

    async def scenario() -> None:
        async with rig.client() as client, await client.open(URL, "r+b") as file:
            for turn in range(5):
                await file.pwrite(bytes([turn]) * BLOCK, 2 * BLOCK)
                held = rig.server.answers.hold("update")
                flushing = asyncio.ensure_future(file.fsync())
                await held.arrived.wait()
                await file.pwrite(b"z" * 100, 2 * BLOCK + 7)
                held.release()
                await flushing
                seen = rig.data
                async with await client.open(URL) as reader:
                    shown = await reader.read()
                assert hashlib.sha256(shown).digest() == hashlib.sha256(seen).digest()
                assert seen[2 * BLOCK : 3 * BLOCK] == bytes([turn]) * BLOCK

    run(scenario())


def test_u_fs1_fsync_returns_after_the_server_has_it_and_not_before(rig: Rig) -> None:
    """Flush, wait, answer; a lost connection is an error, and the bytes stay (U-FS5)."""

    async def scenario() -> None:
        async with rig.client() as client, await client.open(URL, "r+b") as file:
            await file.pwrite(b"a" * BLOCK, 0)
            rig.server.answers.fail("update", lambda: TransientError("cut"), count=1)
            with pytest.raises(TransientError):
                await file.fsync()
            assert rig.data == DATA
            await file.fsync()
            assert rig.data[:BLOCK] == b"a" * BLOCK
            assert client.stats()["UpldOps"]["uf"] == 1

    run(scenario())


def test_u_fs2_what_was_written_before_fsync_is_there_after_it(rig: Rig) -> None:
    """Also when a background writeback was already on its way with something else."""

    async def scenario() -> None:
        rig.options["flush_interval"] = 0.01
        async with rig.client() as client, await client.open(URL, "r+b") as file:
            held = rig.server.answers.hold("update")
            await file.pwrite(b"a" * BLOCK, 0)
            await held.arrived.wait()
            await file.pwrite(b"b" * BLOCK, 5 * BLOCK)
            syncing = asyncio.ensure_future(file.fsync())
            await asyncio.sleep(0)
            assert not syncing.done()
            held.release()
            await syncing
            assert rig.data[5 * BLOCK : 6 * BLOCK] == b"b" * BLOCK

    run(scenario())


def test_t23_an_atomic_write_is_no_group_with_others(rig: Rig) -> None:
    """What was dirty before goes first and alone; nothing of it is lost."""

    async def scenario() -> None:
        async with rig.client() as client, await client.open(URL, "r+b") as file:
            await file.pwrite(b"a" * BLOCK, 0)
            before = client.stats()["UpldOps"]["UL"]
            await file.pwrite(b"b" * BLOCK, BLOCK, atomic=True)
            assert client.stats()["UpldOps"]["UL"] - before == 2
            assert rig.data[: 2 * BLOCK] == b"a" * BLOCK + b"b" * BLOCK

    run(scenario())


def test_u_wt6_the_error_of_a_dsync_write_is_its_own_and_the_next_fsyncs(rig: Rig) -> None:
    """The writer hears of it at once; he and the resource's other writers at their ``fsync``."""

    async def scenario() -> None:
        async with rig.client() as client:
            one, two = await client.open(URL, "r+b"), await client.open(URL, "r+b")
            rig.server.answers.fail("update", lambda: TransientError("cut"), count=1)
            with pytest.raises(TransientError):
                await one.pwrite(b"a" * BLOCK, 0, dsync=True)
            for file in (one, two):
                with pytest.raises(TransientError):
                    await file.fsync()
                await file.fsync()
            await one.close()
            await two.close()
            assert rig.data[:BLOCK] == b"a" * BLOCK

    run(scenario())


def test_u_wb2_the_soft_limit_wakes_the_flusher(rig: Rig) -> None:
    """Over all files: one byte too much, and all that is told is sent without being asked."""

    async def scenario() -> None:
        rig.options["dirty_soft"] = 4 * BLOCK
        async with rig.client() as client, await client.open(URL, "r+b") as file:
            held = rig.server.answers.hold("update")
            for index in range(4):
                await file.pwrite(b"a" * BLOCK, index * BLOCK)
            await asyncio.sleep(0)
            assert not held.arrived.is_set()
            async with await client.open("http://memory.invalid/other", "ab") as other:
                await other.write(b"b" * BLOCK)
                put = rig.server.answers.hold("put")
                await put.arrived.wait()
                put.release()
            held.release()

    run(scenario())


def test_t25_a_failed_writeback_leaves_its_bytes_dirty(rig: Rig) -> None:
    """Not all of them failed: those that the server has are not sent again."""

    async def scenario() -> None:
        rig.options["readahead"] = 0
        async with rig.client() as client, await client.open(URL, "r+b") as file:
            size = 1 << 20
            await file.truncate(8 * size)
            await file.fsync()
            await file.pwrite(b"a" * BLOCK, 0)
            await file.pwrite(b"b" * BLOCK, 6 * size)
            before = client.stats()["UpldOps"]["bytes"]
            rig.server.answers.fail("update", lambda: TransientError("cut"), count=1, skip=1)
            with pytest.raises(TransientError):
                await file.fsync()
            assert rig.data[:BLOCK] == b"a" * BLOCK
            await file.fsync()
            assert rig.data[6 * size : 6 * size + BLOCK] == b"b" * BLOCK
            assert client.stats()["UpldOps"]["bytes"] - before == 2 * BLOCK

    run(scenario())


@pytest.mark.parametrize("write_mode", ["through", "back"])
def test_t17_two_writers_and_two_readers_of_one_block(rig: Rig, write_mode: str) -> None:
    """Small steps in one block, from threads, with uploads all the time: nobody waits for ever."""
    options = rig.options | {"write_mode": write_mode, "flush_interval": 0.01}
    halves = BLOCK // 2
    with netcache.Client(**options) as client:
        files = [client.open(URL, "r+b") for _ in range(4)]

        def write(file: Any, start: int, mark: bytes) -> None:
            for at in range(0, halves, 16):
                file.pwrite(mark * 16, start + at)

        def read(file: Any) -> None:
            for _ in range(200):
                block = file.pread(BLOCK, 0)
                assert len(block) == BLOCK
                for start, mark in ((0, b"x"), (halves, b"y")):
                    half = block[start : start + halves]
                    written = len(half) - len(half.lstrip(mark))
                    assert written % 16 == 0 or half == DATA[start : start + halves]

        failures: list[BaseException] = []

        def guarded(work: Any, *args: Any) -> None:
            try:
                work(*args)
            except BaseException as error:
                failures.append(error)

        threads = [
            threading.Thread(target=guarded, args=args, daemon=True)
            for args in (
                (write, files[0], 0, b"x"),
                (write, files[1], halves, b"y"),
                (read, files[2]),
                (read, files[3]),
            )
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive(), "a deadlock"
        assert not failures
        for file in files:
            file.close()
    assert rig.data[:BLOCK] == b"x" * halves + b"y" * halves


def test_t31_both_faces_give_the_same_results(rig: Rig) -> None:
    """Counts, sizes and errors of the synchronous and the asynchronous calls."""

    async def asynchronous() -> list[object]:
        async with rig.client() as client:
            file = await client.open(URL, "r+b")
            found: list[object] = [
                await file.pwrite(b"abc", 5),
                await file.truncate(100),
                await file.size(),
                await file.pread(10, 95),
                await file.preadinto(bytearray(7), 98),
            ]
            with pytest.raises(ValueError, match="-1") as caught:
                await file.pwrite(b"x", -1)
            await file.close()
            return [*found, type(caught.value)]

    def synchronous() -> list[object]:
        with netcache.Client(**rig.options) as client:
            file = client.open(URL, "r+b")
            found: list[object] = [
                file.pwrite(b"abc", 5),
                file.truncate(100),
                file.size,
                file.pread(10, 95),
                file.preadinto(bytearray(7), 98),
            ]
            with pytest.raises(ValueError, match="-1") as caught:
                file.pwrite(b"x", -1)
            file.close()
            return [*found, type(caught.value)]

    first = asyncio.run(asynchronous())
    assert first == [3, 100, 100, DATA[95:100], 2, netcache.UsageError]
    with netcache.Client(**rig.options) as client, client.open(URL, "wb") as file:
        file.write(DATA)
    assert synchronous() == first


def test_a_read_goes_on_when_an_upload_gives_its_file_a_new_base(rig: Rig) -> None:
    """The base that the read began with is let go meanwhile: the bytes come all the same."""

    async def scenario() -> None:
        async with rig.client() as client:
            if rig.options["use_cache"]:
                client.cache.clear()
            async with await client.open(URL, "r+b") as file:
                await file.pwrite(b"new", 100)
                held = rig.server.answers.hold("body")
                reading = asyncio.ensure_future(file.pread(BLOCK, 20 * BLOCK))
                await held.arrived.wait()
                await file.fsync()
                held.release()
                assert await reading == DATA[20 * BLOCK : 21 * BLOCK]

    run(scenario())


@pytest.mark.parametrize("after", [False, True], ids=["before-it-is-stored", "after"])
def test_an_abort_ends_the_upload_in_the_background(
    rig: Rig, after: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing more is sent, nothing of the file is left, and nobody hears of it."""

    async def scenario() -> None:
        async with rig.client() as client:
            file = await client.open(URL, "r+b")
            held = rig.server.answers.hold("update", after=after)
            tasks = len(asyncio.all_tasks())
            await file.pwrite(b"a" * BLOCK, 0)
            await file.pwrite(b"b" * BLOCK, 200 * BLOCK)
            await held.arrived.wait()
            await file.abort()
            sent = len([line for line in rig.server.requests if line.startswith("update ")])
            held.release()
            assert await turns(lambda: len(asyncio.all_tasks()) <= tasks)
            assert len([r for r in rig.server.requests if r.startswith("update ")]) == sent

    rig.options["write_mode"] = "through"
    rig.server.store(URL, DATA * 10)
    run(scenario())
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []


def test_u_wt1_a_write_through_returns_when_it_is_on_its_way(rig: Rig) -> None:
    """Its upload stands still, the write has returned, and readers see it (U-WT3)."""

    async def scenario() -> None:
        async with rig.client() as client, await client.open(URL, "r+b") as file:
            held = rig.server.answers.hold("update")
            await file.pwrite(b"a" * BLOCK, 0)
            await held.arrived.wait()
            assert rig.data == DATA
            assert await file.pread(10, 0) == b"a" * 10
            syncing = asyncio.ensure_future(file.fsync())
            await asyncio.sleep(0)
            assert not syncing.done()
            held.release()
            await syncing
            assert rig.data[:BLOCK] == b"a" * BLOCK

    rig.options["write_mode"] = "through"
    run(scenario())


def test_u_wb5_what_is_unsent_is_not_evicted(rig: Rig) -> None:
    """Clearing the cache under a writer takes nothing that the server does not have."""

    async def scenario() -> None:
        async with rig.client() as client, await client.open(URL, "r+b") as file:
            await file.pwrite(b"new", 100)
            if rig.options["use_cache"]:
                client.cache.clear()
                client.cache.cull(0)
            assert await file.pread(3, 100) == b"new"
            await file.fsync()
            assert rig.data == DATA[:100] + b"new" + DATA[103:]
            assert await file.pread(len(DATA), 0) == rig.data

    run(scenario())
