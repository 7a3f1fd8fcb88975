"""The read engine: failures of cache and server, cancellation at every point."""

from __future__ import annotations

import asyncio
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from netcache._core.extent import Extent
from netcache._core.urls import parse
from netcache._fscache.ports import CacheObject
from netcache._netfs.base_version import BaseVersion
from netcache._netfs.direct_read import read_direct
from netcache._netfs.dirty_file import DirtyFile
from netcache._netfs.dirty_pages import DirtyPages
from netcache._netfs.holding import CachedHolding
from netcache._netfs.survey import survey_of
from netcache.errors import (
    CacheError,
    RemoteError,
    StaleError,
    TransientError,
)
from tests.support.read_rig import (
    URL,
    Answer,
    B,
    broken,
    cached,
    read_rig,
    whole,
)


class FailingHolding:
    """Fails writes or records of an inode's holding from the n-th on."""

    def __init__(self, inner: object, *, writes: int = 1 << 40, records: int = 1 << 40) -> None:
        self._inner = inner
        self.writes = writes
        self.records = records

    def write(self, start: int, view: memoryview) -> None:
        """Fail when the count is used up."""
        self.writes -= 1
        if self.writes < 0:
            raise CacheError("disk")
        self._inner.write(start, view)  # type: ignore[attr-defined]

    def record(self, start: int, end: int) -> None:
        """Fail when the count is used up."""
        self.records -= 1
        if self.records < 0:
            raise CacheError("disk")
        self._inner.record(start, end)  # type: ignore[attr-defined]

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)


class Unproven(CachedHolding):
    """Says that all is there, and can prove none of it."""

    asked = 0

    def prove(self, start: int, end: int) -> Extent:
        """Fail; who asks without end is stopped."""
        self.asked += 1
        assert self.asked < 50, "again and again"
        raise CacheError("disk")

    def is_proven(self, start: int, end: int) -> bool:
        """Nothing is."""
        return False


@pytest.mark.parametrize("blocks", [2, 64])
async def test_what_is_there_and_cannot_be_proven_is_read_from_the_server(
    tmp_path: Path, blocks: int
) -> None:
    """Whoever looked for what is missing found nothing, and looked again, without end."""
    async with read_rig(tmp_path, blocks * B) as rig:
        inode = rig.inode()
        await rig.issue(inode, whole(rig))
        inode.holding = Unproven(cached(inode).object)
        assert not await rig.engine.ensure(inode, 0, len(rig.data))
        assert await read_direct(rig.engine, inode, 0, len(rig.data)) == rig.data


@pytest.mark.parametrize("count", range(6))
@pytest.mark.parametrize("what", ["writes", "records"])
@pytest.mark.parametrize("cut", [B, 1 << 40])
async def test_t29_t22_a_cache_that_fails_costs_no_read(
    tmp_path: Path, what: str, count: int, cut: int
) -> None:
    """T29, T22: the n-th write, or record, fails; the bytes come from the server, nothing leaks."""
    async with read_rig(tmp_path, 4 * B) as rig:
        inode = rig.inode()
        inode.holding = FailingHolding(inode.holding, **{what: count})  # type: ignore[assignment]
        request = await rig.issue(inode, whole(rig), cut_bytes=cut)
        if request.error is not None:
            assert isinstance(request.error, CacheError)
        inode.lose_holding()
        assert not await rig.engine.ensure(inode, 0, 4 * B)
        assert await read_direct(rig.engine, inode, 0, 4 * B) == rig.data


