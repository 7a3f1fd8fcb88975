"""Tables of sums, the files beside those of objects: when they go, and when they stay."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from netcache._cachefiles.fileops import PosixFileOps
from netcache._cachefiles.store import bind
from netcache._fscache.ports import CacheStore
from tests.support.damage import lost_blocks, tables
from tests.support.damage_targets import COUNT, whole
from tests.support.intercept import Override
from tests.support.stores import KEY, OTHER_KEY, fill_blocks, found, put, text


def test_tables_go_with_their_objects(tmp_path: Path) -> None:
    """Dropped, replaced, invalidated, culled, cleared: no table is left behind."""
    store = bind(tmp_path, sums_in_label=0)
    whole(store)
    assert len(tables(tmp_path)) == 1
    whole(store, seed=1)
    assert len(tables(tmp_path)) == 1, "replaced"
    cache_object = found(store)
    cache_object.invalidate(cache_object.version)
    assert tables(tmp_path) == [], "invalidated"
    fill_blocks(cache_object, text(cache_object.size), 0, 3)
    assert len(tables(tmp_path)) == 1
    cache_object.close()
    store.drop(KEY)
    assert tables(tmp_path) == [], "dropped"
    whole(store)
    store.cull(0)
    assert tables(tmp_path) == [], "culled"
    whole(store)
    store.clear()
    assert tables(tmp_path) == [], "cleared"
    store.close()


def test_a_table_outlives_its_name_for_those_who_have_it(tmp_path: Path) -> None:
    """A reader of a replaced object goes on with what is cached of it."""
    store, other = bind(tmp_path, sums_in_label=0), bind(tmp_path, sums_in_label=0)
    old = whole(store, seed=1)
    reader = found(other)
    whole(store, seed=2)
    assert lost_blocks(reader, old) == []
    store.close()
    other.close()


def test_orphaned_tables_are_reaped_and_used_ones_are_not(tmp_path: Path) -> None:
    """What a killed process left behind is no damage, and goes with the next culling or repair."""
    store = bind(tmp_path, sums_in_label=0)
    model = whole(store)
    unpublished = store.begin(OTHER_KEY)
    unpublished.write(bytes(9000) * store.block_size)
    (path,) = (path for path in tables(tmp_path) if path.stat().st_size > 64 * COUNT)
    orphan = path.with_name("ffff")
    for tidy_up in (lambda: [*store.verify(repair=True)], lambda: [store.cull(None)]):
        orphan.write_bytes(b"x")
        assert list(store.verify()) == []
        assert orphan.exists()
        tidy_up()
        assert len(tables(tmp_path)) == 2
        assert not orphan.exists()
        assert path.exists(), "of an object that is being written"
    unpublished.discard()
    assert len(tables(tmp_path)) == 1
    assert lost_blocks(found(store), model) == []
    store.close()


def open_inodes() -> set[int]:
    """The inode numbers of what this process has open."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found.add(os.fstat(int(number)).st_ino)
    return found


@pytest.mark.parametrize(
    "forget",
    [
        lambda store: store.drop(KEY),
        lambda store: store.clear(),
        lambda store: store.cull(0),
        lambda store: put(store, b"new"),
    ],
    ids=["dropped", "cleared", "culled", "replaced"],
)
def test_a_table_goes_before_its_inode_number_can_be_another_file_s(
    tmp_path: Path, forget: Callable[[CacheStore], object]
) -> None:
    """Else a new object could get the number, and lose its own table."""
    inner, gone = PosixFileOps(), list[str]()

    def unlink(name: str, at: int) -> None:
        if "/+sums/" in name:
            gone.append(name)
            assert int(name.rpartition("/")[2], 16) in open_inodes()
        inner.unlink(name, at)

    store = bind(tmp_path, sums_in_label=0, fileops=Override(inner, unlink=unlink).fileops)
    whole(store)
    found(store).close()
    for cache_object in list(store._bound.objects):
        cache_object.close()
    forget(store)
    (name,) = gone
    assert name.rpartition("/")[2] not in [table.name for table in tables(tmp_path)]
    store.close()


def test_an_object_that_is_published_while_all_is_cleared_is_kept(tmp_path: Path) -> None:
    """Its private name was unlinked: the publisher failed, with a warning."""
    inner, other = PosixFileOps(), bind(tmp_path)

    def rename(old: str, old_at: int, new: str, new_at: int) -> None:
        other.clear()
        inner.rename(old, old_at, new, new_at)

    store = bind(tmp_path, fileops=Override(inner, rename=rename).fileops)
    put(other, b"old", tag="a").close()
    put(store, b"new", tag="b").close()
    assert found(store).version.validator.value == '"b"'
    store.close()
    other.close()
