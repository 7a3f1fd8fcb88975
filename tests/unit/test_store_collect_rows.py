"""Every row of the decision table of ``collect_write``, on a real file.

``old`` is how far the object was stored before, ``S`` the size of the resource, ``[s, e)`` the run.
The rows with S < old arise when a local write goes on past a partial tail.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from netcache._core.content import Content, WriteKind
from netcache._fscache.ports import CacheObject, CacheStore
from netcache.errors import CacheError, InvariantError
from tests.support.bytemodel import ByteModel, pattern
from tests.support.labels import read_label
from tests.support.stores import (
    KEY,
    backing_size,
    blocks,
    check,
    create,
    fill_blocks,
    found,
    object_file,
    sizes,
    text,
    version,
    write,
)

pytestmark = pytest.mark.parametrize("block_size", [None, 65536])


def filled(store: CacheStore, model: ByteModel, *runs: tuple[int, int]) -> CacheObject:
    """An object of the model's size with runs of its blocks collected."""
    cache_object = create(store, model.size)
    for first, last in runs:
        fill_blocks(cache_object, model, first, last)
    return cache_object


@pytest.mark.parametrize(("start", "length"), [(1, 0), (0, 1), (0, -1), (-1, 1), (512, 0)])
def test_row_x_misaligned_run_makes_the_object_stale(
    store: CacheStore, start: int, length: int
) -> None:
    """Start or length off the block grid: the label goes, and nobody believes the object again."""
    block = store.block_size
    cache_object = filled(store, text(4 * block), (0, 2))
    start += block if start < 0 else 0
    with contextlib.suppress(CacheError, InvariantError):
        cache_object.collect_write(WriteKind.DATA, start, start + block + length)
    assert store.lookup(KEY) is None


def test_row_x_misaligned_backing_file_makes_the_object_stale(
    store: CacheStore, tmp_path: Path
) -> None:
    """A backing file that somebody cut off the grid is not recorded any further."""
    block = store.block_size
    model = text(4 * block)
    cache_object = filled(store, model, (0, 2))
    os.truncate(object_file(tmp_path), block + 1)
    with contextlib.suppress(CacheError, InvariantError):
        fill_blocks(cache_object, model, 0, 1)
    assert store.lookup(KEY) is None


def test_row_0_monolithic_data_is_all_present(store: CacheStore, tmp_path: Path) -> None:
    """An object written front to back is there from its first byte to its last."""
    model = text(2 * store.block_size + 5)
    new = store.begin(KEY)
    new.write(model.part(0, 100))
    new.write(model.part(100, model.size))
    cache_object = new.publish(version(model.size), checked_s=1.0)
    assert cache_object.content in (Content.SINGLE, Content.ALL)
    assert read_label(object_file(tmp_path)).content in (Content.SINGLE, Content.ALL)
    assert blocks(cache_object) == [0, 1, 2]
    check(cache_object, model)


def test_row_0_prime_monolithic_failure_leaves_nothing(store: CacheStore, tmp_path: Path) -> None:
    """One that failed or was given up leaves neither label nor bytes."""
    new = store.begin(KEY)
    new.write(pattern(0, 3 * store.block_size))
    new.discard()
    assert store.lookup(KEY) is None
    assert [p for p in (tmp_path / "cache").rglob("*") if p.is_file() and "@" in str(p)] == []


def test_row_1_first_data_at_0_is_all(store: CacheStore) -> None:
    """old = 0, s = 0: ALL."""
    model = text(4 * store.block_size)
    cache_object = filled(store, model, (0, 2))
    assert cache_object.content is Content.ALL
    assert cache_object.stored_end == 2 * store.block_size
    check(cache_object, model)


def test_row_1_prime_first_data_above_0_is_a_map(store: CacheStore) -> None:
    """old = 0, s > 0: BACKFS_MAP."""
    model = text(4 * store.block_size)
    cache_object = filled(store, model, (1, 2))
    assert cache_object.content is Content.BACKFS_MAP
    assert blocks(cache_object) == [1]
    check(cache_object, model)


@pytest.mark.parametrize(
    ("before", "content"), [((0, 2), Content.ALL), ((1, 2), Content.BACKFS_MAP)]
)
def test_row_2_contiguous_data_keeps_the_content(
    store: CacheStore, before: tuple[int, int], content: Content
) -> None:
    """old <= S, s <= old: whatever it was."""
    model = text(5 * store.block_size)
    cache_object = filled(store, model, before, (2, 4))
    assert cache_object.content is content
    assert blocks(cache_object) == list(range(before[0], 4))
    fill_blocks(cache_object, model, 3, 5)
    assert cache_object.content is content
    check(cache_object, model)


