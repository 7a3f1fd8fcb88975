"""Where a naive store goes wrong: traps 1 to 11."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from netcache._cachefiles.fileops import PosixFileOps
from netcache._cachefiles.store import bind
from netcache._core.content import WriteKind
from netcache._fscache.ports import CacheStore
from netcache.errors import CacheError, UsageError
from tests.support.bytemodel import ByteModel, pattern
from tests.support.counting import CountingFileOps
from tests.support.filesystems import FILESYSTEMS
from tests.support.fixtures import Opener
from tests.support.stores import (
    backing_size,
    blocks,
    check,
    create,
    fill,
    fill_blocks,
    found,
    object_file,
    put,
    text,
    write,
)

on_every_filesystem = pytest.mark.parametrize("filesystem", list(FILESYSTEMS), indirect=True)


def bound(filesystem: str, directory: Path) -> CacheStore:
    """A store on a loop-mounted filesystem, with the block size that goes with its name."""
    store: CacheStore = bind(directory, block_size=FILESYSTEMS[filesystem].block_size)
    assert store.block_size == FILESYSTEMS[filesystem].effective_block_size
    return store


def test_trap_01_a_hole_is_not_cached_and_never_zeros(store: CacheStore) -> None:
    """In a map a hole is a miss; zeros of the file itself are data."""
    block = store.block_size
    model = text(5 * block)
    model.write(2 * block, bytes(block))
    cache_object = create(store, model.size)
    fill_blocks(cache_object, model, 2, 3)
    fill_blocks(cache_object, model, 4, 5)
    assert blocks(cache_object) == [2, 4]
    check(cache_object, model)


@on_every_filesystem
def test_trap_02_scattered_blocks_are_reported_exactly(
    filesystem: str, cache_directory: Path
) -> None:
    """No filesystem makes the store report a block that was never written."""
    store = bound(filesystem, cache_directory)
    model = text(64 * store.block_size)
    cache_object = create(store, model.size)
    wanted = [1, 3, 4, 9, 17, 18, 40, 63]
    for number in reversed(wanted):
        fill_blocks(cache_object, model, number, number + 1)
    assert blocks(cache_object) == wanted
    check(cache_object, model)
    cache_object.close()
    os.sync()
    again = found(store)
    assert blocks(again) == wanted
    check(again, model)
    store.close()


def test_trap_02_a_sparse_object_is_never_preallocated(tmp_path: Path) -> None:
    """No allocation call is made for fills: SEEK_DATA may report what was only allocated."""
    fileops = CountingFileOps(PosixFileOps())
    store = bind(tmp_path, fileops=fileops.fileops)
    model = text(9 * store.block_size)
    cache_object = create(store, model.size)
    fileops.reset()
    for number in (0, 4, 8, 1):
        fill_blocks(cache_object, model, number, number + 1)
    assert not [n for n in fileops.names if "alloc" in n or "truncate" in n], fileops.names
    store.close()


def test_trap_02_blocks_below_the_filesystem_s_own_are_refused(tmp_path: Path) -> None:
    """B is at least the filesystem's block: smaller holes cannot be told from data."""
    own = os.statvfs(tmp_path).f_bsize
    if own <= 512:
        pytest.skip(f"the filesystem of {tmp_path} has blocks of {own}")
    with pytest.raises((CacheError, UsageError)):
        bind(tmp_path, block_size=own // 2)


@on_every_filesystem
@pytest.mark.parametrize("whole", [True, False])
def test_trap_03_a_hole_digger_costs_a_miss_and_no_wrong_byte(
    filesystem: str, cache_directory: Path, whole: bool
) -> None:
    """Backup tools turn stored zeros into holes: an ALL object is unmoved, a map forgets."""
    if shutil.which("fallocate") is None:
        pytest.skip("fallocate of util-linux is not installed")
    store = bound(filesystem, cache_directory)
    block = store.block_size
    model = text(6 * block)
    model.write(2 * block, bytes(2 * block))
    cache_object = create(store, model.size)
    fill_blocks(cache_object, model, 0 if whole else 1, 6)
    cache_object.close()
    path = object_file(cache_directory)
    subprocess.run(["fallocate", "--dig-holes", path], check=True)
    again = store.lookup(cache_object.key)
    assert again is not None
    check(again, model)
    assert {1, 4, 5} <= set(blocks(again))
    if whole:
        assert blocks(again) == list(range(6))
    store.close()


@on_every_filesystem
def test_trap_04_stored_zeros_stay_data(filesystem: str, cache_directory: Path) -> None:
    """Blocks of zeros that were written are cached, on compressing filesystems too."""
    store = bound(filesystem, cache_directory)
    block = store.block_size
    model = ByteModel(bytes(8 * block))
    cache_object = create(store, model.size)
    fill_blocks(cache_object, model, 1, 2)
    fill_blocks(cache_object, model, 5, 8)
    os.fsync(cache_object.fileno())
    assert blocks(cache_object) == [1, 5, 6, 7]
    check(cache_object, model)
    store.close()


def test_trap_05_presence_says_nothing_about_durability(tmp_path: Path) -> None:
    """With ``sync="commit"`` the label of a fill is written only after its data is synced."""
    fileops = CountingFileOps(PosixFileOps())
    store = bind(tmp_path, fileops=fileops.fileops, sync="commit")
    model = text(4 * store.block_size)
    cache_object = create(store, model.size)
    cache_object.write_blocks(0, model.part(0, store.block_size))
    fileops.reset()
    cache_object.collect_write(WriteKind.DATA, 0, store.block_size)
    marks = [i for i, name in enumerate(fileops.names) if "setxattr" in name]
    syncs = [i for i, name in enumerate(fileops.names) if "sync" in name]
    assert marks, fileops.names
    assert syncs, fileops.names
    assert min(syncs) < min(marks), fileops.names
    store.close()


def test_trap_06_part_of_a_block_is_not_the_block(tmp_path: Path) -> None:
    """Extents of the filesystem are rounded inwards: a stray small block inside is not data."""
    store = bind(tmp_path, block_size=65536)
    model = text(8 * 65536)
    cache_object = create(store, model.size)
    fill_blocks(cache_object, model, 7, 8)
    os.pwrite(cache_object.fileno(), b"\xff", 65536 + 5000)
    os.pwrite(cache_object.fileno(), b"\xff" * 8192, 3 * 65536 - 4096)
    os.pwrite(cache_object.fileno(), b"\xff" * 4096, 5 * 65536)
    assert blocks(cache_object) == [7]
    check(cache_object, model)
    store.close()


def test_trap_07_the_file_size_is_no_mark_of_completion(store: CacheStore) -> None:
    """Writes that run ahead make the file longer, not readable further."""
    block = store.block_size
    model = text(6 * block)
    cache_object = create(store, model.size)
    cache_object.write_blocks(4 * block, model.part(4 * block, 5 * block))
    cache_object.write_blocks(0, model.part(0, block))
    assert blocks(cache_object) == []
    cache_object.collect_write(WriteKind.DATA, 0, block)
    assert blocks(cache_object) == [0]
    assert backing_size(cache_object) == 5 * block
    cache_object.collect_write(WriteKind.DATA, 4 * block, 5 * block)
    assert blocks(cache_object) == [0, 4]
    check(cache_object, model)


@pytest.mark.parametrize("extra", [1, 100, -1])
def test_trap_08_the_tail_block_is_clamped_at_the_size(store: CacheStore, extra: int) -> None:
    """A read of the last block ends at S, whatever lies behind it in the block."""
    block = store.block_size
    model = text(block + extra % block)
    cache_object = create(store, model.size)
    fill_blocks(cache_object, model, 0, 2)
    os.pwrite(cache_object.fileno(), b"\xff" * (2 * block - model.size), model.size)
    buffer = bytearray(2 * block)
    assert cache_object.read_into(0, buffer) == model.size
    assert bytes(buffer[: model.size]) == model.part(0, model.size)
    (run,) = cache_object.query_occupancy(0, 9 * block)
    assert run.end in (model.size, 2 * block)
    check(cache_object, model)


def test_trap_09_a_stale_tail_does_not_come_back_by_extension(store: CacheStore) -> None:
    """Cut to 5000, extended to 16 Ki: what is between reads as zeros."""
    model = text(3 * store.block_size + 5000)
    cut, extended = model.size - 4000, model.size + 12000
    cache_object = put(store, model.part(0, model.size))
    cache_object.begin_modify()
    for size in (cut, extended):
        cache_object.truncate(size)
        model.truncate(size)
    check(cache_object, model)
    (run,) = cache_object.extents()
    buffer = bytearray(run.end - cut)
    assert cache_object.read_into(cut, buffer) == len(buffer)
    assert bytes(buffer) == bytes(len(buffer))


@pytest.mark.parametrize("gap", [0, 1, 100])
def test_trap_10_old_bytes_do_not_reappear_after_an_append(store: CacheStore, gap: int) -> None:
    """Truncate down, then append in the same block, with or without a gap between."""
    block = store.block_size
    model = text(2 * block)
    cache_object = put(store, model.part(0, model.size))
    cache_object.begin_modify()
    cache_object.truncate(block + 10)
    model.truncate(block + 10)
    write(cache_object, model, block + 10 + gap, b"appended")
    check(cache_object, model)
    cache_object.truncate(2 * block)
    model.truncate(2 * block)
    check(cache_object, model)


def test_trap_11_a_second_process_does_not_make_a_hole_contiguous(opener: Opener) -> None:
    """Each opener believes the other's stored end, not the other's gaps."""
    one, two = opener(), opener()
    block = one.block_size
    model = text(8 * block)
    first = create(one, model.size)
    second = found(two)
    fill_blocks(first, model, 0, 2)
    fill_blocks(second, model, 5, 6)
    fill_blocks(first, model, 2, 3)
    third = found(opener())
    for view in (first, second, third):
        check(view, model)
        assert not {3, 4, 6, 7} & set(blocks(view))


def test_trap_11_two_openers_that_append_keep_a_true_record(opener: Opener) -> None:
    """Both captured the same old end: what they record afterwards is right byte for byte."""
    one, two = opener(), opener()
    block = one.block_size
    model = text(8 * block)
    first = create(one, model.size)
    fill_blocks(first, model, 0, 1)
    second = found(two)
    first.write_blocks(block, model.part(block, 2 * block))
    second.write_blocks(2 * block, model.part(2 * block, 3 * block))
    second.collect_write(WriteKind.DATA, 2 * block, 3 * block)
    check(found(opener()), model)
    first.collect_write(WriteKind.DATA, block, 2 * block)
    last = found(opener())
    check(last, model)
    assert {0, 1} <= set(blocks(last))
    fill(last, 7 * block, pattern(7 * block, 8 * block))
    check(last, model)


def test_trap_11_opening_during_a_fill_does_not_undo_it(opener: Opener) -> None:
    """Blocks in flight in one process survive that another opens the object meanwhile."""
    one, two = opener(), opener()
    block = one.block_size
    model = text(8 * block)
    first = create(one, model.size)
    fill_blocks(first, model, 0, 1)
    first.write_blocks(block, model.part(block, 4 * block))
    second = found(two)
    check(second, model)
    first.collect_write(WriteKind.DATA, block, 4 * block)
    for view in (first, found(opener())):
        check(view, model)
        assert blocks(view) == [0, 1, 2, 3]
