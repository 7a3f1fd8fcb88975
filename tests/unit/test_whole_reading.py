"""Small complete objects that are read as a whole, once."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from netcache._cachefiles.fileops import PosixFileOps
from netcache._cachefiles.store import CachefilesStore, bind
from netcache._core.coherency import Validator, ValidatorKind, Version
from netcache._core.content import Content
from netcache._fscache.whole import WholeObject
from netcache.errors import CacheError
from tests.support.damage import flip, stray_tables
from tests.support.faults import FaultyFileOps
from tests.support.faulty_store import ops, store
from tests.support.intercept import Intercept
from tests.support.stores import (
    CHECKED_S,
    KEY,
    create,
    fill_blocks,
    found,
    object_file,
    put,
    text,
    version,
)

__all__ = ["ops", "store"]

SIZES = (1, 4095, 4096, 4097, 65536)


class SlowDisk(Intercept):
    """A disk that has nothing in memory; counts who waits for it."""

    waits = 0

    def around(self, name: str, args: tuple[Any, ...], call: Callable[[], Any]) -> Any:
        """Nothing is there at once."""
        self.waits += name == "read_into"
        return -1 if name == "read_nowait" else call()


def whole(store: CachefilesStore) -> WholeObject:
    """The object, open to be read whole."""
    opened = store.open_whole(KEY)
    assert opened is not None
    return opened


def read(store: CachefilesStore) -> bytes | None:
    """What is read of the object."""
    opened = whole(store)
    try:
        return opened.read()
    finally:
        opened.close()


def checked_s(store: CachefilesStore) -> float:
    """When it was last found current."""
    opened = whole(store)
    opened.close()
    return opened.checked_s


def holds(store: CachefilesStore, data: bytes) -> None:
    """An object with these bytes that nobody has open."""
    put(store, data).close()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("level", ["none", "open", "read"])
def test_what_is_there_is_read_with_its_version(tmp_path: Path, size: int, level: str) -> None:
    """At every level."""
    store, data = bind(tmp_path, verify=level), text(size).part(0, size)
    try:
        holds(store, data)
        opened = whole(store)
        assert opened.version == version(size)
        assert opened.checked_s == CHECKED_S
        assert opened.read() == data
        opened.close()
        opened.close()
    finally:
        store.close()


def test_what_is_not_there_is_none(store: CachefilesStore) -> None:
    """And nothing is made of it."""
    assert store.open_whole(KEY) is None


def test_what_is_no_small_complete_object_is_not_read(store: CachefilesStore) -> None:
    """A part, an empty one, a large one."""
    model = text(3 * 4096)
    cache_object = create(store, 3 * 4096)
    assert read(store) is None
    fill_blocks(cache_object, model, 1, 2)
    assert read(store) is None
    cache_object.close()
    store.drop(KEY)
    holds(store, text(65537).part(0, 65537))
    assert read(store) is None


@pytest.mark.parametrize("bit", [0, 8 * 4999, 8 * 4096])
def test_damage_is_not_read_and_is_left_to_others(
    store: CachefilesStore, tmp_path: Path, bit: int
) -> None:
    """They know what is to be done about it."""
    holds(store, text(5000).part(0, 5000))
    flip(object_file(tmp_path), bit)
    assert read(store) is None
    assert len(list(store.verify())) == 1
    assert found(store).content is Content.ALL


def test_sums_in_a_table_are_not_looked_at(tmp_path: Path) -> None:
    """The table may be another object's by the time that it is opened."""
    store = bind(tmp_path, sums_in_label=0)
    try:
        holds(store, text(5000).part(0, 5000))
        assert read(store) is None
    finally:
        store.close()


def test_who_does_not_wait_reads_only_what_is_in_memory(tmp_path: Path) -> None:
    """And may wait afterwards."""
    disk, data = SlowDisk(PosixFileOps()), text(5000).part(0, 5000)
    store = bind(tmp_path, fileops=disk)
    try:
        holds(store, data)
        disk.waits = 0
        opened = whole(store)
        assert (opened.read(wait=False), disk.waits) == (None, 0)
        assert (opened.read(), disk.waits) == (data, 1)
        opened.close()
    finally:
        store.close()