def test_row_2_prime_data_past_a_hole_is_a_map(store: CacheStore) -> None:
    """old <= S, s > old: BACKFS_MAP."""
    model = text(5 * store.block_size)
    cache_object = filled(store, model, (0, 2), (3, 4))
    assert cache_object.content is Content.BACKFS_MAP
    assert blocks(cache_object) == [0, 1, 3]
    check(cache_object, model)


@pytest.mark.parametrize(
    ("before", "content"), [((0, 3), Content.ALL), ((2, 3), Content.BACKFS_MAP)]
)
def test_row_3_data_inside_keeps_the_content(
    store: CacheStore, before: tuple[int, int], content: Content
) -> None:
    """S < old, e <= old: no change of state, never back from a map to ALL."""
    block = store.block_size
    model = text(2 * block + 100)
    cache_object = filled(store, model, before)
    assert backing_size(cache_object) == 3 * block
    fill_blocks(cache_object, model, 0, 2)
    fill_blocks(cache_object, model, 2, 3)
    assert cache_object.content is content
    assert blocks(cache_object) == [0, 1, 2]
    check(cache_object, model)


def with_partial_tail(store: CacheStore, model: ByteModel) -> CacheObject:
    """``old`` = 2 blocks, S = 1 block + 100, rubbish in the padding as a mapping may leave it."""
    block = store.block_size
    cache_object = filled(store, model, (0, 2))
    cache_object.begin_modify()
    os.pwrite(cache_object.fileno(), b"\xff" * (block - 100), block + 100)
    return cache_object


def test_row_4_data_over_the_tail_block_keeps_the_content(store: CacheStore) -> None:
    """S < old, s < old, e > old: the writer rewrote the tail block itself."""
    block = store.block_size
    model = text(block + 100)
    cache_object = with_partial_tail(store, model)
    write(cache_object, model, block + 100, pattern(0, 2 * block, 3))
    assert cache_object.content is Content.ALL
    assert backing_size(cache_object) == 4 * block
    check(cache_object, model)


def test_row_6_data_that_jumps_over_the_padding_zeros_it(store: CacheStore) -> None:
    """S < old, s = old: content stays, ``[S, old)`` is zeros now."""
    block = store.block_size
    model = text(block + 100)
    cache_object = with_partial_tail(store, model)
    write(cache_object, model, 2 * block, pattern(0, block, 3))
    assert cache_object.content is Content.ALL
    assert os.pread(cache_object.fileno(), block - 100, block + 100) == bytes(block - 100)
    check(cache_object, model)


def test_row_7_data_past_a_hole_and_padding(store: CacheStore) -> None:
    """S < old, s > old: BACKFS_MAP, and ``[S, old)`` is zeros now."""
    block = store.block_size
    model = text(block + 100)
    cache_object = with_partial_tail(store, model)
    write(cache_object, model, 3 * block, pattern(0, block, 3))
    assert cache_object.content is Content.BACKFS_MAP
    assert os.pread(cache_object.fileno(), block - 100, block + 100) == bytes(block - 100)
    check(cache_object, model)


@pytest.mark.parametrize("kind", [WriteKind.GAP, WriteKind.CANCEL])
def test_a_gap_or_cancel_alone_records_nothing(store: CacheStore, kind: WriteKind) -> None:
    """On an empty object there is nothing cached afterwards, and nothing to find later."""
    block = store.block_size
    model = text(4 * block)
    cache_object = create(store, model.size)
    cache_object.collect_write(kind, 0, 2 * block)
    assert blocks(cache_object) == []
    check(cache_object, model)
    fill_blocks(cache_object, model, 2, 3)
    assert cache_object.content is Content.BACKFS_MAP
    assert blocks(cache_object) == [2]
    check(cache_object, model)


@pytest.mark.parametrize("kind", [WriteKind.GAP, WriteKind.CANCEL])
def test_a_gap_or_cancel_below_later_data_makes_a_map(store: CacheStore, kind: WriteKind) -> None:
    """A run that was skipped or failed is a hole once data lies above it."""
    block = store.block_size
    model = text(5 * block)
    cache_object = filled(store, model, (0, 1))
    cache_object.collect_write(kind, block, 2 * block)
    fill_blocks(cache_object, model, 2, 4)
    assert cache_object.content is Content.BACKFS_MAP
    assert blocks(cache_object) == [0, 2, 3]
    cache_object.close()
    again = found(store)
    assert blocks(again) == [0, 2, 3]
    check(again, model)


