"""What is cached stays so while the server is asked about it, however much goes on beside."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from netcache._netfs.engine import DIRECT_BYTES_MAX
from netcache._netfs.inode import Inode
from netcache._netfs.inodes import InodeTable
from tests.support.bytemodel import pattern
from tests.support.memory_rig import URL, AsyncRig, async_rig, turns

DATA = pattern(0, 300_000)
MANY = 200
"""More than may lie idle."""


def reads(rig: AsyncRig) -> list[str]:
    """The requests for bytes."""
    return [line for line in rig.server.requests if line.startswith("read ")]


async def test_culling_does_not_take_what_is_being_checked(tmp_path: Path) -> None:
    """It closed the inode under the question, and all of it was fetched again, past the cache."""
    async with async_rig(tmp_path, DATA) as rig:
        await rig.client.warm(URL)
        rig.server.requests.clear()
        held = rig.server.answers.hold("stat")
        file = await rig.client.open(URL)
        reading = asyncio.ensure_future(file.pread(len(DATA), 0))
        await held.arrived.wait()
        await rig.client.cache.cull(0)
        held.release()
        assert await reading == DATA
        assert reads(rig) == []
        assert (await rig.client.cache.map(URL)).cached_bytes == len(DATA)
        await file.close()


@pytest.mark.parametrize("how", ["warm", "get"])
async def test_what_was_brought_whole_can_be_culled(tmp_path: Path, how: str) -> None:
    """All bytes were there, and he who had brought them had the object in use for a moment more:
    ``cull`` right behind it found nothing to discard."""
    async with async_rig(tmp_path / "cache", DATA) as rig:
        held = rig.server.answers.hold("body", after=True)
        work = rig.client.warm(URL) if how == "warm" else rig.client.get(URL, tmp_path / "copy")
        bringing = asyncio.ensure_future(work)
        await held.arrived.wait()
        early = await turns(bringing.done, 5000)
        objects, _ = (await rig.client.cache.cull(0)) if early else (1, 0)
        held.release()
        await bringing
        assert (early, objects) == (False, 1)
        assert (await rig.client.cache.cull(0))[0] == 1


async def test_many_that_are_checked_at_once_all_stay(tmp_path: Path) -> None:
    """Those that were asked about first were closed for those that came last."""
    urls = [f"http://memory.invalid/{n}" for n in range(MANY)]
    async with async_rig(tmp_path, DATA) as rig:
        for url in urls:
            rig.server.store(url, DATA[:5000])
            await rig.client.warm(url)
        rig.server.requests.clear()
        held = rig.server.answers.hold("stat", count=MANY)
        files = [await rig.client.open(url) for url in urls]
        reading = asyncio.gather(*(file.pread(5000, 0) for file in files))
        assert await turns(lambda: len(rig.server.requests) == MANY)
        held.release()
        assert set(await reading) == {DATA[:5000]}
        assert reads(rig) == []
        for file in files:
            await file.close()


@pytest.mark.parametrize("verb", ["get", "warm"])
async def test_a_cache_that_fails_in_a_check_leaves_memory_alone(
    tmp_path: Path, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that was missing came into memory, however much that was."""
    data = pattern(1, 3 * DIRECT_BYTES_MAX)
    async with async_rig(tmp_path / "cache", data) as rig:
        await rig.client.warm(URL, 0, 100_000)
        found_current = InodeTable.found_current
        lost: list[Inode] = []

        def fails(table: InodeTable, inode: Inode, asked_at: float) -> None:
            found_current(table, inode, asked_at)
            inode.lose_holding()
            lost.append(inode)

        monkeypatch.setattr(InodeTable, "found_current", fails)
        if verb == "get":
            await rig.client.get(URL, tmp_path / "out")
            assert (tmp_path / "out").read_bytes() == data
        else:
            file = await rig.client.open(URL)
            assert await file.pread(len(data), 0) == data
            await file.close()
        assert lost
        assert all(len(inode.memory[1]) <= DIRECT_BYTES_MAX for inode in lost)
