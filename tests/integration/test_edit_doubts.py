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


def _known(defect: str) -> pytest.MarkDecorator:
    """A defect that is known: to be deleted with it, for then the test passes."""
    return pytest.mark.xfail(reason=defect, raises=netcache.NetCacheError, strict=True)


def _lost() -> Exception:
    return netcache.TransientError("no reply came")


@CACHES
@PARTS
@pytest.mark.parametrize("after", [False, True], ids=["before-it-is-stored", "after"])
async def test_t21_a_cancelled_fsync_loses_nothing(
    tmp_path: Path, use_cache: bool, updates: bool, after: bool, request: pytest.FixtureRequest
) -> None:
    """The upload may have arrived or not: the next ``fsync`` is no conflict with ourselves."""
    if after and not updates:
        request.applymarker(_known("the upload of a whole file is not doubted when cancelled"))
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
    tmp_path: Path, use_cache: bool, updates: bool, asked: str, request: pytest.FixtureRequest
) -> None:
    """A reply was lost, and the answer to what became of the upload, too: it is asked again."""
    if updates or asked == "stat":
        request.applymarker(_known("a doubt whose question fails is taken for a conflict"))
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
    tmp_path: Path, use_cache: bool, updates: bool, request: pytest.FixtureRequest
) -> None:
    """A reply was lost: what the writer reads next, from the server too, is what it wrote."""
    if updates:
        request.applymarker(_known("a read does not resolve a doubt, and finds a strange version"))
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
        assert await turns(lambda: not any(rig.client.stats()["Objs"].values()))
