"""The read engine: zeros, reads into memory, sizes, servers without ranges."""

from __future__ import annotations

import asyncio
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from netcache._core.coherency import Version
from netcache._core.extent import Extent
from netcache._core.read_sources import Piece, Source
from netcache._core.sizes import Sizes
from netcache._netfs.direct_read import read_direct
from netcache._netfs.read_issuer import Issuer
from netcache._netfs.request import Origin, Request
from netcache.spi import BodySink, ReadReply
from tests.support.read_rig import (
    Answer,
    B,
    ScriptedBackend,
    down,
    read_rig,
    whole,
)

MIB = 1 << 20


async def test_at_and_past_the_zero_point_nobody_is_asked(tmp_path: Path) -> None:
    """The zeros are copied to the cache, so the object keeps holding everything."""
    async with read_rig(tmp_path, 10 * B) as rig:
        inode = rig.inode()
        inode.sizes = Sizes(10 * B, 10 * B, 3 * B)
        assert await rig.engine.ensure(inode, 0, 10 * B)
        assert rig.backend.asked == [(0, 3 * B)]
        assert rig.content(inode, 0, 10 * B) == rig.data[: 3 * B] + bytes(7 * B)
        assert rig.count("ZeroOps", "ZR") == 1
        assert inode.cached is not None
        assert inode.cached.object.content.name == "ALL"


@pytest.mark.parametrize("zero_point", [3 * B + 100, 4 * B - 1])
async def test_a_zero_point_inside_a_block(tmp_path: Path, zero_point: int) -> None:
    """Only what may be there is asked for; the block is filled up with zeros."""
    async with read_rig(tmp_path, 10 * B) as rig:
        inode = rig.inode()
        inode.sizes = Sizes(10 * B, 10 * B, zero_point)
        assert await rig.engine.ensure(inode, 0, 10 * B)
        assert rig.backend.asked == [(0, zero_point)]
        expected = rig.data[:zero_point].ljust(10 * B, b"\0")
        assert rig.content(inode, 0, 10 * B) == expected
        direct = await read_direct(rig.engine, inode, 0, 10 * B)
        assert direct == expected


async def test_a_direct_read_takes_from_the_cache_what_it_has(tmp_path: Path) -> None:
    """Cache and server side by side; one occupancy answer names the pieces."""
    async with read_rig(tmp_path, 10 * B) as rig:
        inode = rig.inode()
        await rig.engine.ensure(inode, 2 * B, 4 * B)
        rig.backend.asked.clear()
        assert await read_direct(rig.engine, inode, 100, 10 * B - 100) == rig.data[100:-100]
        assert rig.backend.asked == [(100, 2 * B), (4 * B, 10 * B - 100)]
        assert rig.count("CaRdOps", "RD") == rig.count("CaRdOps", "rs") == 1


async def test_a_cache_read_that_gives_nothing_comes_from_the_server(tmp_path: Path) -> None:
    """Row 9: counted as failed, and as downloaded instead."""
    async with read_rig(tmp_path, 10 * B) as rig:
        inode = rig.inode()
        pieces = [down(0, 2 * B), Piece(2 * B, 6 * B, Source.CACHE, False), down(6 * B, 10 * B)]
        request, data = await rig.issue_to_memory(pieces, inode=inode)
        assert request.error is None
        assert data == rig.data
        assert (2 * B, 6 * B) in rig.backend.asked
        assert rig.count("CaRdOps", "rf") == 1
        assert rig.count("DownOps", "di") == 1


async def test_t36_reads_at_and_past_the_end_are_empty() -> None:
    """T36: no error, and nobody is asked."""
    async with read_rig(None, 3 * B + 5) as rig:
        inode = rig.inode()
        end = len(rig.data)
        assert await read_direct(rig.engine, inode, end, end + 10) == b""
        assert await read_direct(rig.engine, inode, end + 10, end + 20) == b""
        assert rig.backend.asked == []
        assert await read_direct(rig.engine, inode, end - 1, end + 20) == rig.data[-1:]


