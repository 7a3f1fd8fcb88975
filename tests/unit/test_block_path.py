"""The block path (U-BK1 to U-BK5): offsets inside blocks, and exchanges side by side."""

from __future__ import annotations

import asyncio
import itertools
import random
import subprocess
import sys
from pathlib import Path

import pytest

import netcache
from netcache._core.extent import Extent
from netcache._netfs.direct_read import read_direct
from netcache.spi import ReadReply
from tests.integration.conftest import client, new_client, served
from tests.support.read_rig import Answer, B, ReadRig, ScriptedBackend, read_rig
from tests.support.served import Served, random_bytes

__all__ = ["client", "new_client", "served"]

EDGES = (0, 1, 511, 512, B - 1, B, B + 1, 2 * B - 1, 3 * B)


async def read(rig: ReadRig, start: int, end: int, *, direct: bool) -> bytes | None:
    """``[start, end)`` through the cache of a fresh inode, or past it."""
    inode = rig.inode()
    if direct:
        return await read_direct(rig.engine, inode, start, end)
    assert await rig.engine.ensure(inode, start, end)
    return rig.content(inode, start, end)


@pytest.mark.parametrize("direct", [False, True])
async def test_ubk1_unaligned_reads_begin_inside_the_block(tmp_path: Path, direct: bool) -> None:
    """U-BK1: every pair of edges, cold; from ``block + offset % B``, not from the block's start."""
    async with read_rig(tmp_path, 3 * B + 700) as rig:
        for start, end in itertools.combinations((*EDGES, len(rig.data)), 2):
            assert await read(rig, start, end, direct=direct) == rig.data[start:end], (start, end)


def test_ubk2_unaligned_writes_keep_the_rest_of_their_blocks(
    served: Served, client: netcache.Client
) -> None:
    """U-BK1, U-BK2: both directions, against a byte array; blocks are read before they change."""
    data = random_bytes(5 * B + 100, 2)
    url = served.put("data", data)
    model = bytearray(data)
    with client.open(url, "r+b") as file:
        for number, (start, end) in enumerate(itertools.combinations(EDGES, 2)):
            piece = random_bytes(end - start, number)
            assert file.pwrite(piece, start) == len(piece)
            model[start:end] = piece
            assert file.pread(len(model), 0) == model
    assert (served.root / "data").read_bytes() == model
    with client.open(url) as again:
        for start, end in itertools.combinations(EDGES, 2):
            assert again.pread(end - start, start) == model[start:end]


class Holding(ScriptedBackend):
    """Answers nothing until ``wanted`` exchanges are open at the same time."""

    wanted = 1 << 30
    reached: asyncio.Event

    async def open_read(self, url, extent=None, **options):  # type: ignore[no-untyped-def]
        reply: ReadReply = await super().open_read(url, extent, **options)
        if len(self.asked) >= self.wanted:
            self.reached.set()
        await self.reached.wait()
        return reply


class LimitedHolding(Holding):
    """Takes four blocks at a time."""

    def read_limit(self, url: str, extent: Extent) -> int:
        """See ``ReadLimit``."""
        return 4 * B


async def test_ubk3_all_children_are_issued_before_waiting(tmp_path: Path) -> None:
    """U-BK3: one read, split by the largest transfer; nobody waits for the one before."""
    backend = LimitedHolding()
    backend.reached = asyncio.Event()
    async with read_rig(tmp_path, 16 * B, backend=backend) as rig:
        backend.wanted = 4
        inode = rig.inode()
        assert await asyncio.wait_for(rig.engine.ensure(inode, 0, 16 * B), 20)
        assert backend.asked == [(at * B, (at + 4) * B) for at in range(0, 16, 4)]


async def test_ubk3_the_gaps_of_a_read_are_issued_before_waiting(tmp_path: Path) -> None:
    """U-BK3: many gaps in one read, more than one occupancy answer names."""
    backend = Holding()
    backend.reached = asyncio.Event()
    backend.reached.set()
    async with read_rig(tmp_path, 16 * B, backend=backend) as rig:
        inode = rig.inode()
        for at in range(1, 16, 2):
            await rig.engine.ensure(inode, at * B, (at + 1) * B)
        backend.asked.clear()
        backend.reached.clear()
        backend.wanted = 8
        assert await asyncio.wait_for(rig.engine.ensure(inode, 0, 16 * B), 20)
        assert sorted(backend.asked) == [(at * B, (at + 1) * B) for at in range(0, 16, 2)]
        assert rig.content(inode, 0, 16 * B) == rig.data


@pytest.mark.parametrize("callers", [1, 2, 7, 16])
async def test_ubk3_n_callers_keep_n_exchanges_in_flight(tmp_path: Path, callers: int) -> None:
    """U-BK3: no lock over them; each is answered only when all have been asked."""
    backend = Holding()
    backend.reached = asyncio.Event()
    async with read_rig(tmp_path, 64 * B, backend=backend, exchanges=16) as rig:
        backend.wanted = callers
        inode = rig.inode()
        reads = [rig.engine.ensure(inode, at * 4 * B, at * 4 * B + B) for at in range(callers)]
        assert all(await asyncio.wait_for(asyncio.gather(*reads), 20))
        assert len(backend.asked) == callers


async def test_ubk3_aligned_reads_are_one_request(tmp_path: Path) -> None:
    """U-BK3: one exchange for a buffer, not one for each block."""
    async with read_rig(tmp_path, 64 * B) as rig:
        assert await read(rig, 0, 64 * B, direct=False) == rig.data
        assert await read(rig, 0, 64 * B, direct=True) == rig.data
        assert rig.backend.asked == [(0, 64 * B)] * 2


@pytest.mark.parametrize("direct", [False, True])
async def test_ubk4_the_offset_is_added_once(tmp_path: Path, direct: bool) -> None:
    """U-BK4: subrequests far into the file, cut and retried, land at their places."""
    picks = random.Random(4)
    async with read_rig(tmp_path, 200 * B + 123, attempts=9) as rig:
        for number in range(60):
            rig.backend.answers[number] = Answer(
                breaks_after=picks.choice([None, 0, B, 5 * B]), piece=B, later=picks.randrange(2)
            )
        for _ in range(30):
            start = picks.randrange(len(rig.data) - 1)
            end = picks.randrange(start + 1, len(rig.data) + 1)
            assert await read(rig, start, end, direct=direct) == rig.data[start:end]


def test_ubk5_checks_hold_without_debug_assertions() -> None:
    """U-BK5: ``python -O`` drops assert statements; what guards the engine stays."""
    program = """
import sys
from netcache._core.extent import Extent
from netcache._core.read_sources import Piece, Source
from netcache._core.stats import Stats
from netcache._netfs.request import Origin, Request
from netcache.errors import InvariantError
assert False, "assertions are off here"
request = Request(Origin.READ, Extent(0, 10), Stats(), size=10)
caught = 0
for piece in (Piece(0, 0, Source.DOWNLOAD, True), Piece(5, 6, Source.DOWNLOAD, True)):
    try:
        request.stream.issue(piece)
    except InvariantError:
        caught += 1
for call in (lambda: request.collect_to(1), lambda: request.clean_to(1)):
    try:
        call()
    except InvariantError:
        caught += 1
print(caught)
"""
    done = subprocess.run(
        [sys.executable, "-O", "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "4"
