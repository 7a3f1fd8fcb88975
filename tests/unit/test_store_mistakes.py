"""The mistakes of the first kernel version: each of them, and that it is not here."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from netcache._cachefiles.fileops import PosixFileOps
from netcache._cachefiles.store import bind
from netcache._core.content import Content, WriteKind
from netcache._fscache.ports import CacheStore
from netcache.errors import CacheError, NoSpaceError
from tests.support.bytemodel import ByteModel, pattern
from tests.support.counting import CountingFileOps
from tests.support.labels import ATTRIBUTE, raw_label, read_label
from tests.support.stores import (
    KEY,
    allocated,
    backing_size,
    blocks,
    check,
    create,
    fill_blocks,
    found,
    no_fill,
    object_file,
    object_files,
    put,
    text,
    version,
    write,
)


def test_readers_of_all_do_not_trust_the_backing_size(store: CacheStore, tmp_path: Path) -> None:
    """Blocks that somebody added to the file behind the label are not data."""
    block = store.block_size
    model = text(5 * block)
    cache_object = create(store, model.size)
    fill_blocks(cache_object, model, 0, 2)
    os.truncate(object_file(tmp_path), 4 * block)
    assert blocks(cache_object) == [0, 1]
    cache_object.close()
    assert blocks(found(store)) == [0, 1]


@pytest.mark.parametrize("kind", [WriteKind.GAP, WriteKind.CANCEL])
def test_skipped_and_failed_writes_do_not_look_stored(store: CacheStore, kind: WriteKind) -> None:
    """What was not written is not cached, inside one request and after it."""
    block = store.block_size
    model = text(5 * block)
    cache_object = create(store, model.size)
    for number, done in enumerate((WriteKind.DATA, kind, WriteKind.DATA, kind)):
        if done is WriteKind.DATA:
            cache_object.write_blocks(
                number * block, model.part(number * block, (number + 1) * block)
            )
        cache_object.collect_write(done, number * block, (number + 1) * block)
    assert blocks(cache_object) == [0, 2]
    check(cache_object, model)


def test_the_recorded_size_includes_no_unwritten_bytes(store: CacheStore, tmp_path: Path) -> None:
    """A local write that never reached the object does not move S, on disk or in memory."""
    block = store.block_size
    model = text(2 * block)
    cache_object = create(store, model.size)
    fill_blocks(cache_object, model, 0, 2)
    before = raw_label(object_file(tmp_path))[:8]
    cache_object.write_blocks(0, model.part(0, block))
    assert cache_object.size == model.size
    assert raw_label(object_file(tmp_path))[:8] == before


def test_two_requests_collecting_in_turn_do_not_mix(store: CacheStore) -> None:
    """Writes of two requests issued before either is collected: content is never too good."""
    block = store.block_size
    model = text(8 * block)
    cache_object = create(store, model.size)
    fill_blocks(cache_object, model, 0, 1)
    cache_object.write_blocks(block, model.part(block, 2 * block))
    cache_object.write_blocks(3 * block, model.part(3 * block, 4 * block))
    cache_object.collect_write(WriteKind.DATA, 3 * block, 4 * block)
    assert cache_object.content is Content.BACKFS_MAP
    assert 2 not in blocks(cache_object)
    cache_object.collect_write(WriteKind.DATA, block, 2 * block)
    assert cache_object.content is Content.BACKFS_MAP
    assert blocks(cache_object) == [0, 1, 3]
    check(cache_object, model)


def test_the_first_write_needs_nothing_before_it(store: CacheStore) -> None:
    """A new object takes writes at once: file, size and direct-I/O limits are all set."""
    model = text(3 * store.block_size + 1)
    cache_object = create(store, model.size)
    fill_blocks(cache_object, model, 3, 4)
    assert blocks(cache_object) == [3]
    check(cache_object, model)


def test_every_call_on_a_closed_object_is_a_cache_error(store: CacheStore) -> None:
    """Collecting and all else after ``close`` is refused; closing again is not."""
    block = store.block_size
    cache_object = create(store, 4 * block)
    cache_object.close()
    cache_object.close()
    for call in (
        lambda: cache_object.collect_write(WriteKind.DATA, 0, block),
        lambda: cache_object.write_blocks(0, bytes(block)),
        lambda: cache_object.query_occupancy(0, block),
        lambda: list(cache_object.extents()),
        lambda: cache_object.read_into(0, bytearray(block)),
        lambda: cache_object.fileno(),
        lambda: cache_object.begin_modify(),
        lambda: cache_object.write(0, b"x", no_fill),
        lambda: cache_object.truncate(0),
        lambda: cache_object.invalidate(version(1)),
        lambda: cache_object.commit(version(4 * block)),
        lambda: cache_object.mark_checked(1.0),
    ):
        with pytest.raises(CacheError):
            call()


def test_use_after_withdrawal_is_a_cache_error(tmp_path: Path) -> None:
    """Objects of a store that was closed, and the store itself, refuse politely (T32)."""
    store = bind(tmp_path)
    cache_object = create(store, store.block_size)
    store.close()
    store.close()
    for call in (
        lambda: cache_object.read_into(0, bytearray(1)),
        lambda: cache_object.write_blocks(0, bytes(store.block_size)),
        lambda: store.lookup(KEY),
        lambda: store.begin(KEY),
        lambda: create(store, 1),
    ):
        with pytest.raises(CacheError):
            call()


def test_a_failed_whole_object_is_not_called_whole(store: CacheStore, tmp_path: Path) -> None:
    """Publishing with another size than was written fails, and leaves no object."""
    new = store.begin(KEY)
    new.write(b"x" * 100)
    with pytest.raises((CacheError, ValueError, AssertionError)):
        new.publish(version(99), checked_s=1.0)
    new.discard()
    assert store.lookup(KEY) is None
    assert object_files(tmp_path) == []


def test_space_is_counted_in_blocks_of_the_cache(tmp_path: Path) -> None:
    """One byte costs a block of ``B``: two do not fit into a limit of one and a half."""
    store = bind(tmp_path, block_size=65536, limit_bytes=4 * 65536)
    first = create(store, 10 * 65536)
    model = text(10 * 65536)
    stored = 0
    with contextlib.suppress(NoSpaceError):
        while stored < 10:
            store.reserve(1)
            fill_blocks(first, model, stored, stored + 1)
            stored += 1
    assert 1 <= stored <= 4
    assert allocated(tmp_path) <= 4 * 65536
    store.close()


@pytest.mark.parametrize("length", [0, 1, 7, 8, 255])
def test_coherency_data_of_any_length_is_read_safely(
    store: CacheStore, tmp_path: Path, length: int
) -> None:
    """Auxiliary data shorter or longer than ours is a miss, never a crash (T34)."""
    put(store, b"abc").close()
    path = object_file(tmp_path)
    label = raw_label(path)
    os.setxattr(path, ATTRIBUTE, label[:18] + (label[18:] * 9)[:length])
    again = store.lookup(KEY)
    assert again is None or length == len(label) - 18
    check(put(store, b"new"), ByteModel(b"new"))


def test_shrinking_lowers_the_read_limit(store: CacheStore) -> None:
    """L comes down at once; extending again does not bring the old bytes back."""
    block = store.block_size
    model = text(4 * block)
    cache_object = create(store, model.size)
    fill_blocks(cache_object, model, 0, 4)
    cache_object.begin_modify()
    cache_object.truncate(block)
    assert cache_object.stored_end == block
    cache_object.truncate(4 * block)
    model.truncate(block)
    model.truncate(4 * block)
    check(cache_object, model)


def test_invalidation_forgets_the_old_size(store: CacheStore, tmp_path: Path) -> None:
    """After it size, stored end and label are those of the new version."""
    cache_object = put(store, pattern(0, 5 * store.block_size))
    cache_object.invalidate(version(7, "new"))
    assert (cache_object.size, cache_object.stored_end, backing_size(cache_object)) == (7, 0, 0)
    cache_object.close()
    assert read_label(object_file(tmp_path)).object_size == 7


def test_the_dirty_mark_is_durable_before_the_first_block(tmp_path: Path) -> None:
    """Between the label DIRTY and the first write in place there is a sync."""
    fileops = CountingFileOps(PosixFileOps())
    store = bind(tmp_path, fileops=fileops.fileops)
    model = text(2 * store.block_size)
    put(store, model.part(0, model.size)).close()
    cache_object = found(store)
    fileops.reset()
    cache_object.begin_modify()
    assert read_label(object_file(tmp_path)).content == Content.DIRTY
    names = list(fileops.names)
    marked = max(i for i, name in enumerate(names) if "setxattr" in name)
    assert any("sync" in name for name in names[marked + 1 :]), names
    write(cache_object, model, 5, b"dirty")
    assert read_label(object_file(tmp_path)).content == Content.DIRTY
    cache_object.commit(version(model.size, "b"))
    assert read_label(object_file(tmp_path)).content == Content.ALL
    store.close()


def test_data_is_durable_before_the_clean_label(tmp_path: Path) -> None:
    """A commit syncs the data, then writes the label, then syncs the label."""
    fileops = CountingFileOps(PosixFileOps())
    store = bind(tmp_path, fileops=fileops.fileops)
    model = text(2 * store.block_size)
    cache_object = put(store, model.part(0, model.size))
    cache_object.begin_modify()
    write(cache_object, model, 5, b"dirty")
    fileops.reset()
    cache_object.commit(version(model.size, "b"))
    names = list(fileops.names)
    marked = max(i for i, name in enumerate(names) if "setxattr" in name)
    assert any("sync" in name for name in names[:marked]), names
    assert any("sync" in name for name in names[marked + 1 :]), names
    store.close()