async def test_a_server_without_ranges_is_read_from_the_front() -> None:
    """What was not asked for is passed over; the rest of the body is not waited for."""
    async with read_rig(None, 10 * B) as rig:
        rig.backend.default = Answer(whole=True)
        inode = rig.inode()
        assert await read_direct(rig.engine, inode, 100, 5 * B + 7) == rig.data[100 : 5 * B + 7]
        assert len(rig.backend.asked) == 1
        assert rig.count("DownOps", "bytes") <= 6 * B


async def test_the_whole_instead_of_a_part_is_taken_once(tmp_path: Path) -> None:
    """A server that stops honouring ranges: one body brings everything, to all who wait."""
    async with read_rig(tmp_path, 10 * B) as rig:
        rig.backend.default = Answer(whole=True, later=2)
        inode = rig.inode()
        reads = [rig.engine.ensure(inode, at * B, (at + 1) * B) for at in (7, 2, 5)]
        assert all(await asyncio.wait_for(asyncio.gather(*reads), 20))
        assert rig.content(inode, *whole(rig)) == rig.data
        assert rig.count("DownOps", "bytes") <= 11 * B


async def test_t20_the_three_sizes_are_read_as_one() -> None:
    """T20: threads cut, extend and upload; a reader never sees sizes of two states."""
    async with read_rig(None, 8 * B) as rig:
        inode = rig.inode()
        inode.sizes = Sizes.of(0)
        stop = threading.Event()
        seen = 0

        def change(seed: int) -> None:
            picks = random.Random(seed)
            while not stop.is_set():
                # Every state that is ever published has these proportions.
                size = picks.randrange(1, 1 << 40)
                inode.sizes = Sizes(3 * size, 2 * size, size)

        with ThreadPoolExecutor(2) as pool:
            writers = [pool.submit(change, seed) for seed in range(2)]
            try:
                for _ in range(20_000):
                    local, remote, zero_point = inode.sizes
                    assert (local, remote) == (3 * zero_point, 2 * zero_point)
                    assert inode.sizes.remote_limit >= 0
                    seen += local != 0
            finally:
                stop.set()
            for writer in writers:
                writer.result()
        assert seen


class Discard:
    """A sink that keeps nothing."""

    block_size = 1
    loads = False
    takes_whole = True

    def put(self, start: int, view: memoryview, eof: int) -> int:
        """Take it."""
        return start + len(view)

    def zero(self, start: int, end: int) -> None:
        """Take it."""

    async def load(self, start: int, end: int) -> int:
        """Nothing is cached."""
        return 0

    def record(self, start: int, end: int) -> None:
        """Nobody reads it."""

    def cancel(self, start: int, end: int) -> None:
        """Nothing was kept."""


class HugeReply:
    """A body of zeros of any length."""

    not_modified = False
    whole = False
    ranges_supported: bool | None = True

    def __init__(self, extent: Extent, version: Version) -> None:
        self.extent = extent
        self.version: Version | None = version

    async def receive(self, sink: BodySink, *, notice_bytes: int = 1 << 20) -> int:
        """In pieces of 16 MiB, the same memory each time."""
        piece = memoryview(bytes(16 * MIB))
        for start in range(*self.extent, 16 * MIB):
            sink(start, piece[: self.extent.end - start])
        return self.extent.length

    async def close(self) -> None:
        """Nothing is held."""


class HugeBackend(ScriptedBackend):
    """Everything there is, of a resource of a terabyte."""

    async def open_read(  # type: ignore[override]
        self, url: str, extent: Extent, *, expected: Version, unless: None = None
    ) -> ReadReply:
        """See the port."""
        return HugeReply(extent, expected._replace(size=1 << 40))


async def test_t30_an_exchange_of_more_than_two_gigabytes() -> None:
    """T30: byte counts are not cut to 31 or 32 bits."""
    start, length = (5 << 32) + B, (4 << 30) + 3 * B
    async with read_rig(None, B, backend=HugeBackend()) as rig:
        inode = rig.inode()
        extent = Extent(start, start + length)
        request = Request(Origin.READ, extent, rig.stats, size=1 << 40)
        issuer = Issuer(request, inode, Discard(), rig.means, resumable=True)
        await issuer.run([down(*extent)], 3 << 30)
        request.finish()
        assert request.error is None
        assert request.collected_to == extent.end
        assert rig.count("DownOps", "bytes") == inode.received_bytes == length
