"""Every row of the table of state transitions, on a real file.

A test's name is its row.  States are written ``(I, S, C)``: the size of the backing file, the size
of the resource, the content.
"""

from __future__ import annotations

import os

import pytest

from netcache._core.content import Content, WriteKind
from netcache._core.extent import Extent
from netcache._fscache.ports import CacheObject, CacheStore
from netcache.errors import NoSpaceError
from tests.support.bytemodel import ByteModel, pattern
from tests.support.stores import (
    blocks,
    check,
    create,
    fill_blocks,
    found,
    no_fill,
    served,
    sizes,
    text,
    version,
    write,
)

pytestmark = pytest.mark.parametrize("block_size", [None, 65536])


def opened(store: CacheStore, model: ByteModel, *runs: tuple[int, int]) -> CacheObject:
    """An object of the model's size, open for modification, with runs of its blocks cached."""
    cache_object = create(store, model.size)
    for first, last in runs:
        fill_blocks(cache_object, model, first, last)
    cache_object.begin_modify()
    return cache_object


def settled(cache_object: CacheObject, store: CacheStore, model: ByteModel) -> None:
    """Check now, and again after a commit and a fresh lookup."""
    check(cache_object, model)
    cache_object.commit(version(model.size, "b"))
    check(cache_object, model)
    before = blocks(cache_object)
    cache_object.close()
    again = found(store)
    assert again.size == model.size
    assert blocks(again) == before
    check(again, model)


def test_first_write_at_0(store: CacheStore) -> None:
    """The blocks of ``[0, up(n))`` with a tail of zeros: (up(n), n, ALL)."""
    model, block = ByteModel(), store.block_size
    cache_object = opened(store, model)
    write(cache_object, model, 0, pattern(0, block + 100))
    assert sizes(cache_object) == (2 * block, block + 100, Content.ALL)
    assert os.pread(cache_object.fileno(), block, block + 100) == bytes(block - 100)
    settled(cache_object, store, model)


def test_first_write_past_the_first_block(store: CacheStore) -> None:
    """Its rounded start is above 0: (up(p+n), p+n, BACKFS_MAP), with nothing cached below."""
    model, block = ByteModel(), store.block_size
    cache_object = opened(store, model)
    write(cache_object, model, 2 * block + 10, pattern(0, 50))
    assert sizes(cache_object) == (3 * block, 2 * block + 60, Content.BACKFS_MAP)
    assert blocks(cache_object) == [2]
    settled(cache_object, store, model)


def test_first_write_inside_the_first_block_counts_as_a_write_at_0(store: CacheStore) -> None:
    """Its rounded start is 0, the gap below is fetched: (up(p+n), ., ALL)."""
    block = store.block_size
    model = text(block + 7)
    cache_object = opened(store, model)
    asked: list[Extent] = []

    def gap(extent: Extent) -> bytes:
        asked.append(extent)
        return model.padded(*extent)

    cache_object.write(100, b"x" * 50, gap)
    model.write(100, b"x" * 50)
    assert sizes(cache_object) == (block, block + 7, Content.ALL)
    assert any(extent.start == 0 and extent.end >= 100 for extent in asked)
    assert all(extent.end <= block for extent in asked)
    settled(cache_object, store, model)


def test_append_aligned(store: CacheStore) -> None:
    """At p = S = I nothing else is touched: (up(p+n), p+n, same)."""
    block = store.block_size
    model = text(2 * block)
    cache_object = opened(store, model, (0, 2))
    data = pattern(0, block + 1, 5)
    cache_object.write(2 * block, data, no_fill)
    model.write(2 * block, data)
    assert sizes(cache_object) == (4 * block, 3 * block + 1, Content.ALL)
    settled(cache_object, store, model)


def test_append_after_an_unaligned_tail(store: CacheStore) -> None:
    """The last block is rewritten with its old bytes in front: (up(p+n), p+n, same)."""
    block = store.block_size
    model = text(block + 33)
    cache_object = opened(store, model, (0, 2))
    data = pattern(0, block, 5)
    cache_object.write(block + 33, data, no_fill)
    model.write(block + 33, data)
    assert sizes(cache_object) == (3 * block, 2 * block + 33, Content.ALL)
    settled(cache_object, store, model)


def test_append_when_the_tail_was_never_cached(store: CacheStore) -> None:
    """S > I: the write starts above I, which leaves a hole: BACKFS_MAP."""
    block = store.block_size
    model = text(3 * block + 33)
    cache_object = opened(store, model, (0, 1))
    write(cache_object, model, model.size, pattern(0, 20, 5))
    assert sizes(cache_object) == (4 * block, 3 * block + 53, Content.BACKFS_MAP)
    assert blocks(cache_object) == [0, 3]
    settled(cache_object, store, model)


