"""Large objects are culled in parts: what stays is right, what went is a miss, and comes again."""

from __future__ import annotations

import contextlib
import errno
from pathlib import Path

import pytest

from netcache._cachefiles.fileops import PosixFileOps
from netcache._cachefiles.store import bind
from netcache._core.content import Content
from netcache._core.extent import Extent
from netcache._fscache.ports import CacheObject, CacheStore
from tests.support.bytemodel import ByteModel
from tests.support.damage import stray_tables
from tests.support.faults import FaultyFileOps
from tests.support.stores import (
    KEY,
    OTHER_KEY,
    allocated,
    blocks,
    check,
    create,
    fill_blocks,
    found,
    put,
    text,
)

SIZE = 4 << 20
STEP = SIZE // 8


def model() -> ByteModel:
    """What the object holds."""
    return text(SIZE)


def whole(store: CacheStore) -> CacheObject:
    """An object that holds everything."""
    return put(store, model().part(0, SIZE))


def sparse(store: CacheStore) -> CacheObject:
    """An object with a hole in the middle."""
    cache_object = create(store, SIZE)
    count = SIZE // store.block_size
    fill_blocks(cache_object, model(), 0, count // 2 - 5)
    fill_blocks(cache_object, model(), count // 2 + 5, count)
    return cache_object


@pytest.mark.parametrize("sums_in_label", [0, 1024], ids=["table", "sums in the label"])
@pytest.mark.parametrize("make", [whole, sparse], ids=lambda make: make.__name__)
def test_only_a_part_of_a_large_object_goes(
    tmp_path: Path, make: object, sums_in_label: int
) -> None:
    """From the end on; the rest is served and proven, and what went can be stored again."""
    assert callable(make)
    store = bind(tmp_path, sums_in_label=sums_in_label, verify="read")
    make(store).close()
    before = allocated(tmp_path)
    count, freed = store.cull(before - 100_000)
    assert count == 0, "no object went"
    assert STEP <= freed <= 2 * STEP
    assert before - allocated(tmp_path) == pytest.approx(freed, abs=2 * store.block_size)
    assert list(store.verify()) == []
    assert stray_tables(tmp_path) == []
    left = found(store)
    check(left, model())
    there = blocks(left)
    assert there[0] == 0
    assert there[-1] < (SIZE - STEP) // store.block_size
    assert left.content is (Content.ALL if make is whole else Content.BACKFS_MAP)
    last = SIZE // store.block_size
    fill_blocks(left, model(), there[-1] + 1, last)
    check(left, model())
    assert blocks(left)[-1] == last - 1
    left.close()
    store.close()
    again = bind(tmp_path, verify="read")
    check(found(again), model())
    again.close()


def test_what_was_read_stays_longer_than_what_was_not(tmp_path: Path) -> None:
    """The end was read, by another opener; what lies before it goes."""
    store = bind(tmp_path)
    whole(store).close()
    reader = found(store)
    assert reader.query_occupancy(SIZE - STEP, SIZE)
    reader.close()
    store.cull(allocated(tmp_path) - 100_000)
    left = found(store)
    check(left, model())
    assert left.content is Content.BACKFS_MAP
    (hole,) = missing(left)
    assert hole.end == SIZE - STEP
    left.close()
    store.close()


def missing(cache_object: CacheObject) -> list[Extent]:
    """What of an object is not cached."""
    there = set(blocks(cache_object))
    block, holes = cache_object.block_size, list[Extent]()
    for number in range(SIZE // block):
        if number in there:
            continue
        if holes and holes[-1].end == number * block:
            holes[-1] = Extent(holes[-1].start, (number + 1) * block)
        else:
            holes.append(Extent(number * block, (number + 1) * block))
    return holes


def test_an_object_goes_part_by_part_until_nothing_is_left(tmp_path: Path) -> None:
    """Each time what is missing, and no object is counted before the last part goes."""
    store = bind(tmp_path)
    whole(store).close()
    counts = []
    while (held := allocated(tmp_path)) > 0:
        counts.append(store.cull(max(0, held - 200_000))[0])
        assert allocated(tmp_path) < held
        later = store.lookup(KEY)
        if later is not None:
            check(later, model())
            later.close()
    assert counts == [0] * (len(counts) - 1) + [1]
    assert 4 <= len(counts) <= 20
    store.close()


def test_a_limit_takes_parts_of_an_object_that_is_larger_than_what_is_needed(
    tmp_path: Path,
) -> None:
    """Small objects come, one large one gives way piece by piece, and serves what it has."""
    limit = SIZE + (SIZE >> 2)
    store = bind(tmp_path, limit_bytes=limit)
    whole(store).close()
    for number in range(8):
        put(store, text(200_000, seed=number).part(0, 200_000), key=OTHER_KEY).close()
        put(store, b"x" * 100_000, key=KEY._replace(name=b"%d" % number)).close()
        assert allocated(tmp_path) <= limit
    left = found(store)
    assert 0 < len(blocks(left)) < SIZE // store.block_size
    check(left, model())
    left.close()
    store.close()


def test_what_is_in_use_or_mapped_is_not_cut(tmp_path: Path) -> None:
    """Not a block of it, also by another process; nor what a lease holds."""
    store, other = bind(tmp_path), bind(tmp_path)
    reader = whole(store)
    assert other.cull(100_000) == (0, 0)
    assert len(blocks(reader)) == SIZE // store.block_size
    descriptor = reader.lease(reader.fileno())
    reader.close()
    assert other.cull(100_000) == (0, 0)
    store._bound.ops.close(descriptor)
    assert other.cull(allocated(tmp_path) - 100_000)[1] >= STEP
    store.close()
    other.close()


@pytest.mark.parametrize("make", [whole, sparse], ids=lambda make: make.__name__)
@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC, errno.EOPNOTSUPP])
def test_a_failure_while_cutting_serves_no_wrong_byte(
    tmp_path: Path, make: object, error: int
) -> None:
    """Any call fails, once: what is served is right; what cannot be cut may go as a whole."""
    assert callable(make)
    at = 0
    while True:
        at += 1
        directory = tmp_path / str(at)
        ops = FaultyFileOps(PosixFileOps())
        store = bind(directory, fileops=ops.fileops, sums_in_label=1024 if at % 2 else 0)
        make(store).close()
        want = allocated(directory) - 100_000
        calls = {"setxattr", "getxattr", "fsync", "truncate", "punch_hole", "write_all", "unlink"}
        ops.arm(error, at, only=calls)
        with contextlib.suppress(OSError):
            store.cull(want)
        failed = bool(ops.failed)
        ops.disarm()
        fresh = bind(directory, verify="read")
        left = fresh.lookup(KEY)
        if left is not None:
            check(left, model())
            left.close()
        fresh.close()
        store.close()
        if not failed:
            break
    assert at > 5
