"""Why something was missed: the records, the decider, what a cache directory remembers."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from netcache._cachefiles.memory import LEFT, SET_BYTES, SETS, WAYS
from netcache._cachefiles.read_notes import FOLDER
from netcache._cachefiles.store import CachefilesStore, bind
from netcache._core.extent import Extent, ExtentSet
from netcache._core.keys import ObjectKey
from netcache._core.misses import (
    PARTS,
    Cause,
    Missed,
    Record,
    decode,
    encode,
    explain,
    remember,
    trace_of,
)
from netcache._core.stats import GROUPS

B = 4096
KEY = ObjectKey("netcache,http,example", b"a")
LOSSES = [cause for cause in Cause if cause is not Cause.NEVER]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Where the cache is."""
    return tmp_path / "cache"


def opened(directory: Path) -> CachefilesStore:
    """The cache, bound as by a process that knows nothing yet."""
    return bind(directory)


@pytest.mark.parametrize("seed", range(20))
def test_each_block_is_explained_by_its_newest_loss(seed: int) -> None:
    """Any number of losses of an object of 64 blocks, in a set of eight records: none is lost."""
    draw = random.Random(seed)
    records: list[Record | None] = [None] * WAYS
    newest: dict[int, Cause] = {}
    for _ in range(60):
        cause = draw.choice(LOSSES)
        blocks = draw.sample(range(PARTS), draw.choice([1, 2, 5, 20, PARTS]))
        extents = ExtentSet((block * B, block * B + B) for block in blocks)
        newest |= dict.fromkeys(blocks, cause)
        written = remember(records, 7, trace_of(cause, extents, when_ms=0))
        for index, record in written.items():
            records[index] = decode(encode(*record)) if record is not None else None
        traces = [record[1] for record in records if record is not None]
        found = explain([Extent(0, PARTS * B)], traces)
        told = [one.cause for one in found for _ in range(one.start, one.end, B)]
        assert told == [newest.get(block, Cause.NEVER) for block in range(PARTS)]


def test_a_large_object_is_explained_by_64ths() -> None:
    """What is covered is never less than what left, and ends where that ends."""
    extents = [Extent(0, B), Extent(1000 * B, 1001 * B)]
    covered = trace_of(Cause.CULLED, extents, when_ms=0).extents()
    assert covered == [Extent(0, 16 * B), Extent(992 * B, 1001 * B)]


def test_misses_follow_each_other_and_have_one_cause_each() -> None:
    """Adjoining runs of one cause are one miss; gaps stay apart; no cache at all is one cause."""
    traces = [
        trace_of(Cause.CULLED, [Extent(0, 4 * B)], when_ms=0, number=1),
        trace_of(Cause.DROPPED, [Extent(B, 2 * B)], when_ms=0, number=2),
    ]
    gaps = [Extent(0, 6 * B), Extent(8 * B, 9 * B)]
    assert explain(gaps, traces) == [
        Missed(0, B, Cause.CULLED),
        Missed(B, 2 * B, Cause.DROPPED),
        Missed(2 * B, 4 * B, Cause.CULLED),
        Missed(4 * B, 6 * B, Cause.NEVER),
        Missed(8 * B, 9 * B, Cause.NEVER),
    ]
    assert explain(gaps, traces, down=True) == [Missed(*gap, Cause.DOWN) for gap in gaps]


def test_a_damaged_record_says_nothing() -> None:
    """Any flipped bit; the causes have counters of their own."""
    raw = encode(7, trace_of(Cause.CULLED, [Extent(0, B)], when_ms=5))
    assert decode(raw) is not None
    for bit in range(8 * len(raw)):
        flipped = bytearray(raw)
        flipped[bit // 8] ^= 1 << bit % 8
        assert decode(bytes(flipped)) is None
    assert {cause.counter for cause in Cause} == set(GROUPS["Misses"])


def test_what_left_is_known_to_the_next_process_and_is_bounded(directory: Path) -> None:
    """A fixed file, whatever leaves; without it everything was never fetched."""
    store = opened(directory)
    keys = [ObjectKey(KEY.volume, b"%d" % number) for number in range(2 * SETS)]
    for key in keys:
        store.memory.left(key, Cause.CULLED, [Extent(0, B)])
    store.close()
    later = opened(directory)
    assert all(later.memory.traces(key)[0].cause is Cause.CULLED for key in keys[-WAYS:])
    left = directory / FOLDER / LEFT
    assert left.stat().st_size <= SETS * SET_BYTES
    left.unlink()
    assert later.memory.traces(keys[-1]) == []
    later.memory.left(KEY, Cause.DROPPED, [Extent(0, B)])
    assert [trace.cause for trace in later.memory.traces(KEY)] == [Cause.DROPPED]
    later.close()
