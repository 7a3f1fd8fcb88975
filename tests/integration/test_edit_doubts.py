"""Uploads whose outcome nobody told: they are not lost, and never a conflict with ourselves."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import netcache
from tests.support.bytemodel import pattern
from tests.support.memory_rig import URL, async_rig, turns

B = 4096
SIZE = 40 * B + 123
OLD = pattern(0, SIZE)
NEW = b"n" * 100
EXPECTED = OLD[:B] + NEW + OLD[B + 100 :]
CACHES = pytest.mark.parametrize("use_cache", [True, False], ids=["cache", "no-cache"])
PARTS = pytest.mark.parametrize("updates", [True, False], ids=["parts", "whole"])


def _lost() -> Exception:
    return netcache.TransientError("no reply came")


@CACHES
@PARTS
@pytest.mark.parametrize("after", [False, True], ids=["before-it-is-stored", "after"])
async def test_t21_a_cancelled_fsync_loses_nothing(
    tmp_path: Path, use_cache: bool, updates: bool, after: bool
) -> None:
    """The upload may have arrived or not: the next ``fsync`` is no conflict with ourselves."""
    async with async_rig(
        tmp_path, OLD, updates=updates, use_cache=use_cache, write_mode="back"
    ) as rig:
        file = await rig.client.open(URL, "r+b")
        await file.pwrite(NEW, B)
        held = rig.server.answers.hold("update" if updates else "put", after=after)
        sending = asyncio.ensure_future(file.fsync())
        await held.arrived.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        held.release()
        await file.fsync()
        assert rig.data == EXPECTED
        assert await file.pread(SIZE, 0) == EXPECTED
        await file.close()


@CACHES
@PARTS
@pytest.mark.parametrize("asked", ["stat", "read"])
async def test_a_doubt_lasts_until_it_is_resolved(
    tmp_path: Path, use_cache: bool, updates: bool, asked: str
) -> None:
    """A reply was lost, and the answer to what became of the upload, too: it is asked again."""
    async with async_rig(
        tmp_path, OLD, updates=updates, use_cache=use_cache, write_mode="back"
    ) as rig:
        file = await rig.client.open(URL, "r+b")
        await file.pwrite(NEW, B)
        rig.server.answers.fail("update" if updates else "put", _lost, count=1, after=True)
        with pytest.raises(netcache.TransientError):
            await file.fsync()
        assert rig.data == EXPECTED
        await file.pwrite(b"more", 9 * B)
        rig.server.answers.clear()
        rig.server.answers.fail(asked, _lost, count=1)
        for _ in range(3):
            try:
                await file.fsync()
            except netcache.TransientError:
                continue
            break
        assert rig.data == EXPECTED[: 9 * B] + b"more" + EXPECTED[9 * B + 4 :]
        await file.close()


@CACHES
@PARTS
async def test_a_doubt_does_not_blind_the_writer(
    tmp_path: Path, use_cache: bool, updates: bool
) -> None:
    """A reply was lost: what the writer reads next, from the server too, is what it wrote."""
    async with async_rig(
        tmp_path, OLD, updates=updates, use_cache=use_cache, write_mode="back"
    ) as rig:
        file = await rig.client.open(URL, "r+b")
        await file.pwrite(NEW, B)
        rig.server.answers.fail("update" if updates else "put", _lost, count=1, after=True)
        with pytest.raises(netcache.TransientError):
            await file.fsync()
        assert rig.data == EXPECTED
        assert await file.pread(SIZE, 0) == EXPECTED
        await file.close()
        assert await turns(lambda: not any(rig.stats["Objs"].values()))


@CACHES
@PARTS
@pytest.mark.parametrize("written_at", [B, SIZE], ids=["inside", "at-the-end"])
@pytest.mark.parametrize("cut_to", [2 * B, SIZE + 30], ids=["far", "near"])
async def test_a_cut_is_not_forgotten_over_a_doubt(
    tmp_path: Path, use_cache: bool, updates: bool, written_at: int, cut_to: int
) -> None:
    """A reply was lost, the file is cut and grows again: what the server has past the cut is not
    ours, though the version that it made is."""
    local = bytearray(OLD)
    async with async_rig(
        tmp_path, OLD, updates=updates, use_cache=use_cache, write_mode="back"
    ) as rig:
        file = await rig.client.open(URL, "r+b")
        await file.pwrite(NEW, written_at)
        local[written_at : written_at + len(NEW)] = NEW
        rig.server.answers.fail("update" if updates else "put", _lost, count=1, after=True)
        with pytest.raises(netcache.TransientError):
            await file.fsync()
        assert rig.data == bytes(local)
        await file.truncate(cut_to)
        del local[cut_to:]
        local.extend(bytes(cut_to - len(local)))
        await file.pwrite(b"more", cut_to + 40)
        local.extend(bytes(40) + b"more")
        assert await file.pread(2 * SIZE, 0) == bytes(local)
        await file.fsync()
        assert rig.data == bytes(local)
        assert await file.pread(2 * SIZE, 0) == bytes(local)
        await file.close()


@CACHES
@pytest.mark.parametrize("refused", [0, 1], ids=["first-part", "second-part"])
async def test_parts_that_were_offered_and_are_refused_go_as_the_whole(
    tmp_path: Path, use_cache: bool, refused: int
) -> None:
    """It ended in an assertion: one request cannot begin again at its beginning."""
    old = pattern(0, 3000 * B)
    async with async_rig(tmp_path, old, use_cache=use_cache, write_mode="back") as rig:
        file = await rig.client.open(URL, "r+b")
        await file.pwrite(NEW, B)
        await file.pwrite(NEW, 2000 * B)
        no_parts = netcache.NotOfferedError("no parts of this one")
        rig.server.answers.fail("update", lambda: no_parts, skip=refused)
        await file.fsync()
        expected = old[:B] + NEW + old[B + 100 : 2000 * B] + NEW + old[2000 * B + 100 :]
        assert rig.data == expected
        assert await file.pread(len(old), 0) == expected
        await file.close()
        assert await turns(lambda: not any(rig.stats["Objs"].values()))
        puts = [line for line in rig.server.requests if line.startswith("put ")]
        assert len(puts) == 1


@CACHES
@PARTS
async def test_a_reply_that_tells_no_version_and_a_question_without_answer(
    tmp_path: Path, use_cache: bool, updates: bool
) -> None:
    """The upload was acknowledged, and which version it made could not be asked: no conflict."""
    async with async_rig(
        tmp_path, OLD, updates=updates, tells_versions=False, use_cache=use_cache, write_mode="back"
    ) as rig:
        file = await rig.client.open(URL, "r+b")
        await file.pwrite(NEW, B)
        rig.server.answers.fail("stat", _lost, count=1)
        with pytest.raises(netcache.TransientError):
            await file.fsync()
        assert rig.data == EXPECTED
        await file.fsync()
        await file.close()
        assert rig.data == EXPECTED
