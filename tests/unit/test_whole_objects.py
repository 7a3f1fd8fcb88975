"""Objects that come whole: made in one step where nothing has their name, else the ordinary way."""

from __future__ import annotations

import contextlib
import errno
import shutil
import time
from pathlib import Path

import pytest

from netcache._cachefiles.fileops import PosixFileOps
from netcache._cachefiles.mapping_table import MappingTable
from netcache._cachefiles.store import CachefilesStore, bind
from netcache._cachefiles.whole_object import make_whole
from netcache._core.content import Content
from netcache.errors import CacheError
from tests.support.damage import stray_tables
from tests.support.faults import FaultyFileOps
from tests.support.faulty_store import ops, store
from tests.support.intercept import Override
from tests.support.stores import KEY, OTHER_KEY, check, found, object_file, put, text, version

__all__ = ["ops", "store"]

SIZES = (1, 4095, 4096, 4097, 65536)


def make(store: CachefilesStore, data: bytes, tag: str = "a") -> bool:
    """Make ``data`` the object in one step."""
    bound = store._bound
    return make_whole(bound, KEY, version(len(data), tag), data, checked_s=time.time())


@pytest.mark.parametrize("size", SIZES)
def test_what_is_made_in_one_step_is_as_good_as_any(
    tmp_path: Path, store: CachefilesStore, size: int
) -> None:
    """All there, with sums, and on record once it was written."""
    model = text(size)
    assert make(store, model.part(0, size))
    assert found(store).content is Content.ALL
    check(found(store), model)
    assert not list(store.verify())
    assert stray_tables(tmp_path) == []
    assert store._bound.room.flush()
    assert store._bound.room.unsettled() == 0


def test_a_name_that_is_taken_is_not_touched(store: CachefilesStore) -> None:
    """``keep`` then replaces it the ordinary way, and remembers why."""
    old, new = text(5000, 1), text(6000, 2)
    put(store, old.part(0, 5000)).close()
    held = store._bound.room.purse.held()
    assert not make(store, new.part(0, 6000), "b")
    assert store._bound.room.purse.held() == held
    check(found(store), old)
    store.keep(KEY, version(6000, "b"), new.part(0, 6000), checked_s=time.time())
    check(found(store), new)
    assert store.memory.traces(KEY)


def test_who_shares_a_map_of_the_name_is_told(store: CachefilesStore, tmp_path: Path) -> None:
    """Also when what he has mapped was dropped before."""
    put(store, text(5000).part(0, 5000)).close()
    ops = PosixFileOps()
    table = MappingTable(ops, ops.open_folder(str(tmp_path)))
    place = store._bound.place(KEY)
    table.messages()
    with table.locked(place, 1):
        assert table.claim(place, lambda mask: 0) is not None
    object_file(tmp_path).unlink()
    data = text(6000, 2).part(0, 6000)
    with table.locked(place, 1):
        before = table.find(place)
    assert not make(store, data, "b")
    store.keep(KEY, version(6000, "b"), data, checked_s=time.time())
    with table.locked(place, 1):
        after = table.find(place)
    assert before is not None
    assert after is not None
    assert after.record.generation != before.record.generation
    table.close()


def test_a_folder_that_was_removed_is_made_again(store: CachefilesStore, tmp_path: Path) -> None:
    """By the ordinary way."""
    data = text(5000).part(0, 5000)
    assert make(store, data)
    shutil.rmtree(object_file(tmp_path).parent)
    assert not make(store, data)
    store.keep(KEY, version(5000), data, checked_s=time.time())
    check(found(store), text(5000))


def test_without_nameless_files_the_ordinary_way_is_taken(
    store: CachefilesStore, ops: FaultyFileOps
) -> None:
    """Nothing is lost."""
    data = text(5000).part(0, 5000)
    ops.arm(errno.EOPNOTSUPP, 1, only={"open_tmpfile"}, lasting=True)
    assert not make(store, data)
    store.keep(KEY, version(5000), data, checked_s=time.time())
    check(found(store), text(5000))


