"""What once went wrong in the kernel's writes (T12..T36), seen from the library.

The server is in memory, so that a request can be held at a place and let go at another.
"""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

import netcache
from netcache.backends.memory import MemoryServer
from tests.support.bytemodel import ByteModel, pattern
from tests.support.memory_rig import URL, async_rig, sync_client, turns

B = 4096
MIB = 1 << 20
SIZE = 40 * B + 123
OLD = pattern(0, SIZE)
CACHES = pytest.mark.parametrize("use_cache", [True, False], ids=["cache", "no-cache"])
PARTS = pytest.mark.parametrize("updates", [True, False], ids=["parts", "whole"])


def new(start: int, length: int) -> bytes:
    """Bytes to write at ``start``."""
    return pattern(start, start + length, 1)


async def test_t12_what_is_sent_is_cut_off_the_front(tmp_path: Path) -> None:
    """The first part of a long run was sent, the second failed: only the rest is sent again."""
    size, rest = 40 * MIB, pattern(0, 8 * MIB, 2)
    async with async_rig(tmp_path, bytes(size) + rest, write_mode="back") as rig:
        file = await rig.client.open(URL, "r+b")
        await file.pwrite(new(0, size), 0)
        rig.server.answers.fail("update", _refused, skip=1, count=1)
        with pytest.raises(netcache.TransientError):
            await file.fsync()
        sent = rig.uploaded_bytes()
        assert 0 < sent < size
        assert rig.data == new(0, sent) + bytes(size - sent) + rest
        await file.fsync()
        assert rig.uploaded_bytes() == size
        assert rig.data == new(0, size) + rest
        assert await file.pread(size, 0) == new(0, size)
        await file.close()


@CACHES
@PARTS
async def test_t12_a_cut_inside_a_run_leaves_its_front(
    tmp_path: Path, use_cache: bool, updates: bool
) -> None:
    """Written beyond the end, then cut in the middle of that."""
    async with async_rig(
        tmp_path, OLD, updates=updates, use_cache=use_cache, write_mode="back"
    ) as rig:
        file = await rig.client.open(URL, "r+b")
        model = ByteModel(OLD)
        for start, length, cut in ((SIZE - 50, 3 * B, SIZE + B), (SIZE + B - 7, 900, SIZE + B + 1)):
            await file.pwrite(new(start, length), start)
            model.write(start, new(start, length))
            await file.truncate(cut)
            model.truncate(cut)
            assert await file.pread(SIZE * 2, 0) == model.data
        await file.close()
        assert rig.data == model.data


@CACHES
@PARTS
async def test_t13_a_run_that_was_cut_off_is_not_sent(
    tmp_path: Path, use_cache: bool, updates: bool
) -> None:
    """Written beyond the end, and all of it cut off again: nothing is to be sent."""
    async with async_rig(
        tmp_path, OLD, updates=updates, use_cache=use_cache, write_mode="back"
    ) as rig:
        file = await rig.client.open(URL, "r+b")
        await file.pwrite(new(SIZE, 5 * B), SIZE)
        await file.truncate(SIZE)
        await file.fsync()
        assert await file.pread(SIZE + B, 0) == OLD
        await file.close()
        assert rig.uploads() == 0
        assert rig.data == OLD


@CACHES
@PARTS
async def test_t14_a_read_fills_the_gaps_round_a_write(
    tmp_path: Path, use_cache: bool, updates: bool
) -> None:
    """Parts of one cold block are written with reads between: nothing of either is lost."""
    async with async_rig(
        tmp_path, OLD, updates=updates, use_cache=use_cache, write_mode="back"
    ) as rig:
        file = await rig.client.open(URL, "r+b")
        model = ByteModel(OLD)
        for start, length in ((2 * B + 100, 50), (2 * B + 1000, 10), (2 * B + 90, 20), (2 * B, B)):
            await file.pwrite(new(start, length), start)
            model.write(start, new(start, length))
            assert await file.pread(B, 2 * B) == model.part(2 * B, 3 * B)
            assert bytes(await file.view(2 * B - 1, B + 2)) == model.part(2 * B - 1, 3 * B + 1)
        await file.close()
        assert rig.data == model.data
        async with await rig.client.open(URL) as shown:
            assert await shown.read() == model.data