def test_a_replaced_object_is_read_as_what_it_was(store: CachefilesStore) -> None:
    """Its bytes are those of its label, and the check of its version is not the new one's."""
    old, new = text(5000, 1), text(6000, 2)
    holds(store, old.part(0, 5000))
    opened = whole(store)
    store.keep(KEY, version(6000, "b"), new.part(0, 6000), checked_s=1.0)
    assert opened.read() == old.part(0, 5000)
    opened.mark_checked(CHECKED_S + 5)
    opened.close()
    assert (found(store).version, found(store).checked_s) == (version(6000, "b"), 1.0)


def test_a_check_is_on_record_and_nothing_else_changes(
    tmp_path: Path, store: CachefilesStore
) -> None:
    """For whoever opens it next."""
    data = text(5000).part(0, 5000)
    holds(store, data)
    opened = whole(store)
    opened.mark_checked(CHECKED_S + 5)
    opened.close()
    assert checked_s(store) == CHECKED_S + 5
    assert read(store) == data
    assert not list(store.verify())
    assert stray_tables(tmp_path) == []


def test_a_check_is_not_that_of_a_version_it_went_over_to(store: CachefilesStore) -> None:
    """Somebody has carried the bytes over meanwhile, in the same file."""
    holds(store, text(5000).part(0, 5000))
    opened, other = whole(store), version(5000, "b")
    assert found(store).carry_over(version(5000), other, checked_s=1.0)
    opened.mark_checked(CHECKED_S + 5)
    assert (found(store).version, found(store).checked_s) == (other, 1.0)
    opened.close()


def test_it_is_in_use_as_long_as_it_is_open(store: CachefilesStore) -> None:
    """Nobody culls it, or changes it in place."""
    holds(store, text(5000).part(0, 5000))
    opened = whole(store)
    assert store.cull(0)[0] == 0
    changing = found(store)
    changing.begin_modify()
    changing.write(0, b"other", lambda extent: b"")
    changing.commit(version(5000, "c"))
    assert opened.read() == text(5000).part(0, 5000)
    opened.close()
    changing.close()
    assert store.cull(0)[0] == 1


def test_its_reading_is_a_use(tmp_path: Path) -> None:
    """By the record, and by the time of the file, where the last one was a minute ago."""
    now_s = time.time()
    store = bind(tmp_path, clock=lambda: now_s)
    try:
        holds(store, text(5000).part(0, 5000))
        place, room = store._bound.place(KEY), store._bound.room
        assert room.flush()
        now_s += 3600
        opened = whole(store)
        opened.mark_used()
        opened.close()
        assert room._uses[place].times == 1
        assert room.touched_ms(place) == pytest.approx(now_s * 1000, abs=1)
    finally:
        store.close()


@pytest.mark.parametrize("call", ["getxattr", "setxattr", "lock_range"])
def test_a_check_that_cannot_be_recorded_is_a_cache_error(
    store: CachefilesStore, ops: FaultyFileOps, call: str
) -> None:
    """The object stays what it was."""
    data = text(5000).part(0, 5000)
    holds(store, data)
    opened = whole(store)
    ops.arm(errno.EPERM, 1, only={call})
    with pytest.raises(CacheError):
        opened.mark_checked(CHECKED_S + 5)
    ops.disarm()
    opened.close()
    assert read(store) == data
    assert checked_s(store) == CHECKED_S


def test_a_disk_that_fails_withdraws_the_store(store: CachefilesStore, ops: FaultyFileOps) -> None:
    """As everywhere."""
    holds(store, text(5000).part(0, 5000))
    opened = whole(store)
    ops.arm(errno.EIO, 1, only={"read_into"})
    with pytest.raises(CacheError):
        opened.read()
    assert store.dead is not None
    with pytest.raises(CacheError):
        store.open_whole(KEY)
    opened.close()


def test_nothing_is_left_open(store: CachefilesStore, ops: FaultyFileOps) -> None:
    """Whatever fails."""
    holds(store, text(5000).part(0, 5000))
    before = len(os.listdir("/proc/self/fd"))
    for call in ("identify", "getxattr", "lock_range"):
        ops.arm(errno.EPERM, 1, only={call})
        with pytest.raises(CacheError):
            store.open_whole(KEY)
        ops.disarm()
    whole(store).close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_version_of_any_kind_is_told(store: CachefilesStore) -> None:
    """What is to be made of it is for others to say."""
    weak = Version(Validator(ValidatorKind.WEAK_ETAG, 'W/"1"'), 3, None)
    new = store.begin(KEY)
    new.write(b"abc")
    new.publish(weak, checked_s=CHECKED_S).close()
    opened = whole(store)
    assert (opened.version, opened.read()) == (weak, b"abc")
    opened.close()
