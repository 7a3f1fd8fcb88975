"""References and attributes of the store: T7 (culling lets go of everything once), T33 (an
attribute that cannot be changed)."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

import pytest

from netcache._cachefiles.fileops import PosixFileOps
from netcache._core.content import WriteKind
from netcache._core.keys import ObjectKey
from netcache._fscache.ports import CacheStore
from netcache.errors import CacheError
from tests.support.fixtures import Opener
from tests.support.intercept import Override
from tests.support.stores import (
    KEY,
    OTHER_KEY,
    blocks,
    check,
    create,
    fill_blocks,
    found,
    put,
    text,
)


def descriptors() -> int:
    """How many descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))


def test_t07_an_object_is_culled_once_and_not_while_it_is_open(store: CacheStore) -> None:
    """In use it stays; afterwards it goes, and a second time there is nothing to go."""
    model = text(3 * store.block_size)
    put(store, model.part(0, model.size)).close()
    kept = found(store)
    assert store.cull(0)[0] == 0
    check(kept, model)
    kept.close()
    before = descriptors()
    assert store.cull(0)[0] == 1
    assert store.cull(0) == (0, 0)
    assert store.drop(KEY) == 0
    assert store.lookup(KEY) is None
    assert descriptors() <= before


def test_t07_dropping_an_open_object_leaves_its_readers_alone(store: CacheStore) -> None:
    """Dropped twice under its reader: the bytes stay to the last, then every descriptor is gone."""
    model = text(3 * store.block_size)
    put(store, model.part(0, model.size)).close()
    put(store, model.part(0, model.size), key=OTHER_KEY).close()
    before = descriptors()
    reader = found(store)
    store.drop(KEY)
    store.drop(KEY)
    check(reader, model)
    reader.close()
    reader.close()
    assert descriptors() == before
    check(found(store, OTHER_KEY), model)


def test_t07_a_folder_that_became_empty_can_be_used_again(store: CacheStore) -> None:
    """Everything of a volume goes, folders included or not: the next object finds its place."""
    model = text(2 * store.block_size)
    keys = [ObjectKey(KEY.volume, f"many/{index}".encode()) for index in range(20)]
    for key in keys:
        put(store, model.part(0, model.size), key=key).close()
    assert store.cull(0)[0] == 20
    for key in keys:
        put(store, model.part(0, model.size), key=key).close()
        check(found(store, key), model)


@pytest.mark.parametrize("code", [errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EPERM])
def test_t33_an_attribute_that_cannot_be_changed(opener: Opener, code: int) -> None:
    """A filesystem frozen, full or read-only: an error of the cache, and no promise of data."""
    refused = [False]
    inner = PosixFileOps()

    def setxattr(fd: int, name: str, value: bytes) -> None:
        if refused[0]:
            raise OSError(code, os.strerror(code))
        inner.setxattr(fd, name, value)

    store = opener(fileops=Override(inner, setxattr=setxattr).fileops)
    block = store.block_size
    model = text(4 * block)
    cache_object = create(store, model.size)
    fill_blocks(cache_object, model, 0, 1)
    refused[0] = True
    cache_object.write_blocks(block, model.part(block, 2 * block))
    with pytest.raises(CacheError):
        cache_object.collect_write(WriteKind.DATA, block, 2 * block)
    refused[0] = False
    again = opener().lookup(KEY)
    if again is not None:
        check(again, model)
        assert 1 not in blocks(again)


def test_t33_a_read_only_directory_is_no_cache_and_no_harm(tmp_path: Path) -> None:
    """Binding says what is wrong; what is there stays as it is."""
    from netcache._cachefiles.store import bind

    store = bind(str(tmp_path / "cache"))
    model = text(2 * store.block_size)
    put(store, model.part(0, model.size)).close()
    store.close()

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    names = ("setxattr", "open_new", "open_tmpfile", "write_all", "rename", "link")
    frozen = Override(PosixFileOps(), **dict.fromkeys(names, refuse)).fileops
    with contextlib.suppress(CacheError):
        half = bind(str(tmp_path / "cache"), fileops=frozen)
        with pytest.raises(CacheError):
            create(half, 10, key=OTHER_KEY)
        half.close()
    store = bind(str(tmp_path / "cache"))
    check(found(store), model)
    store.close()