@CACHES
@PARTS
@pytest.mark.parametrize("after", [False, True], ids=["before-it-is-stored", "after"])
async def test_t15_gaps_are_read_while_the_block_is_sent(
    tmp_path: Path, use_cache: bool, updates: bool, after: bool
) -> None:
    """The bytes round a write are asked for during its upload: they come, and without an error."""
    async with async_rig(
        tmp_path, OLD, updates=updates, use_cache=use_cache, write_mode="back"
    ) as rig:
        file = await rig.client.open(URL, "r+b")
        await file.pwrite(b"n" * 10, B + 5)
        held = rig.server.answers.hold("update" if updates else "put", after=after)
        sending = asyncio.ensure_future(file.fsync())
        await held.arrived.wait()
        reading = asyncio.ensure_future(file.pread(3 * B, 0))
        await file.pwrite(b"m" * 10, B + 10)
        second = asyncio.ensure_future(file.pread(3 * B, 0))
        await turns(lambda: reading.done() and second.done(), 300)
        held.release()
        model = ByteModel(OLD)
        model.write(B + 5, b"n" * 10)
        allowed = [model.part(0, 3 * B)]
        model.write(B + 10, b"m" * 10)
        allowed.append(model.part(0, 3 * B))
        assert await reading in allowed
        assert await second == allowed[-1]
        await sending
        await file.close()
        assert rig.data == model.data


@CACHES
@pytest.mark.parametrize("mode", ["through", "back"])
def test_t20_sizes_are_never_torn(tmp_path: Path, mode: str, use_cache: bool) -> None:
    """Cut, extended and written by one thread, read by others: each read is one of these states."""
    small, large = 3 * B + 17, 9 * B + 5
    server = MemoryServer()
    server.store(URL, pattern(0, large))
    full = pattern(0, large)
    states = {full, full[:small], full[:small] + bytes(large - small)}
    wrong: list[object] = []
    over = threading.Event()

    def read(file: netcache.File, seen: set[bytes]) -> None:
        buffer = bytearray(2 * large)
        while not over.is_set():
            count = file.preadinto(buffer, 0)
            seen.add(bytes(buffer[:count]))
            seen.add(file.pread(2 * large, 0))
            if file.size not in (small, large):
                wrong.append(file.size)

    with sync_client(tmp_path, server, write_mode=mode, use_cache=use_cache) as client:
        file = client.open(URL, "r+b")
        seen: list[set[bytes]] = [set(), set()]
        threads = [threading.Thread(target=read, args=(file, each)) for each in seen]
        for thread in threads:
            thread.start()
        for turn in range(60):
            file.truncate(small)
            file.truncate(large)
            file.pwrite(full[small:], small)
            if turn % 20 == 0:
                file.fsync()
        over.set()
        for thread in threads:
            thread.join()
        file.close()
    assert not wrong
    assert all(each <= states for each in seen)
    assert server.files[URL].data == full


@CACHES
async def test_t21_a_cancelled_read_leaves_nothing(tmp_path: Path, use_cache: bool) -> None:
    """Cancelled at each request of a cold read; the next read is whole."""
    for verb in ("read", "body"):
        async with async_rig(tmp_path / verb, OLD, use_cache=use_cache) as rig:
            file = await rig.client.open(URL)
            held = rig.server.answers.hold(verb)
            reading = asyncio.ensure_future(file.pread(SIZE, 0))
            await held.arrived.wait()
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            held.release()
            assert await file.pread(SIZE, 0) == OLD
            await file.close()
            assert await turns(lambda: not any(rig.stats["Objs"].values()))


async def test_t21_others_do_not_suffer_from_a_cancelled_read(tmp_path: Path) -> None:
    """Five wait for one exchange, the one that began it is cancelled."""
    async with async_rig(tmp_path, OLD) as rig:
        files = [await rig.client.open(URL) for _ in range(5)]
        held = rig.server.answers.hold("body")
        first = asyncio.ensure_future(files[0].pread(SIZE, 0))
        await held.arrived.wait()
        others = [asyncio.ensure_future(file.pread(SIZE, 0)) for file in files[1:]]
        await turns(lambda: False, 50)
        first.cancel()
        await turns(lambda: False, 50)
        held.release()
        assert await asyncio.gather(*others) == [OLD] * 4
        assert first.cancelled()
        for file in files:
            await file.close()


