"""Files, bytes, blocks and tables in the place of others: none is taken for what it is not (P4)."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from netcache._cachefiles.store import bind
from netcache._fscache.ports import CacheStore
from tests.support.bytemodel import ByteModel
from tests.support.damage import lost_blocks, swap, tables
from tests.support.damage_targets import COUNT, PLACES, whole
from tests.support.stores import KEY, OTHER_KEY, fill_blocks, found, object_file, object_files


def two_objects(store: CacheStore) -> tuple[ByteModel, ByteModel]:
    """Two objects of the same version and size, with other bytes."""
    return whole(store, KEY, 1), whole(store, OTHER_KEY, 2)


def expect_neither_mixed(store: CacheStore, models: tuple[ByteModel, ByteModel]) -> list[int]:
    """Each object gives its own bytes or none; returns how many blocks each has left."""
    left = []
    for key, model in zip((KEY, OTHER_KEY), models, strict=True):
        cache_object = store.lookup(key)
        lost = COUNT if cache_object is None else len(lost_blocks(cache_object, model))
        left.append(COUNT - lost)
    return left


@PLACES
def test_swapped_files(tmp_path: Path, in_label: int) -> None:
    """Two objects with each other's names: neither is believed."""
    store = bind(tmp_path, sums_in_label=in_label)
    models = two_objects(store)
    swap(*object_files(tmp_path))
    assert expect_neither_mixed(store, models) == [0, 0]
    store.close()


@PLACES
def test_swapped_bytes(tmp_path: Path, in_label: int) -> None:
    """Two objects with each other's bytes, labels left where they are."""
    store = bind(tmp_path, sums_in_label=in_label)
    models = two_objects(store)
    one, other = object_files(tmp_path)
    first, second = one.read_bytes(), other.read_bytes()
    for path, data in ((one, second), (other, first)):
        with path.open("r+b") as file:
            file.write(data)
    assert expect_neither_mixed(store, models) == [0, 0]
    store.close()


@PLACES
def test_blocks_that_changed_places(tmp_path: Path, in_label: int) -> None:
    """A block at another block's place is not that block."""
    store = bind(tmp_path, sums_in_label=in_label)
    model = whole(store)
    block, path = store.block_size, object_file(tmp_path)
    with path.open("r+b") as file:
        os.pwrite(file.fileno(), model.part(9 * block, 10 * block), 3 * block)
        os.pwrite(file.fileno(), model.part(3 * block, 4 * block), 9 * block)
    assert lost_blocks(found(store), model) == [3, 9]
    store.close()


def test_a_copied_file_and_its_label(tmp_path: Path) -> None:
    """A restored backup has another inode, and is not believed."""
    store = bind(tmp_path)
    whole(store)
    path = object_file(tmp_path)
    copy = path.with_name("copy")
    shutil.copy2(path, copy)
    copy.rename(path)
    assert store.lookup(KEY) is None
    store.close()


@pytest.mark.parametrize("way", ["swapped", "exchanged", "copied", "gone", "cut", "folder"])
def test_tables_that_are_not_their_own(tmp_path: Path, way: str) -> None:
    """What another table says of another file is nothing; a doubt is a miss."""
    store = bind(tmp_path, sums_in_label=0)
    models = two_objects(store)
    one, other = tables(tmp_path)
    if way == "swapped":
        swap(one, other)
    elif way == "exchanged":
        first, second = one.read_bytes(), other.read_bytes()
        one.write_bytes(second)
        other.write_bytes(first)
    elif way == "copied":
        one.write_bytes(other.read_bytes())
    elif way == "cut":
        os.truncate(one, 64 + 8 * 30)
    else:
        one.unlink()
        if way == "folder":
            one.mkdir()
    left = expect_neither_mixed(store, models)
    assert left in {
        "swapped": ([0, 0],),
        "exchanged": ([0, 0],),
        "cut": ([30, COUNT], [COUNT, 30]),
    }.get(way, ([0, COUNT], [COUNT, 0]))
    if way != "folder":
        for key, model in zip((KEY, OTHER_KEY), models, strict=True):
            cache_object = found(store, key)
            for number in lost_blocks(cache_object, model):
                fill_blocks(cache_object, model, number, number + 1)
            assert lost_blocks(cache_object, model) == []
    store.close()


def test_an_old_table_for_the_same_inode_number(tmp_path: Path) -> None:
    """A name that is taken again is another table: number and birth are other ones."""
    store = bind(tmp_path, sums_in_label=0)
    old = whole(store, seed=1)
    (path,) = tables(tmp_path)
    before = path.read_bytes()
    store.drop(KEY)
    new = whole(store, seed=2)
    (path,) = tables(tmp_path)
    path.write_bytes(before)
    assert len(lost_blocks(found(store), new)) == COUNT
    assert old.data != new.data
    store.close()
