"""Writers that end while something of theirs is under way: cancelled, aborted, or closed."""

from __future__ import annotations

import asyncio
import functools
from pathlib import Path
from typing import Any

import pytest

import netcache
from netcache._core.coherency import Validator, ValidatorKind, Version
from netcache._finishing import finished
from netcache.backends.memory_server import MemoryFile
from tests.support.bytemodel import pattern
from tests.support.memory_rig import URL, AsyncRig, async_rig, turns
from tests.support.schedules import run_scheduled

B = 4096
OLD = pattern(0, 3 * B + 100)
NEW = OLD[:B] + b"new" + OLD[B + 3 :]
CACHES = pytest.mark.parametrize("use_cache", [True, False], ids=["cache", "no-cache"])
PARTS = pytest.mark.parametrize("updates", [True, False], ids=["parts", "whole"])


async def turns_until_idle(rig: AsyncRig, most: int) -> bool:
    """Whether no request or buffer is alive within so many turns."""
    return await turns(lambda: not any(rig.stats["Objs"].values()), most)


def writes_under_way(rig: AsyncRig) -> int:
    """How many uploads and cache writes have begun and not ended."""
    stats = rig.stats
    uploads, writes = stats["UpldOps"], stats["CaWrOps"]
    return uploads["UL"] - uploads["us"] + writes["WR"] - writes["ws"] - writes["wf"]


@CACHES
@PARTS
def test_a_cancelled_fsync_ends_after_its_cache_write(
    tmp_path: Path, use_cache: bool, updates: bool
) -> None:
    """Wherever it is cancelled: that is what is raised, and nothing of the upload goes on."""

    async def scenario(steps: int, seed: int) -> bool:
        options: dict[str, Any] = {"updates": updates, "use_cache": use_cache, "write_mode": "back"}
        async with async_rig(tmp_path / f"{steps} {seed}", OLD, **options) as rig:
            file = await rig.client.open(URL, "r+b")
            await file.pwrite(b"new", B)
            syncing = asyncio.ensure_future(file.fsync())
            for _ in range(steps):
                await asyncio.sleep(0)
            cut_off = syncing.cancel()
            if cut_off:
                with pytest.raises(asyncio.CancelledError):
                    await syncing
            # A flight that brings the rest of the whole goes on: it is not the upload's own.
            assert await turns_until_idle(rig, 20_000 if not updates else 1)
            await file.close()
            assert rig.data == NEW
            return cut_off

    cases = [(steps, seed) for steps in range(16) for seed in (0, steps + 1)]
    cut_off = [run_scheduled(functools.partial(scenario, *case), case[1]) for case in cases]
    assert sum(cut_off) >= 6


@CACHES
@PARTS
@pytest.mark.parametrize("after", [False, True], ids=["before-it-is-stored", "after"])
async def test_an_abort_while_an_upload_stands_still_leaves_nothing_behind(
    tmp_path: Path, use_cache: bool, updates: bool, after: bool
) -> None:
    """The upload ends as it may, the file is let go after it, and what waited sends nothing."""
    options: dict[str, Any] = {"updates": updates, "use_cache": use_cache, "write_mode": "back"}
    async with async_rig(tmp_path, OLD, **options) as rig:
        file = await rig.client.open(URL, "r+b")
        await file.pwrite(b"new", B)
        held = rig.server.answers.hold("update" if updates else "put", after=after)
        syncing = [asyncio.ensure_future(file.fsync()) for _ in range(2)]
        await held.arrived.wait()
        await file.pwrite(b"lost", 0)
        await file.abort()
        held.release()
        ends = await asyncio.gather(*syncing, return_exceptions=True)
        assert ends[0] is None or isinstance(ends[0], netcache.ClosedError)
        assert isinstance(ends[1], netcache.ClosedError)
        assert rig.data == (OLD if isinstance(ends[0], netcache.ClosedError) and not after else NEW)
        assert rig.client._core.remote().dirty.unsent_bytes == 0
        async with await rig.client.open(URL, "r+b") as again:
            assert await again.pread(len(OLD), 0) == rig.data