def without_nameless_files() -> FaultyFileOps:
    """A disk without O_TMPFILE, whose calls may fail besides."""

    def refused(_at: int) -> int:
        raise OSError(errno.EOPNOTSUPP, "no O_TMPFILE")

    return FaultyFileOps(Override(PosixFileOps(), open_tmpfile=refused).fileops)


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "lasting"])
def test_without_nameless_files_a_failure_is_a_cache_error_and_costs_no_room(
    tmp_path: Path, lasting: bool
) -> None:
    """Throwing the new object away fails nothing, also when its private name is gone already."""
    data = text(5000).part(0, 5000)
    for number in range(1, 100):
        ops = without_nameless_files()
        store = bind(tmp_path / str(number), fileops=ops.fileops)
        put(store, data, key=OTHER_KEY).close()
        held = store._bound.room.purse.held()
        ops.arm(errno.ENOSPC, number, lasting=lasting)
        with contextlib.suppress(CacheError):
            store.keep(KEY, version(5000), data, checked_s=time.time())
        failed = list(ops.failed)
        ops.disarm()
        assert not failed or store._bound.room.purse.held() <= held, failed
        store.close()
        if not failed:
            break
    assert number > 5


def test_without_nameless_files_a_removed_cache_costs_a_new_object_only(tmp_path: Path) -> None:
    """Its private name went with the directory."""
    store = bind(tmp_path / "cache", fileops=without_nameless_files().fileops)
    new = store.begin(KEY)
    new.write(bytes(5000))
    shutil.rmtree(tmp_path / "cache")
    new.discard()
    store.close()


def test_an_object_that_is_synced_or_too_large_for_its_label_is_not_made_here(
    tmp_path: Path,
) -> None:
    """They need more steps."""
    for index, options in enumerate(({"sync": "commit"}, {"sums_in_label": 1})):
        store = bind(tmp_path / str(index), **options)  # type: ignore[arg-type]
        assert not make(store, bytes(8192))
        store.keep(KEY, version(8192), bytes(8192), checked_s=time.time())
        assert found(store).content is Content.ALL
        store.close()


def test_whatever_call_fails_there_is_the_object_or_none(
    store: CachefilesStore, ops: FaultyFileOps, tmp_path: Path
) -> None:
    """And no room is lost, nor a descriptor: for each call of them all."""
    data, failures = text(5000).part(0, 5000), 0
    put(store, data, key=OTHER_KEY).close()
    for number in range(1, 100):
        held = store._bound.room.purse.held()
        ops.arm(errno.ENOSPC, number)
        try:
            store.keep(KEY, version(5000), data, checked_s=time.time())
        except CacheError:
            failures += 1
            assert store.lookup(KEY) is None
            assert store._bound.room.purse.held() == held
        ops.disarm()
        assert not store._bound.nameless
        if not ops.failed:
            break
        store.drop(KEY)
    assert failures > 4
    check(found(store), text(5000))


def test_the_record_is_read_again_when_another_process_has_changed_it(tmp_path: Path) -> None:
    """What was read before is believed only as long as nobody has changed anything."""
    one, other = bind(tmp_path), bind(tmp_path)
    keys = [KEY._replace(name=b"%d" % number) for number in range(60)]
    for number, key in enumerate(keys):
        store = (one, other)[number // 5 % 2]
        store.keep(key, version(100), bytes(100), checked_s=time.time())
        if number % 5 == 4:
            assert store._bound.room.flush()
    for store in (one, other):
        with store._bound.room.change() as change:
            places = [store._bound.place(key).encode() for key in keys]
            assert all(change.index.find(place) for place in places)
            assert change.head.objects == len(keys)
            assert change.head.total == sum(
                change.index.slot(change.index.find(place)).charge for place in places
            )
    one.close()
    other.close()