@pytest.mark.parametrize("turns", range(30))
async def test_t21_cancellation_at_every_point(tmp_path: Path, turns: int) -> None:
    """T21: every reply is released once, the future resolves once, what came is kept."""
    async with read_rig(tmp_path, 12 * B, attempts=4) as rig:
        rig.backend.default = Answer(later=1)
        rig.backend.answers[2] = Answer(breaks_after=B, later=1)
        inode = rig.inode()
        running = asyncio.ensure_future(rig.issue(inode, whole(rig), cut_bytes=3 * B))
        for _ in range(turns):
            await asyncio.sleep(0)
        running.cancel()
        result = await asyncio.gather(running, return_exceptions=True)
        assert len(result) == 1
        survey = survey_of(inode, *whole(rig))
        for start, end, _ in survey.extents:
            assert rig.content(inode, start, end) == rig.data[start:end]
        rig.check_idle()
        rig.backend.default = Answer()
        rig.backend.answers.clear()
        assert await rig.engine.ensure(inode, *whole(rig))
        assert rig.content(inode, *whole(rig)) == rig.data


@pytest.mark.parametrize("turns", range(0, 24, 2))
async def test_t21_direct_reads_may_be_cancelled_anywhere(tmp_path: Path, turns: int) -> None:
    """T21: into memory, from cache and server."""
    async with read_rig(tmp_path, 12 * B) as rig:
        inode = rig.inode()
        await rig.engine.ensure(inode, 4 * B, 8 * B)
        rig.backend.default = Answer(later=1)
        running = asyncio.ensure_future(read_direct(rig.engine, inode, 0, 12 * B))
        for _ in range(turns):
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        rig.check_idle()
        assert await read_direct(rig.engine, inode, 0, 12 * B) == rig.data


@pytest.mark.parametrize("turns", range(0, 12))
async def test_t21_closing_the_engine_ends_every_reader(tmp_path: Path, turns: int) -> None:
    """T21: readers of a shared flight hear that it was given up; nobody asks anew."""
    async with read_rig(tmp_path, 12 * B) as rig:
        rig.backend.default = Answer(later=3)
        inode = rig.inode()
        readers = [
            asyncio.ensure_future(rig.engine.ensure(inode, at * B, (at + 1) * B, 12 * B))
            for at in range(3)
        ]
        for _ in range(turns):
            await asyncio.sleep(0)
        await rig.engine.close()
        if turns >= 2:
            results = await asyncio.gather(*readers, return_exceptions=True)
            assert all(r is True or isinstance(r, TransientError) for r in results)
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
        await rig.engine.close()


async def test_closing_the_engine_waits_for_what_was_left_for_later(tmp_path: Path) -> None:
    """The loop ends right behind it, and a connection would never be closed."""
    async with read_rig(tmp_path, B) as rig:
        closed = 0

        async def close() -> None:
            nonlocal closed
            for _ in range(5):
                await asyncio.sleep(0)
            closed += 1

        async def fail() -> None:
            raise ValueError("no more")

        for work in (close(), fail(), close()):
            rig.means.later(work)
        await rig.engine.close()
        assert closed == 2


async def test_a_reader_who_leaves_does_not_end_the_flight(tmp_path: Path) -> None:
    """Others wait for the same bytes."""
    async with read_rig(tmp_path, 12 * B) as rig:
        rig.backend.default = Answer(later=3)
        inode = rig.inode()
        first = asyncio.ensure_future(rig.engine.ensure(inode, 0, B))
        second = asyncio.ensure_future(rig.engine.ensure(inode, 0, B))
        await asyncio.sleep(0)
        first.cancel()
        assert await second
        assert len(rig.backend.asked) == 1


async def test_a_version_that_changed_ends_the_readers(tmp_path: Path) -> None:
    """P1: nobody goes on with the new version under the old inode."""
    async with read_rig(tmp_path, 12 * B) as rig:
        inode = rig.inode()
        rig.backend.answers[0] = Answer(head_error=StaleError("changed"))
        with pytest.raises(StaleError):
            await rig.engine.ensure(inode, 0, B)
        assert rig.engine.inodes.find(inode.resource) is not inode