@CACHES
async def test_a_read_that_goes_on_after_the_close_of_its_file_is_told_so(
    tmp_path: Path, use_cache: bool
) -> None:
    """It was under way: it gets its bytes, or hears that the file is closed."""
    async with async_rig(tmp_path, OLD, use_cache=use_cache) as rig:
        file = await rig.client.open(URL, "r+b")
        await file.pwrite(b"new", B)
        await file.fsync()
        held = rig.server.answers.hold("read")
        reading = [asyncio.ensure_future(file.pread(B, at * B)) for at in (0, 2)]
        await held.arrived.wait()
        await file.close()
        held.release()
        for start, end in zip(
            (0, 2), await asyncio.gather(*reading, return_exceptions=True), strict=True
        ):
            if not isinstance(end, netcache.ClosedError):
                assert end == NEW[start * B : start * B + B]


@CACHES
def test_an_aborted_background_upload_ends_after_its_cache_write(
    tmp_path: Path, use_cache: bool
) -> None:
    """Wherever it is: afterwards nothing of it goes on, and what is read next stays cached."""

    async def scenario(steps: int, seed: int) -> bool:
        options: dict[str, Any] = {"updates": True, "use_cache": use_cache}
        async with async_rig(tmp_path / f"{steps} {seed}", OLD, **options) as rig:
            file = await rig.client.open(URL, "r+b")
            await file.pwrite(b"new", B)
            for _ in range(steps):
                await asyncio.sleep(0)
            under_way = writes_under_way(rig)
            await file.abort()
            assert not writes_under_way(rig)
            async with await rig.client.open(URL) as reader:
                assert await reader.pread(len(OLD), 0) == rig.data
            if use_cache:
                fetched = (await rig.client.stats())["DownOps"]["bytes"]
                async with await rig.client.open(URL) as reader:
                    assert await reader.pread(len(OLD), 0) == rig.data
                assert (await rig.client.stats())["DownOps"]["bytes"] == fetched
            return bool(under_way)

    cases = [(steps, seed) for steps in range(24) for seed in (0, steps + 1)]
    under_way = [run_scheduled(functools.partial(scenario, *case), case[1]) for case in cases]
    assert any(under_way)


async def test_what_must_be_finished_is_finished_however_often_it_is_cancelled() -> None:
    """The cancellation is raised in the end, and an error of the work is not."""
    going_on = asyncio.Event()
    ended: list[str] = []

    async def work() -> None:
        await going_on.wait()
        ended.append("work")
        raise OSError("nobody is told")

    async def caller() -> None:
        try:
            await finished(work())
        finally:
            ended.append("caller")

    task = asyncio.ensure_future(caller())
    for _ in range(3):
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    going_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["work", "caller"]


@CACHES
@pytest.mark.parametrize("ended_by", ["no-journal", "an-error", "a-cancellation"])
async def test_an_edit_that_does_not_begin_holds_nothing(
    tmp_path: Path, use_cache: bool, ended_by: str
) -> None:
    """It kept the version in use, so that it was never culled, and its place in the journal."""
    options: dict[str, Any] = {"use_cache": use_cache, "durability": "journal"}
    uploads = tmp_path / "uploads"
    async with async_rig(tmp_path, OLD, **options) as rig:
        if ended_by == "no-journal":
            uploads.write_bytes(b"in the way")
            with pytest.raises(netcache.CacheError):
                await rig.client.open(URL, "r+b")
        else:
            weak = Validator(ValidatorKind.WEAK_ETAG, 'W/"1"')
            rig.server.files[URL] = MemoryFile(OLD, Version(weak, len(OLD), None))
            held = rig.server.answers.hold("body")
            opening = asyncio.ensure_future(rig.client.open(URL, "r+b"))
            await held.arrived.wait()
            if ended_by == "an-error":
                held.release(netcache.TransientError("no reply came"))
                with pytest.raises(netcache.TransientError):
                    await opening
            else:
                opening.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await opening
            assert not list(uploads.iterdir())
        (inode,) = rig.client._core.inodes.all()
        assert not inode.users
