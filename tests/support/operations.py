"""Operations on a store, from a prepared state, for tests that break off in the middle of them.

``prepared`` makes a store with an object of version "0"; an operation works on it and may make it
version "1"; ``verify`` opens the directory anew and accepts a miss or either version, whole.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from netcache._core.content import WriteKind
from netcache._core.keys import ObjectKey
from netcache._fscache.ports import CacheObject, CacheStore
from netcache.errors import CacheError
from tests.support.bytemodel import ByteModel, pattern
from tests.support.stores import (
    KEY,
    OTHER_KEY,
    VOLUME,
    Sync,
    check,
    create,
    fill_blocks,
    fill_from,
    put,
    served,
    text,
    version,
)

if TYPE_CHECKING:
    from netcache._cachefiles.file_port import FileOps

THIRD_KEY = ObjectKey(VOLUME, b"third")


class Case(NamedTuple):
    """A store with one object of version "0" (``old``); an operation may make it ``new``."""

    store: CacheStore
    old: ByteModel
    new: ByteModel

    @property
    def block(self) -> int:
        """``B``."""
        return self.store.block_size


def opened(case: Case) -> CacheObject:
    """The old object; a fault may also have made it a miss."""
    cache_object = case.store.lookup(KEY)
    if cache_object is None:
        raise CacheError("a miss")
    assert cache_object.version == version(case.old.size, "0")
    return cache_object


def put_operation(case: Case) -> None:
    """Replace the object as a whole."""
    new = case.store.begin(KEY)
    try:
        for start in range(0, case.new.size, 5000):
            new.write(case.new.part(start, start + 5000))
        new.publish(version(case.new.size, "1"), checked_s=1.0).close()
    finally:
        new.discard()


def create_operation(case: Case) -> None:
    """Replace the object by one that is filled in pieces."""
    cache_object = create(case.store, case.new.size, tag="1")
    for first, last in ((0, 1), (1, 3), (4, 5)):
        fill_blocks(cache_object, case.new, first, last)
    cache_object.close()


def fill_operation(case: Case) -> None:
    """Fill holes and the end of what is stored, in and out of order, one run cancelled."""
    cache_object = opened(case)
    try:
        cache_object.write_blocks(6 * case.block, case.old.part(6 * case.block, 7 * case.block))
        fill_blocks(cache_object, case.old, 4, 6)
        cache_object.collect_write(WriteKind.DATA, 6 * case.block, 7 * case.block)
        cache_object.collect_write(WriteKind.CANCEL, 7 * case.block, 8 * case.block)
        fill_blocks(cache_object, case.old, 2, 3)
    finally:
        check_live(cache_object, case.old)


def check_live(cache_object: CacheObject, model: ByteModel) -> None:
    """The object that saw the failure refuses, or serves right bytes."""
    with contextlib.suppress(CacheError):
        assert model.wrong_parts(served(cache_object)) == []


def read_operation(case: Case) -> None:
    """Ask for everything and read it, by a fresh lookup."""
    cache_object = case.store.lookup(KEY)
    if cache_object is not None:
        list(cache_object.extents())
        assert case.old.wrong_parts(served(cache_object)) == []
        cache_object.mark_checked(2_000_000_000.0)
        cache_object.mark_used()
        cache_object.close()


def write_operation(case: Case) -> None:
    """Modify in place and commit."""
    cache_object = opened(case)
    cache_object.begin_modify()
    cache_object.write(0, case.new.part(0, case.block + 9), fill_from(case.new))
    rest = case.new.part(case.block + 9, case.new.size)
    cache_object.write(case.block + 9, rest, fill_from(case.new))
    cache_object.truncate(case.new.size)
    cache_object.commit(version(case.new.size, "1"))
    cache_object.close()


def truncate_operation(case: Case) -> None:
    """Cut inside a block, extend, cut to nothing, and write anew."""
    cache_object = opened(case)
    cache_object.begin_modify()
    cache_object.truncate(case.block + 9)
    cache_object.truncate(6 * case.block)
    cache_object.truncate(0)
    cache_object.write(0, case.new.part(0, case.new.size), fill_from(case.new))
    cache_object.commit(version(case.new.size, "1"))
    cache_object.close()


def invalidate_operation(case: Case) -> None:
    """Throw the content away and fill the next version."""
    cache_object = opened(case)
    cache_object.invalidate(version(case.new.size, "1"))
    fill_blocks(cache_object, case.new, 0, 2)
    cache_object.close()


def space_operation(case: Case) -> None:
    """Cull, drop and clear, with several objects there."""
    case.store.reserve(case.block)
    case.store.cull(0)
    case.store.drop(KEY)
    put(case.store, b"again", key=OTHER_KEY).close()
    list(case.store.objects())
    list(case.store.verify())
    case.store.status()
    case.store.clear()


OPERATIONS = [
    put_operation,
    create_operation,
    fill_operation,
    read_operation,
    write_operation,
    truncate_operation,
    invalidate_operation,
    space_operation,
]


def prepared(directory: Path, fileops: FileOps, sync: Sync = "lazy") -> Case:
    """A store with an object that has blocks 0 and 1 of 8, a hole, and block 3."""
    from netcache._cachefiles.store import bind

    store: CacheStore = bind(directory, fileops=fileops, sync=sync)
    block = store.block_size
    old, new = text(8 * block + 9), text(5 * block + 77, seed=1)
    cache_object = create(store, old.size, tag="0")
    fill_blocks(cache_object, old, 0, 2)
    fill_blocks(cache_object, old, 3, 4)
    cache_object.close()
    put(store, pattern(0, 3000), key=OTHER_KEY).close()
    return Case(store, old, new)


def verify(directory: Path, case: Case, fileops: FileOps | None = None) -> None:
    """Open anew without faults: a miss, or a version with its own bytes; and it works."""
    from netcache._cachefiles.fileops import PosixFileOps
    from netcache._cachefiles.store import bind

    store = bind(directory, fileops=fileops or PosixFileOps())
    cache_object = store.lookup(KEY)
    if cache_object is not None:
        model = {"0": case.old, "1": case.new}[cache_object.version.validator.value.strip('"')]
        assert cache_object.version.size == model.size
        check(cache_object, model)
        fill_blocks(cache_object, model, 2, 3)
        check(cache_object, model)
        cache_object.close()
    other = store.lookup(OTHER_KEY)
    if other is not None:
        assert other.size in (3000, 5)
        check(other, ByteModel(pattern(0, 3000) if other.size == 3000 else b"again"))
    check(put(store, b"new", key=THIRD_KEY), ByteModel(b"new"))
    for place, why in store.verify():
        assert place
        assert why
    store.close()