@pytest.mark.parametrize("kind", [WriteKind.GAP, WriteKind.CANCEL])
def test_a_gap_or_cancel_at_the_end_keeps_what_is_below(store: CacheStore, kind: WriteKind) -> None:
    """A failed tail costs only itself: the blocks before it stay cached (row 'cache full')."""
    block = store.block_size
    model = text(5 * block)
    cache_object = filled(store, model, (0, 2))
    cache_object.collect_write(kind, 2 * block, 4 * block)
    assert blocks(cache_object) == [0, 1]
    assert cache_object.stored_end <= backing_size(cache_object)
    check(cache_object, model)
    cache_object.close()
    assert blocks(found(store)) == [0, 1]


@pytest.mark.parametrize("first", [1, 4])
def test_cancelled_blocks_that_did_reach_the_disk_are_never_served(
    store: CacheStore, first: int
) -> None:
    """Bytes of a cancelled run are not believed, below stored data or above it."""
    block = store.block_size
    model = text(8 * block)
    cache_object = filled(store, model, (0, 1), (2, 4))
    cache_object.write_blocks(first * block, b"\xff" * block)
    cache_object.collect_write(WriteKind.CANCEL, first * block, (first + 1) * block)
    fill_blocks(cache_object, model, 6, 7)
    assert blocks(cache_object) == [0, 2, 3, 6]
    check(cache_object, model)
    cache_object.close()
    again = found(store)
    assert blocks(again) == [0, 2, 3, 6]
    check(again, model)


@pytest.mark.parametrize("before", [(0, 3), (1, 3)])
def test_a_gap_leaves_what_is_cached_in_it(store: CacheStore, before: tuple[int, int]) -> None:
    """What a request skipped may be there already: it stays (row 3, inside)."""
    block = store.block_size
    model = text(4 * block)
    cache_object = filled(store, model, before)
    cache_object.collect_write(WriteKind.GAP, block, 3 * block)
    assert blocks(cache_object) == list(range(*before))
    fill_blocks(cache_object, model, 3, 4)
    assert blocks(cache_object) == list(range(before[0], 4))
    check(cache_object, model)


@pytest.mark.parametrize("then", ["extend", "write at", "write beyond"])
def test_the_padding_of_a_cancelled_tail_is_not_zeroed_into_data(
    store: CacheStore, then: str
) -> None:
    """When the last block is a hole again there is no padding to zero (rows 6 and 7, extend)."""
    block = store.block_size
    model = text(3 * block + 100)
    cache_object = filled(store, model, (1, 2), (3, 4))
    cache_object.write_blocks(3 * block, b"\xff" * 100)
    cache_object.collect_write(WriteKind.CANCEL, 3 * block, 4 * block)
    assert blocks(cache_object) == [1]
    cache_object.begin_modify()
    if then == "extend":
        cache_object.truncate(6 * block)
        model.truncate(6 * block)
    else:
        start = (4 if then == "write at" else 6) * block
        write(cache_object, model, start, pattern(0, block, 3))
    assert 3 not in blocks(cache_object)
    check(cache_object, model)


def test_truncate_down_below_blocks_that_were_never_collected(store: CacheStore) -> None:
    """The file is cut to up(t) wherever L is: INV-d holds, and what was above is gone."""
    block = store.block_size
    model = text(8 * block)
    cache_object = create(store, model.size)
    fill_blocks(cache_object, model, 0, 1)
    cache_object.write_blocks(5 * block, b"\xff" * block)
    cache_object.collect_write(WriteKind.CANCEL, 5 * block, 6 * block)
    cache_object.begin_modify()
    cache_object.truncate(2 * block - 1)
    model.truncate(2 * block - 1)
    check(cache_object, model)


def test_content_comes_back_to_all_only_through_empty(store: CacheStore) -> None:
    """A map that has become complete stays a map; truncating to 0 begins anew."""
    block = store.block_size
    model = text(3 * block)
    cache_object = filled(store, model, (1, 3), (0, 1))
    assert blocks(cache_object) == [0, 1, 2]
    assert sizes(cache_object)[2] is Content.BACKFS_MAP
    cache_object.begin_modify()
    cache_object.truncate(0)
    model.truncate(0)
    write(cache_object, model, 0, pattern(0, block, 4))
    assert sizes(cache_object)[2] is Content.ALL
    check(cache_object, model)
