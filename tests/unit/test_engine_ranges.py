"""The read engine: several short extents in one exchange, where the way is long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from netcache._core.read_sources import Piece, Source
from netcache._netfs.direct_read import read_direct
from netcache._netfs.inode import Inode
from netcache._netfs.read_ranges import RANGES_BYTES_MAX, RANGES_MAX, group_of
from netcache._netfs.survey import survey_of
from netcache.errors import NotOfferedError, StaleError
from tests.support.read_rig import Answer, B, ReadRig, broken, read_rig, whole

GAPS = [(0, 2 * B), (4 * B, 6 * B)]


@asynccontextmanager
async def rig_with_gaps(folder: Path) -> AsyncIterator[tuple[ReadRig, Inode]]:
    """Two cached extents behind two gaps, a server far away."""
    async with read_rig(folder, 8 * B) as rig:
        inode = rig.inode()
        await rig.engine.ensure(inode, 2 * B, 4 * B)
        await rig.engine.ensure(inode, 6 * B, 8 * B)
        rig.backend.asked.clear()
        rig.move_far_away()
        yield rig, inode


def test_only_short_downloads_are_joined() -> None:
    """A group begins and ends with a download; what is long, or alone, comes apart."""

    def piece(start: int, length: int, source: Source = Source.DOWNLOAD) -> Piece:
        return Piece(start, start + length, source, True)

    assert group_of([piece(0, B)]) == 0
    assert group_of([piece(0, B), piece(B, B, Source.CACHE)]) == 0
    assert group_of([piece(0, B), piece(B, B, Source.CACHE), piece(2 * B, B)]) == 3
    assert group_of([piece(0, B, Source.CACHE), piece(B, B), piece(3 * B, B)]) == 0
    assert group_of([piece(0, B), piece(2 * B, B), piece(4 * B, B, Source.ZERO)]) == 2
    assert group_of([piece(0, RANGES_BYTES_MAX), piece(1 << 30, B)]) == 0
    assert group_of([piece(at * 2 * B, B) for at in range(100)]) == RANGES_MAX


async def test_gaps_come_in_one_exchange(tmp_path: Path) -> None:
    """One request, one exchange, every byte at its place."""
    async with rig_with_gaps(tmp_path) as (rig, inode):
        downloads = rig.count("DownOps", "DL")
        assert await rig.engine.ensure(inode, *whole(rig))
        assert rig.backend.asked_ranges == [GAPS]
        assert rig.backend.asked == []
        assert rig.content(inode, *whole(rig)) == rig.data
        assert rig.count("DownOps", "DL") == downloads + 1


async def test_a_direct_read_joins_its_gaps_too(tmp_path: Path) -> None:
    """Into memory: the cached parts are read meanwhile."""
    async with rig_with_gaps(tmp_path) as (rig, inode):
        assert await read_direct(rig.engine, inode, 10, 8 * B - 10) == rig.data[10:-10]
        assert rig.backend.asked_ranges == [[(10, 2 * B), (4 * B, 6 * B)]]
        assert rig.count("CaRdOps", "RD") == 2


async def test_a_server_next_door_is_asked_for_each(tmp_path: Path) -> None:
    """Where an answer comes at once several exchanges cost nothing."""
    async with rig_with_gaps(tmp_path) as (rig, inode):
        rig.means.note_head(0.0)
        assert await rig.engine.ensure(inode, *whole(rig))
        assert rig.backend.asked_ranges == []
        assert rig.backend.asked == GAPS


async def test_a_server_that_gives_one_at_a_time_is_asked_so(tmp_path: Path) -> None:
    """NotOffered is no error and no attempt."""
    async with rig_with_gaps(tmp_path) as (rig, inode):
        rig.backend.ranges_answers[0] = Answer(head_error=NotOfferedError("one at a time"))
        assert await rig.engine.ensure(inode, *whole(rig))
        assert rig.backend.asked == GAPS
        assert rig.content(inode, *whole(rig)) == rig.data
        assert rig.count("Retries", "rs") == 0


@pytest.mark.parametrize("blocks", range(4))
@pytest.mark.parametrize("how", ["broken", "left out", "refused"])
async def test_what_did_not_come_is_asked_for_apart(tmp_path: Path, how: str, blocks: int) -> None:
    """A body that breaks off anywhere, ranges that were left out, a refusal in the middle."""
    async with rig_with_gaps(tmp_path) as (rig, inode):
        answer = Answer(breaks_after=blocks * B)
        if how == "left out":
            answer = Answer(offers=blocks * B)
        if how == "refused":
            answer = Answer(breaks_after=blocks * B, body_error=NotOfferedError("too much"))
        rig.backend.ranges_answers[0] = answer
        assert await rig.engine.ensure(inode, *whole(rig))
        assert rig.content(inode, *whole(rig)) == rig.data
        assert len(rig.backend.asked_ranges) == 1
        came = {byte for gap in rig.backend.asked for byte in range(*gap)}
        assert len(came) == (4 - blocks) * B
        assert rig.count("DownOps", "bytes") == 8 * B


@pytest.mark.parametrize("error", [broken(), StaleError("changed")])
async def test_an_error_is_of_all_that_lacks(tmp_path: Path, error: Exception) -> None:
    """The head fails, or the body with something that no other attempt cures."""
    for answer in (Answer(head_error=error), Answer(breaks_after=2 * B, body_error=error)):
        async with rig_with_gaps(tmp_path / str(answer.breaks_after)) as (rig, inode):
            rig.backend.ranges_answers[0] = answer
            with pytest.raises(type(error)):
                await rig.engine.ensure(inode, *whole(rig))
            assert rig.backend.asked == []


async def test_t08_more_than_was_asked_for_in_a_range(tmp_path: Path) -> None:
    """T8: what comes past a range belongs to nobody."""
    async with rig_with_gaps(tmp_path) as (rig, inode):
        rig.backend.ranges_answers[0] = Answer(extra=B)
        with pytest.raises(OSError, match="not asked for"):
            await rig.engine.ensure(inode, *whole(rig))
        for start, end, _ in survey_of(inode, *whole(rig)).extents:
            assert rig.content(inode, start, end) == rig.data[start:end]


@pytest.mark.parametrize("turns", range(20))
async def test_t21_cancelled_in_the_middle_of_ranges(tmp_path: Path, turns: int) -> None:
    """T21: the exchange is released once, what came is kept."""
    async with rig_with_gaps(tmp_path) as (rig, inode):
        rig.backend.ranges_answers[0] = Answer(later=2)
        reading = asyncio.ensure_future(rig.engine.ensure(inode, *whole(rig)))
        for _ in range(turns):
            await asyncio.sleep(0)
        flights = [flight.task for flight in inode.flights]
        for task in flights:
            task.cancel()
        await asyncio.gather(reading, *flights, return_exceptions=True)
        for start, end, _ in survey_of(inode, *whole(rig)).extents:
            assert rig.content(inode, start, end) == rig.data[start:end]
        assert await rig.engine.ensure(inode, *whole(rig))
        assert rig.content(inode, *whole(rig)) == rig.data