@CACHES
@PARTS
@pytest.mark.parametrize("after", [False, True], ids=["before-it-is-stored", "after"])
async def test_t24_two_flushes_of_one_file(
    tmp_path: Path, use_cache: bool, updates: bool, after: bool
) -> None:
    """The second begins while the first is held, with more bytes and another size."""
    async with async_rig(
        tmp_path, OLD, updates=updates, use_cache=use_cache, write_mode="back"
    ) as rig:
        one, two = await rig.client.open(URL, "r+b"), await rig.client.open(URL, "r+b")
        model = ByteModel(OLD)
        verb = "update" if updates else "put"
        await one.pwrite(new(0, 3 * B), 0)
        model.write(0, new(0, 3 * B))
        first_held, second_held = (rig.server.answers.hold(verb, after=after) for _ in range(2))
        first = asyncio.ensure_future(one.fsync())
        await first_held.arrived.wait()
        await two.pwrite(b"2" * B, B)
        await two.pwrite(b"end", SIZE + B)
        model.write(B, b"2" * B)
        model.write(SIZE + B, b"end")
        second = asyncio.ensure_future(two.fsync())
        await turns(lambda: second_held.arrived.is_set(), 200)
        assert not second_held.arrived.is_set(), "one writeback of a file at a time"
        assert not first.done()
        first_held.release()
        await first
        assert not second.done(), "what the second one sends was not acknowledged"
        await second_held.arrived.wait()
        second_held.release()
        await second
        assert rig.data == model.data
        assert await one.pread(2 * SIZE, 0) == model.data
        assert await one.size() == model.size
        await one.close()
        await two.close()
        async with await rig.client.open(URL) as shown:
            assert await shown.read() == model.data


@CACHES
@PARTS
async def test_t25_memory_that_runs_out_leaves_it_dirty(
    tmp_path: Path, use_cache: bool, updates: bool
) -> None:
    """An upload that dies of anything at all: its bytes are sent by the next one."""
    async with async_rig(
        tmp_path, OLD, updates=updates, use_cache=use_cache, write_mode="back"
    ) as rig:
        file = await rig.client.open(URL, "r+b")
        await file.pwrite(new(B + 1, 2 * B), B + 1)
        rig.server.answers.fail("update" if updates else "put", MemoryError, count=1)
        with pytest.raises(MemoryError):
            await file.fsync()
        assert rig.data == OLD
        await file.fsync()
        expected = OLD[: B + 1] + new(B + 1, 2 * B) + OLD[3 * B + 1 :]
        assert rig.data == expected
        await file.close()
        assert set((await rig.client.stats())["Objs"].values()) == {0}


@CACHES
async def test_t25_an_error_of_the_background_is_told_once(tmp_path: Path, use_cache: bool) -> None:
    """Written through: the upload behind it failed; ``fsync`` says so, the next one sends."""
    async with async_rig(tmp_path, OLD, use_cache=use_cache) as rig:
        file = await rig.client.open(URL, "r+b")
        rig.server.answers.fail("update", _refused, count=1)
        await file.pwrite(new(0, B), 0)
        assert await turns(lambda: rig.stats["UpldOps"]["uf"] == 1)
        with pytest.raises(netcache.TransientError):
            await file.fsync()
        await file.fsync()
        assert rig.data == new(0, B) + OLD[B:]
        await file.close()


@CACHES
@pytest.mark.parametrize("mode", ["rb", "r+b"])
@pytest.mark.parametrize("size", [0, 1, B - 1, B, SIZE])
async def test_t36_reads_at_and_past_the_end_are_empty(
    tmp_path: Path, size: int, mode: str, use_cache: bool
) -> None:
    """No error, and no bytes; the first read of a cold file, too."""
    for past in (0, 1, B, 10 * MIB):
        folder = tmp_path / f"{past}"
        async with (
            async_rig(folder, OLD[:size], use_cache=use_cache) as rig,
            await rig.client.open(URL, mode) as file,
        ):
            assert await file.pread(B, size + past) == b""
            assert await file.preadinto(bytearray(B), size + past) == 0
            assert bytes(await file.view(size + past, B)) == b""
            if size:
                assert await file.pread(B, size - 1) == OLD[size - 1 : size]


def _refused() -> Exception:
    return netcache.TransientError("refused on purpose")
