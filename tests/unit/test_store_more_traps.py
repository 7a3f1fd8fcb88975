"""Where a naive store goes wrong: traps 12 to 21."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from netcache._cachefiles.fileops import PosixFileOps
from netcache._cachefiles.store import bind
from netcache._core.content import Content, WriteKind
from netcache._core.keys import ObjectKey
from netcache._fscache.ports import CacheStore
from netcache.errors import CacheError, InvariantError, UsageError
from tests.support.bytemodel import ByteModel, pattern
from tests.support.fixtures import Opener
from tests.support.intercept import Override, methods
from tests.support.labels import raw_label, read_label
from tests.support.stores import (
    VOLUME,
    backing_size,
    blocks,
    check,
    create,
    fill_blocks,
    found,
    no_fill,
    object_file,
    put,
    text,
    version,
    write,
)


def refusing(code: int) -> Callable[..., Any]:
    """A system call that is not supported here."""

    def call(*_args: Any, **_options: Any) -> Any:
        raise OSError(code, os.strerror(code))

    return call


def test_trap_12_rounding_does_not_move_the_size(store: CacheStore, tmp_path: Path) -> None:
    """More is written than the resource has; S stays what it is, in memory and on disk."""
    block = store.block_size
    model = text(block + 5)
    cache_object = create(store, model.size)
    fill_blocks(cache_object, model, 1, 2)
    assert (cache_object.size, backing_size(cache_object)) == (block + 5, 2 * block)
    cache_object.begin_modify()
    cache_object.write(block + 5, b"123", no_fill)
    assert cache_object.size == block + 8
    cache_object.commit(version(block + 8, "b"))
    assert read_label(object_file(tmp_path)).object_size == block + 8


def test_trap_13_a_cancelled_write_splits_its_run(store: CacheStore) -> None:
    """Stored, failed, stored: the middle is a hole although its bytes may be on disk."""
    block = store.block_size
    model = text(3 * block)
    cache_object = create(store, model.size)
    cache_object.write_blocks(0, model.part(0, block))
    cache_object.write_blocks(block, b"\xff" * block)
    cache_object.write_blocks(2 * block, model.part(2 * block, 3 * block))
    for number, kind in enumerate((WriteKind.DATA, WriteKind.CANCEL, WriteKind.DATA)):
        cache_object.collect_write(kind, number * block, (number + 1) * block)
    assert cache_object.content is Content.BACKFS_MAP
    assert blocks(cache_object) == [0, 2]
    check(cache_object, model)


def test_trap_14_writing_does_not_race_with_opening(opener: Opener) -> None:
    """Whoever opens during a fill finds the object, with the size that its version has."""
    store = opener()
    block = store.block_size
    model = text(4 * block + 9)
    cache_object = create(store, model.size)
    for number in (0, 1, 3, 4):
        low, high = number * block, (number + 1) * block
        cache_object.write_blocks(low, model.part(low, high))
        during = found(opener())
        assert (during.size, during.version) == (model.size, version(model.size))
        check(during, model)
        cache_object.collect_write(WriteKind.DATA, low, high)


@pytest.mark.parametrize("size", [0, 1, 1 << 30])
def test_trap_15_an_empty_object_has_nothing_cached(opener: Opener, size: int) -> None:
    """I = 0 is legal with any content: nothing is cached, and reads miss."""
    store = opener()
    cache_object = create(store, size)
    for view in (cache_object, found(opener())):
        assert backing_size(view) == 0
        assert view.query_occupancy(0, max(size, store.block_size)) == ()
        assert list(view.extents()) == []
        assert view.read_into(0, bytearray(16)) == 0
        check(view, ByteModel())


def test_trap_16_reads_are_cut_at_the_stored_end(store: CacheStore) -> None:
    """A read that reaches past what is stored gives the part below; at the end it gives 0."""
    block = store.block_size
    model = text(8 * block)
    cache_object = create(store, model.size)
    fill_blocks(cache_object, model, 0, 3)
    buffer = bytearray(16 * block)
    assert cache_object.read_into(2 * block, buffer) == block
    assert bytes(buffer[:block]) == model.part(2 * block, 3 * block)
    assert cache_object.read_into(3 * block, buffer) == 0
    assert cache_object.read_into(7 * block, buffer) == 0
    assert cache_object.read_into(900 * block, buffer) == 0
    assert cache_object.read_into(0, bytearray()) == 0
    assert cache_object.query_occupancy(3 * block, 8 * block) == ()


@pytest.mark.parametrize(
    ("start", "length"),
    [(1, "B"), ("B/2", "B"), ("B-1", "B"), (1, "B-1"), (0, 1000), (0, "B-1"), ("B", "B/2")],
)
def test_trap_17_alignment_is_enforced_on_every_filesystem(
    store: CacheStore, start: int | str, length: int | str
) -> None:
    """A write off the grid is refused by us: some filesystems would take it."""
    block = store.block_size
    named = {"B": block, "B/2": block // 2, "B-1": block - 1}
    low = named[start] if isinstance(start, str) else start
    count = named[length] if isinstance(length, str) else length
    cache_object = create(store, 8 * block)
    with pytest.raises((CacheError, InvariantError, ValueError)):
        cache_object.write_blocks(low, b"\xff" * count)
    assert blocks(cache_object) == []


def test_trap_18_without_zero_range_padding_is_zeroed_by_writing(tmp_path: Path) -> None:
    """Where the call is not supported the result is the same."""
    names = methods("zero", "punch", "allocate")
    assert names
    unsupported = {name: refusing(errno.EOPNOTSUPP) for name in names}
    fileops = Override(PosixFileOps(), **unsupported).fileops
    padding_is_zeroed(bind(tmp_path, fileops=fileops))


def test_trap_18_tmpfs_is_refused_or_right() -> None:
    """The same on a filesystem that really lacks the call."""
    if not os.access("/dev/shm", os.W_OK):
        pytest.skip("there is no /dev/shm to write to")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        try:
            store = bind(Path(directory))
        except CacheError:
            return
        padding_is_zeroed(store)


def padding_is_zeroed(store: CacheStore) -> None:
    """Extend over rubbish in the padding, cut, cancel a run; all must read right."""
    block = store.block_size
    model = text(block + 9)
    cache_object = create(store, model.size)
    fill_blocks(cache_object, model, 0, 2)
    cache_object.begin_modify()
    os.pwrite(cache_object.fileno(), b"\xff" * (block - 9), block + 9)
    cache_object.truncate(6 * block)
    model.truncate(6 * block)
    check(cache_object, model)
    write(cache_object, model, 4 * block, pattern(0, block, 2))
    cache_object.write_blocks(3 * block, b"\xff" * block)
    cache_object.collect_write(WriteKind.CANCEL, 3 * block, 4 * block)
    check(cache_object, model)
    assert 3 not in blocks(cache_object)
    cache_object.truncate(4 * block + 7)
    model.truncate(4 * block + 7)
    check(cache_object, model)
    cache_object.commit(version(model.size, "b"))
    cache_object.close()
    check(found(store), model)
    store.close()


def test_trap_19_allocated_blocks_do_not_tell_what_is_cached(store: CacheStore) -> None:
    """Space that the filesystem holds beyond the data is not reported as cached."""
    block = store.block_size
    model = text(8 * block)
    cache_object = create(store, model.size)
    fill_blocks(cache_object, model, 0, 1)
    os.posix_fallocate(cache_object.fileno(), block, 7 * block)
    assert os.fstat(cache_object.fileno()).st_blocks * 512 >= 8 * block
    assert blocks(cache_object) == [0]
    (record,) = store.objects()
    assert record.cached_bytes == block


@pytest.mark.parametrize("reported", [0, -1, 1000, 12288, 1 << 20, 1 << 30])
def test_trap_20_a_strange_block_size_is_refused_or_overridden(
    tmp_path: Path, reported: int
) -> None:
    """Whatever statfs says, B is a power of two from 512 to 65536, or binding fails clearly."""
    names = methods("statvfs", "statfs")
    assert names
    inner = PosixFileOps()

    def answer(name: str) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            truth = getattr(inner, name)(*args, **options)
            fields = {f: getattr(truth, f) for f in dir(truth) if f.startswith("f_")}
            if not fields:
                pytest.skip("the port reports no f_ fields")
            return SimpleNamespace(**{**fields, "f_bsize": reported, "f_frsize": reported})

        return call

    fileops = Override(inner, **{name: answer(name) for name in names}).fileops
    try:
        store = bind(tmp_path, fileops=fileops)
    except CacheError:
        return
    assert 512 <= store.block_size <= 65536
    assert store.block_size & (store.block_size - 1) == 0
    store.close()


@pytest.mark.parametrize("wanted", [0, -4096, 256, 3000, 4097, 131072])
def test_trap_20_a_block_size_off_the_range_is_refused(tmp_path: Path, wanted: int) -> None:
    """An override must be a power of two from 512 to 65536."""
    with pytest.raises((CacheError, UsageError)):
        bind(tmp_path, block_size=wanted)


def test_trap_21_the_label_does_not_grow_with_the_map(store: CacheStore, tmp_path: Path) -> None:
    """Attributes are small: the extents are not in them."""
    model = text(64 * store.block_size)
    cache_object = create(store, model.size)
    fill_blocks(cache_object, model, 63, 64)
    before = len(raw_label(object_file(tmp_path)))
    for number in range(0, 60, 2):
        fill_blocks(cache_object, model, number, number + 1)
    cache_object.close()
    assert len(raw_label(object_file(tmp_path))) == before
    assert before < 1024


@pytest.mark.parametrize("length", [200, 255, 256, 1000, 3000])
@pytest.mark.parametrize("filesystem", ["ext4-1024"], indirect=True)
def test_trap_21_a_long_key_is_kept_or_refused_politely(
    filesystem: str, cache_directory: Path, length: int
) -> None:
    """With attributes limited to one small block: cached and found again, or ``CacheError``."""
    store = bind(cache_directory)
    one = ObjectKey(VOLUME, b"\xe4/" * (length // 2) + b"1")
    two = ObjectKey(VOLUME, b"\xe4/" * (length // 2) + b"2")
    try:
        put(store, b"one", key=one).close()
        put(store, b"two", key=two).close()
    except CacheError:
        return
    check(found(store, one), ByteModel(b"one"))
    check(found(store, two), ByteModel(b"two"))
    assert {record.key for record in store.objects()} == {one, two}
    store.close()


def test_trap_21_without_attributes_binding_fails_clearly(tmp_path: Path) -> None:
    """A filesystem that has none is named as the cause at once, not at the first fill."""
    names = methods("setxattr")
    assert names
    missing = {name: refusing(errno.EOPNOTSUPP) for name in names}
    with pytest.raises(CacheError) as caught:
        bind(tmp_path, fileops=Override(PosixFileOps(), **missing).fileops)
    assert "attr" in str(caught.value)
