"""The invariants INV-a to INV-k, one test each, on a real file."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from netcache._core.content import Content, WriteKind
from netcache._core.extent import Extent, round_down, round_up
from netcache._fscache.ports import CacheStore
from tests.support.bytemodel import pattern
from tests.support.labels import read_label
from tests.support.stores import (
    KEY,
    backing_size,
    blocks,
    check,
    create,
    fill_blocks,
    fill_from,
    found,
    object_file,
    put,
    served,
    text,
    version,
    write,
)

pytestmark = pytest.mark.parametrize("block_size", [None, 65536])


@pytest.mark.parametrize("extra", [0, 1, 511, 512, 513, -1])
def test_inv_a_the_backing_file_is_whole_blocks(store: CacheStore, extra: int) -> None:
    """I % B == 0, however a file was written."""
    block = store.block_size
    model = text(2 * block + extra)
    assert backing_size(put(store, model.part(0, model.size))) % block == 0
    cache_object = create(store, model.size, tag="b")
    fill_blocks(cache_object, model, 0, 3)
    assert backing_size(cache_object) % block == 0
    cache_object.begin_modify()
    write(cache_object, model, model.size, b"tail")
    assert backing_size(cache_object) % block == 0
    cache_object.truncate(block + 1)
    model.truncate(block + 1)
    check(cache_object, model)


def test_inv_b_only_writes_make_the_backing_file_longer(store: CacheStore) -> None:
    """Creation, lookup, extension and reads never move I up."""
    block = store.block_size
    model = text(9 * block + 5)
    cache_object = create(store, model.size)
    assert backing_size(cache_object) == 0
    fill_blocks(cache_object, model, 0, 2)
    assert backing_size(cache_object) == 2 * block
    cache_object.read_into(0, bytearray(block))
    assert backing_size(found(store)) == 2 * block
    cache_object.begin_modify()
    cache_object.truncate(50 * block)
    assert backing_size(cache_object) == 2 * block


def test_inv_c_the_label_bears_the_size_of_the_resource(store: CacheStore, tmp_path: Path) -> None:
    """S on disk is the network file's size, whatever the backing file's size is."""
    block = store.block_size
    for size in (5 * block, 5 * block + 9, block):
        model = text(size)
        cache_object = create(store, size, tag=str(size))
        fill_blocks(cache_object, model, 0, 1)
        cache_object.close()
        assert read_label(object_file(tmp_path)).object_size == size


def test_inv_d_the_resource_ends_in_or_after_the_last_block(store: CacheStore) -> None:
    """S > I - B, or all is empty: kept by truncation too."""
    block = store.block_size
    model = text(4 * block)
    cache_object = create(store, model.size)
    fill_blocks(cache_object, model, 0, 4)
    cache_object.begin_modify()
    for size in (3 * block, 2 * block + 1, 2 * block, 1, 0):
        cache_object.truncate(size)
        model.truncate(size)
        assert cache_object.size > backing_size(cache_object) - block or size == 0
        check(cache_object, model)


def test_inv_e_all_means_every_byte_up_to_the_stored_end(store: CacheStore) -> None:
    """C == ALL and S >= I: ``[0, I)`` is served, and is right."""
    block = store.block_size
    model = text(6 * block + 1)
    cache_object = create(store, model.size)
    for first, last in ((0, 2), (2, 3), (3, 6)):
        fill_blocks(cache_object, model, first, last)
        assert cache_object.content is Content.ALL
        (piece,) = served(cache_object)
        assert piece == (0, model.part(0, last * block))


def test_inv_f_padding_is_never_file_data(store: CacheStore) -> None:
    """Bytes ``[S, I)`` are returned by nothing."""
    block = store.block_size
    model = text(block + 3)
    cache_object = create(store, model.size)
    fill_blocks(cache_object, model, 0, 2)
    os.pwrite(cache_object.fileno(), b"\xff" * (block - 3), block + 3)
    buffer = bytearray(3 * block)
    assert cache_object.read_into(0, buffer) == model.size
    assert cache_object.read_into(block, buffer) == 3
    assert cache_object.read_into(block + 3, buffer) == 0
    assert all(run.end <= model.size for run in cache_object.extents())
    check(cache_object, model)


def test_inv_g_the_last_block_is_rewritten_with_its_old_bytes(store: CacheStore) -> None:
    """Adding to a partial last block fetches ``[down(S), S)`` when it is not cached."""
    block = store.block_size
    model = text(2 * block + 30)
    cache_object = create(store, model.size)
    fill_blocks(cache_object, model, 0, 1)
    cache_object.begin_modify()
    write(cache_object, model, model.size, b"more")
    assert blocks(cache_object) == [0, 2]
    check(cache_object, model)


@pytest.mark.parametrize(("start", "length"), [(1, 1), (-1, 2), (0, 1), (17, -17), (0, -1)])
def test_inv_h_every_write_covers_whole_blocks_of_real_data(
    store: CacheStore, start: int, length: int
) -> None:
    """Before the start real bytes, after the end real bytes or zeros past S."""
    block = store.block_size
    model = text(3 * block + 40)
    cache_object = create(store, model.size)
    cache_object.begin_modify()
    for base in (3 * block, block):
        write(cache_object, model, base + start % block, pattern(0, length % block, 8))
    for number in blocks(cache_object):
        image = os.pread(cache_object.fileno(), block, number * block)
        assert image == model.padded(number * block, (number + 1) * block)
    check(cache_object, model)


@pytest.mark.parametrize(("start", "length"), [(0, 1), (5, 10), (-1, 2), (100, -50)])
def test_inv_h_a_write_asks_only_for_the_gaps_of_its_own_blocks(
    store: CacheStore, start: int, length: int
) -> None:
    """Negative numbers count from the block size: gaps are never wider than the rounding."""
    block = store.block_size
    model = text(4 * block)
    cache_object = create(store, model.size)
    cache_object.begin_modify()
    start, end = start % block, start % block + length % block
    asked: list[Extent] = []

    def gap(extent: Extent) -> bytes:
        asked.append(extent)
        return model.part(*extent)

    cache_object.write(start, b"y" * (end - start), gap)
    model.write(start, b"y" * (end - start))
    outer = Extent(round_down(start, block), round_up(end, block))
    assert all(outer.start <= extent.start < extent.end <= outer.end for extent in asked)
    assert fill_from(model)(outer) == os.pread(cache_object.fileno(), outer.length, outer.start)
    check(cache_object, model)


def test_inv_i_readers_see_nothing_past_the_stored_end(store: CacheStore) -> None:
    """Blocks that are written but not collected are not readable, and L <= I."""
    block = store.block_size
    model = text(6 * block)
    cache_object = create(store, model.size)
    fill_blocks(cache_object, model, 0, 1)
    cache_object.write_blocks(block, model.part(block, 3 * block))
    assert cache_object.stored_end == block
    assert blocks(cache_object) == [0]
    assert cache_object.read_into(block, bytearray(block)) == 0
    assert cache_object.read_into(0, bytearray(2 * block)) == block
    cache_object.collect_write(WriteKind.DATA, block, 3 * block)
    assert cache_object.stored_end == 3 * block
    check(cache_object, model)


def test_inv_i_in_a_map_uncollected_blocks_are_not_readable(store: CacheStore) -> None:
    """Also below the stored end, where the filesystem already reports them as data."""
    block = store.block_size
    model = text(6 * block)
    cache_object = create(store, model.size)
    fill_blocks(cache_object, model, 4, 5)
    cache_object.write_blocks(block, model.part(block, 3 * block))
    assert blocks(cache_object) == [4]
    cache_object.collect_write(WriteKind.DATA, block, 3 * block)
    assert blocks(cache_object) == [1, 2, 4]
    check(cache_object, model)


def test_inv_j_requests_that_overlap_in_time_leave_a_true_record(store: CacheStore) -> None:
    """Threads that fill and collect the same object at once end as if one after another."""
    block = store.block_size
    model = text(16 * block)
    cache_object = create(store, model.size)
    barrier = threading.Barrier(4)
    errors: list[BaseException] = []

    def worker(lane: int) -> None:
        try:
            barrier.wait(10)
            for number in range(lane, 16, 4):
                fill_blocks(cache_object, model, number, number + 1)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=worker, args=(lane,)) for lane in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not errors
    assert blocks(cache_object) == list(range(16))
    check(cache_object, model)
    cache_object.close()
    check(found(store), model)


def test_inv_k_three_sizes_are_distinct(store: CacheStore, tmp_path: Path) -> None:
    """The resource's size, the stored end and the backing file's size move on their own."""
    block = store.block_size
    model = text(8 * block + 3)
    cache_object = create(store, model.size)
    fill_blocks(cache_object, model, 0, 2)
    cache_object.write_blocks(2 * block, model.part(2 * block, 3 * block))
    measured = (cache_object.size, cache_object.stored_end, backing_size(cache_object))
    assert measured == (8 * block + 3, 2 * block, 3 * block)
    assert read_label(object_file(tmp_path)).object_size == 8 * block + 3
    other = store.create(KEY, version(model.size, "b"), checked_s=1.0)
    assert (other.size, other.stored_end, backing_size(other)) == (model.size, 0, 0)
