"""When what was written is sent, and what is told of it: T24, T25, fsync, limits, write-through.

The server is in memory, and answers when it is told to.
"""

from __future__ import annotations

import asyncio

import pytest

from netcache.errors import TransientError
from tests.support.memory_rig import turns
from tests.support.write_rig import BLOCK, DATA, URL, Rig, run


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
            assert (await client.stats())["WbLock"]["wait"] == 1
            assert (await client.stats())["UpldOps"]["bytes"] == 2 * BLOCK

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
            assert (await client.stats())["UpldOps"]["uf"] == 1

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


def test_a_cut_beside_a_write_that_waits_for_its_block_stays(rig: Rig) -> None:
    """The rest of the block came back with it: past a cut there are zeros (W10)."""

    async def scenario() -> None:
        rig.options["readahead"] = 0
        # Another version, of which nothing is cached.
        data = DATA[::-1]
        rig.server.store(URL, data)
        async with rig.client() as client, await client.open(URL, "r+b") as file:
            held = rig.server.answers.hold("read")
            writing = asyncio.ensure_future(file.pwrite(b"new", 20 * BLOCK + 500))
            await held.arrived.wait()
            await file.truncate(10 * BLOCK)
            held.release()
            await writing
            expected = data[: 10 * BLOCK] + bytes(10 * BLOCK + 500) + b"new"
            assert await file.pread(len(data), 0) == expected
            await file.fsync()
            assert rig.data == expected

    if rig.options["use_cache"]:
        # Without a cache nothing is read for a write.
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
            before = (await client.stats())["UpldOps"]["bytes"]
            rig.server.answers.fail("update", lambda: TransientError("cut"), count=1, skip=1)
            with pytest.raises(TransientError):
                await file.fsync()
            assert rig.data[:BLOCK] == b"a" * BLOCK
            await file.fsync()
            assert rig.data[6 * size : 6 * size + BLOCK] == b"b" * BLOCK
            assert (await client.stats())["UpldOps"]["bytes"] - before == 2 * BLOCK

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
                await client.cache.clear()
                await client.cache.cull(0)
            assert await file.pread(3, 100) == b"new"
            await file.fsync()
            assert rig.data == DATA[:100] + b"new" + DATA[103:]
            assert await file.pread(len(DATA), 0) == rig.data

    run(scenario())
