"""Objects are in use before they have a name: nobody changes them under who made them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from netcache._cachefiles.fileops import PosixFileOps
from netcache._cachefiles.store import CachefilesStore, bind
from netcache._fscache.ports import CacheObject
from tests.support.bytemodel import ByteModel
from tests.support.intercept import Override
from tests.support.mapper import content_of, key, modify, put_version, size_of
from tests.support.stores import check, create, fill_blocks, found, version


def make(store: CachefilesStore) -> CacheObject:
    """An empty object, to be filled."""
    return create(store, size_of(1), key=key(), tag="1")


def invalidate(store: CachefilesStore) -> CacheObject:
    """An object that was emptied, to be filled."""
    cache_object = found(store, key())
    cache_object.invalidate(version(size_of(1), "1"))
    return cache_object


def put_whole(store: CachefilesStore) -> CacheObject:
    """An object that is complete."""
    new = store.begin(key())
    new.write(content_of(1))
    return new.publish(version(size_of(1), "1"), checked_s=1.0)


@pytest.mark.parametrize("begin", [make, invalidate, put_whole], ids=lambda begin: begin.__name__)
def test_who_finds_an_object_at_once_does_not_change_it_in_place(
    tmp_path: Path, begin: Any
) -> None:
    """Another process modifies it the moment that it has its name: each has its own version."""
    inner, other, changed = PosixFileOps(), bind(tmp_path), list[CacheObject]()
    put_version(other, 9)
    armed = False

    def rename(*args: Any) -> None:
        nonlocal armed
        inner.rename(*args)
        if armed:
            armed = False
            changed.append(found(other, key()))
            # Outside of the lock of the table, as a process that is only a little later.
            later.append(lambda: modify(changed[0], 2))

    later: list[Any] = []

    def unlock_range(*args: Any) -> None:
        inner.unlock_range(*args)
        while later:
            later.pop()()

    store = bind(
        tmp_path, fileops=Override(inner, rename=rename, unlock_range=unlock_range).fileops
    )
    armed = True
    mine = begin(store)
    assert changed
    model = ByteModel(content_of(1))
    fill_blocks(mine, model, 0, -(-size_of(1) // store.block_size))
    check(mine, model)
    check(changed[0], ByteModel(content_of(2)))
    check(found(bind(tmp_path), key()), ByteModel(content_of(2)))
    store.close()
    other.close()