def test_write_exactly_at_the_backing_end_past_the_padding(store: CacheStore) -> None:
    """p = I while S < I: ``[S, I)`` is zeros from now on, content stays."""
    block = store.block_size
    model = text(block + 33)
    cache_object = opened(store, model, (0, 2))
    os.pwrite(cache_object.fileno(), b"\xff" * (block - 33), block + 33)
    write(cache_object, model, 2 * block, pattern(0, 10, 5))
    assert sizes(cache_object) == (3 * block, 2 * block + 10, Content.ALL)
    assert blocks(cache_object) == [0, 1, 2]
    settled(cache_object, store, model)


def test_write_beyond_the_backing_end(store: CacheStore) -> None:
    """down(p) > I leaves a hole and zeros the padding: BACKFS_MAP."""
    block = store.block_size
    model = text(block + 33)
    cache_object = opened(store, model, (0, 2))
    os.pwrite(cache_object.fileno(), b"\xff" * (block - 33), block + 33)
    write(cache_object, model, 3 * block + 5, pattern(0, 10, 5))
    assert sizes(cache_object) == (4 * block, 3 * block + 15, Content.BACKFS_MAP)
    assert blocks(cache_object) == [0, 1, 3]
    settled(cache_object, store, model)


def test_rewrite_inside(store: CacheStore) -> None:
    """Sizes and content are as before, the bytes are new."""
    block = store.block_size
    model = text(4 * block)
    cache_object = opened(store, model, (0, 4))
    data = pattern(0, block + 20, 5)
    cache_object.write(block - 10, data, no_fill)
    model.write(block - 10, data)
    assert sizes(cache_object) == (4 * block, 4 * block, Content.ALL)
    settled(cache_object, store, model)


def test_rewrite_in_the_last_block(store: CacheStore) -> None:
    """Not past S: sizes stay, and the bytes after S are zeros on disk."""
    block = store.block_size
    model = text(block + 100)
    cache_object = opened(store, model, (0, 2))
    data = pattern(0, 40, 5)
    cache_object.write(block + 60, data, no_fill)
    model.write(block + 60, data)
    assert sizes(cache_object) == (2 * block, block + 100, Content.ALL)
    assert os.pread(cache_object.fileno(), block, block + 100) == bytes(block - 100)
    settled(cache_object, store, model)


def test_rewrite_of_an_unaligned_range_that_is_not_cached(store: CacheStore) -> None:
    """Read-modify-write: both gaps of the block come from the server."""
    block = store.block_size
    model = text(5 * block + 3)
    cache_object = opened(store, model, (0, 1))
    write(cache_object, model, 3 * block + 100, pattern(0, 50, 5))
    assert sizes(cache_object) == (4 * block, 5 * block + 3, Content.BACKFS_MAP)
    assert blocks(cache_object) == [0, 3]
    settled(cache_object, store, model)


def test_truncate_down_aligned(store: CacheStore) -> None:
    """(t, t, same), and the read limit comes down with it."""
    block = store.block_size
    model = text(3 * block + 9)
    cache_object = opened(store, model, (0, 4))
    cache_object.truncate(2 * block)
    model.truncate(2 * block)
    assert sizes(cache_object) == (2 * block, 2 * block, Content.ALL)
    assert cache_object.stored_end == 2 * block
    settled(cache_object, store, model)


def test_truncate_down_unaligned(store: CacheStore) -> None:
    """(up(t), t, same), zeros from t to the end of the block, L at most up(t)."""
    block = store.block_size
    model = text(3 * block)
    cache_object = opened(store, model, (0, 3))
    cache_object.truncate(block + 9)
    model.truncate(block + 9)
    assert sizes(cache_object) == (2 * block, block + 9, Content.ALL)
    assert cache_object.stored_end <= 2 * block
    assert os.pread(cache_object.fileno(), block, block + 9) == bytes(block - 9)
    settled(cache_object, store, model)


@pytest.mark.parametrize("then", ["rest", "write", "extend"])
def test_truncate_down_into_a_hole(store: CacheStore, then: str) -> None:
    """Zeroing the tail of a block that is not cached must not make it look cached."""
    block = store.block_size
    model = text(6 * block)
    cache_object = opened(store, model, (0, 1), (4, 6))
    cache_object.truncate(2 * block + 9)
    model.truncate(2 * block + 9)
    assert cache_object.size == 2 * block + 9
    assert blocks(cache_object) == [0]
    if then == "write":
        write(cache_object, model, 3 * block, pattern(0, 10, 5))
        assert blocks(cache_object) == [0, 3]
    if then == "extend":
        cache_object.truncate(5 * block)
        model.truncate(5 * block)
        assert blocks(cache_object) == [0]
    settled(cache_object, store, model)