@pytest.mark.parametrize("number", range(6))
async def test_t22_an_error_at_every_exchange(tmp_path: Path, number: int) -> None:
    """T22: the n-th exchange fails, in its head or body; nothing leaks, no wrong byte shows."""
    for answer in (
        Answer(head_error=broken()),
        Answer(breaks_after=B, body_error=None, later=1),
        Answer(extra=B),
        Answer(offers=0),
    ):
        async with read_rig(tmp_path / repr(answer)[:40], 12 * B) as rig:
            rig.backend.answers[number] = answer
            inode = rig.inode()
            request = await rig.issue(inode, whole(rig), cut_bytes=2 * B)
            for start, end, _ in survey_of(inode, *whole(rig)).extents:
                assert rig.content(inode, start, end) == rig.data[start:end]
            for extent, error in request.failures:
                assert extent.length
                assert str(error)


async def test_t03_a_failing_read_inside_a_write_lets_go_of_everything_once(
    tmp_path: Path,
) -> None:
    """T3: the rest of a block cannot be read; the write goes on, every lock was released once."""
    async with read_rig(tmp_path, 4 * B) as rig:
        rig.backend.default = Answer(head_error=broken())
        inode = rig.inode()
        base = BaseVersion(inode, rig.engine)
        holding = cached(inode)
        claims = ClaimCounter(holding.object)
        holding.object = claims  # type: ignore[assignment]
        with tempfile.TemporaryFile(buffering=0) as private:
            file = DirtyFile(
                parse(URL),
                base,
                DirtyPages(private),
                rig.stats,
                block_size=B,
                atomic=True,
                on_dirty=lambda _: None,
            )
            await file.write(memoryview(b"new"), B + 10)
            assert len(rig.backend.asked) == 1
            assert claims.given_back == claims.taken == 1
            with ThreadPoolExecutor(1) as pool:
                # Another thread gets the file's lock: it is free, not held once too often.
                assert pool.submit(file.try_read_into, memoryview(bytearray(3)), B + 10).result()
            file.close()


class ClaimCounter:
    """A cache object that counts the claims of its extents."""

    def __init__(self, inner: CacheObject) -> None:
        self._inner = inner
        self.taken = 0
        self.given_back = 0

    def try_lock_extent(self, start: int, end: int) -> bool:
        """Claim."""
        got = self._inner.try_lock_extent(start, end)
        self.taken += got
        return got

    def unlock_extent(self, start: int, end: int) -> None:
        """Give back."""
        self.given_back += 1
        self._inner.unlock_extent(start, end)

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)


@pytest.mark.parametrize("waits", [False, True])
async def test_a_failed_readahead_costs_the_reader_nothing(tmp_path: Path, waits: bool) -> None:
    """Best effort: who waits for what was only read ahead, or comes later, asks for himself."""
    async with read_rig(tmp_path, 12 * B) as rig:
        rig.backend.answers[0] = Answer(head_error=broken(), later=3)
        inode = rig.inode()
        rig.engine.go_ahead(inode, 0, 8 * B)
        assert rig.count("Reads", "RA") == 1
        if not waits:
            await asyncio.gather(*(flight.task for flight in inode.flights))
            await asyncio.sleep(0)
        assert await rig.engine.ensure(inode, 0, 4 * B)
        assert rig.content(inode, 0, 4 * B) == rig.data[: 4 * B]
        assert len(rig.backend.asked) == 2


async def test_the_readers_own_error_is_raised(tmp_path: Path) -> None:
    """After a failed readahead the reader's own request may fail too: that counts."""
    async with read_rig(tmp_path, 12 * B) as rig:
        rig.backend.default = Answer(head_error=broken(), later=3)
        inode = rig.inode()
        rig.engine.go_ahead(inode, 0, 8 * B)
        with pytest.raises(RemoteError):
            await rig.engine.ensure(inode, 0, 4 * B)
        assert len(rig.backend.asked) == 2


async def test_nothing_is_read_ahead_under_pressure(tmp_path: Path) -> None:
    """U-RA6."""
    async with read_rig(tmp_path, 12 * B) as rig:
        inode = rig.inode()
        rig.engine.under_pressure = lambda: True
        rig.engine.go_ahead(inode, 0, 8 * B)
        assert not inode.flights
        assert rig.backend.asked == []
