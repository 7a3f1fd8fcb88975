"""What is read and sent while writers are at work: T15, T17, T23, T31, stable pages.

The server is in memory, and answers when it is told to.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
from typing import Any

import pytest

import netcache
from netcache._netfs.changed_parts import UPDATE_BYTES_MAX
from netcache._netfs.edit_handle import ATOMIC_BYTES_MAX
from tests.support.write_rig import BLOCK, DATA, URL, Rig, run

MIB = 1 << 20


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


def test_t23_an_atomic_write_is_no_group_with_others(rig: Rig) -> None:
    """What was dirty before goes first and alone; nothing of it is lost."""

    async def scenario() -> None:
        async with rig.client() as client, await client.open(URL, "r+b") as file:
            await file.pwrite(b"a" * BLOCK, 0)
            before = (await client.stats())["UpldOps"]["UL"]
            await file.pwrite(b"b" * BLOCK, BLOCK, atomic=True)
            assert (await client.stats())["UpldOps"]["UL"] - before == 2
            assert rig.data[: 2 * BLOCK] == b"a" * BLOCK + b"b" * BLOCK

    run(scenario())


@pytest.mark.parametrize("offset", [0, 100])
def test_an_atomic_write_is_not_cut_for_what_others_write_beside_it(rig: Rig, offset: int) -> None:
    """All of it is there, or nothing, at each moment: also in a run too long for one exchange."""
    size, low = ATOMIC_BYTES_MAX, 2 * MIB + offset
    rig.server.store(URL, bytes(3 * UPDATE_BYTES_MAX))

    async def scenario() -> None:
        async with rig.client() as client, await client.open(URL, "r+b") as file:
            held = rig.server.answers.hold("learn")
            writing = asyncio.ensure_future(file.pwrite(b"a" * size, low, atomic=True))
            await held.arrived.wait()
            await file.pwrite(b"b" * low, 0)
            await file.pwrite(b"c" * MIB, low + size)
            looks, exchanges = rig.server.answers, 0
            while True:
                upload = looks.hold("update")
                held.release()
                came = asyncio.ensure_future(upload.arrived.wait())
                await asyncio.wait([came, writing], return_when=asyncio.FIRST_COMPLETED)
                assert rig.data.count(b"a") in (0, size)
                if not came.done():
                    came.cancel()
                    break
                exchanges, held = exchanges + 1, upload
            looks.clear()
            await writing
            assert exchanges == 3
            assert hashlib.sha256(rig.data[: low + size + MIB]).digest() == (
                hashlib.sha256(b"b" * low + b"a" * size + b"c" * MIB).digest()
            )

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
                    # What was there before may go on with the mark.
                    steps = (len(half) - len(half.lstrip(mark))) // 16
                    before = DATA[start + 16 * steps : start + halves]
                    assert half == mark * 16 * steps + before

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
                await client.cache.clear()
            async with await client.open(URL, "r+b") as file:
                await file.pwrite(b"new", 100)
                held = rig.server.answers.hold("body")
                reading = asyncio.ensure_future(file.pread(BLOCK, 20 * BLOCK))
                await held.arrived.wait()
                await file.fsync()
                held.release()
                assert await reading == DATA[20 * BLOCK : 21 * BLOCK]

    run(scenario())