def test_truncate_down_where_nothing_is_cached(store: CacheStore) -> None:
    """I <= t < S: only S changes."""
    block = store.block_size
    model = text(5 * block)
    cache_object = opened(store, model, (0, 2))
    cache_object.truncate(3 * block + 9)
    model.truncate(3 * block + 9)
    assert sizes(cache_object) == (2 * block, 3 * block + 9, Content.ALL)
    settled(cache_object, store, model)


def test_truncate_to_0(store: CacheStore) -> None:
    """(0, 0, NO_DATA) and L = 0."""
    model = text(3 * store.block_size)
    cache_object = opened(store, model, (0, 1), (2, 3))
    cache_object.truncate(0)
    model.truncate(0)
    assert sizes(cache_object) == (0, 0, Content.NO_DATA)
    assert cache_object.stored_end == 0
    settled(cache_object, store, model)


@pytest.mark.parametrize("blocks_cached", [2, 1, 0])
def test_extend_when_no_padding_is_cached(store: CacheStore, blocks_cached: int) -> None:
    """S aligned, or S >= I: only S changes, and what was added is not cached."""
    block = store.block_size
    model = text(2 * block)
    cache_object = opened(store, model, (0, blocks_cached))
    content = cache_object.content
    cache_object.truncate(4 * block + 9)
    model.truncate(4 * block + 9)
    assert sizes(cache_object) == (blocks_cached * block, 4 * block + 9, content)
    assert blocks(cache_object) == list(range(blocks_cached))
    settled(cache_object, store, model)


@pytest.mark.parametrize("blocks_more", [0, 3])
def test_extend_over_padding(store: CacheStore, blocks_more: int) -> None:
    """S < I: what was padding is zeros before it becomes data, whatever stood there."""
    block = store.block_size
    model = text(block + 9)
    cache_object = opened(store, model, (0, 2))
    os.pwrite(cache_object.fileno(), b"\xff" * (block - 9), block + 9)
    cache_object.truncate(block + 90 + blocks_more * block)
    model.truncate(block + 90 + blocks_more * block)
    assert sizes(cache_object) == (2 * block, model.size, Content.ALL)
    assert blocks(cache_object) == [0, 1]
    settled(cache_object, store, model)


def test_third_party_changed_the_file(store: CacheStore) -> None:
    """Another version at the server: the object of the old one is invalidated, not mixed."""
    block = store.block_size
    old, new = text(3 * block), text(2 * block + 5, seed=9)
    cache_object = create(store, old.size)
    fill_blocks(cache_object, old, 0, 3)
    cache_object.invalidate(version(new.size, "new"))
    fill_blocks(cache_object, new, 1, 3)
    check(cache_object, new)
    assert blocks(cache_object) == [1, 2]
    cache_object.close()
    again = found(store)
    assert again.version.same_as(version(new.size, "new"))
    check(again, new)


def test_invalidate(store: CacheStore) -> None:
    """(0, ., NO_DATA), L = 0, the counter moves, the old size is forgotten, a new inode."""
    block = store.block_size
    model = text(3 * block)
    cache_object = create(store, model.size)
    fill_blocks(cache_object, model, 0, 3)
    counter, inode = cache_object.inval_counter, os.fstat(cache_object.fileno()).st_ino
    cache_object.invalidate(version(block, "new"))
    assert cache_object.inval_counter != counter
    assert os.fstat(cache_object.fileno()).st_ino != inode
    assert sizes(cache_object)[:2] == (0, block)
    assert cache_object.content in (Content.NO_DATA, Content.ALL)
    assert cache_object.stored_end == 0
    assert blocks(cache_object) == []


def test_cache_full_in_the_middle(store: CacheStore) -> None:
    """What is below the failure stays; data above it makes a map with a hole in it."""
    block = store.block_size
    model = text(6 * block)
    cache_object = create(store, model.size)
    fill_blocks(cache_object, model, 0, 2)
    cache_object.collect_write(WriteKind.CANCEL, 2 * block, 3 * block)
    assert blocks(cache_object) == [0, 1]
    check(cache_object, model)
    fill_blocks(cache_object, model, 3, 4)
    assert cache_object.content is Content.BACKFS_MAP
    assert blocks(cache_object) == [0, 1, 3]
    check(cache_object, model)
    assert issubclass(NoSpaceError, OSError)


def test_copy_to_cache_after_a_read(store: CacheStore) -> None:
    """A fill is like a write, but never moves S."""
    block = store.block_size
    model = text(4 * block + 77)
    cache_object = create(store, model.size)
    for first, last in ((4, 5), (0, 1), (2, 3)):
        fill_blocks(cache_object, model, first, last)
        assert cache_object.size == model.size
        check(cache_object, model)
    assert sizes(cache_object) == (5 * block, model.size, Content.BACKFS_MAP)
    assert blocks(cache_object) == [0, 2, 4]
    assert dict(served(cache_object))[4 * block] == model.part(4 * block, model.size)
