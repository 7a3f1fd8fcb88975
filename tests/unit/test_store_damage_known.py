"""Damage that was found stays known until other bytes are there, whoever stores or changes them."""

from __future__ import annotations

import contextlib
import errno
from pathlib import Path
from typing import Any

import pytest

from netcache._cachefiles.fileops import PosixFileOps
from netcache._cachefiles.store import bind
from netcache._core.content import Content
from netcache._core.extent import Extent, ExtentSet
from netcache._fscache.ports import CacheObject
from netcache.errors import CacheError
from tests.support.bytemodel import ByteModel
from tests.support.damage import expect_only_sound, flip, lost_blocks
from tests.support.damage_targets import COUNT, PLACES, Maker, sparse, whole
from tests.support.intercept import Override
from tests.support.stores import blocks, check, fill_blocks, found, object_file


@PLACES
def test_damage_is_forgotten_on_disk_too(tmp_path: Path, in_label: int) -> None:
    """Another process sees a hole there, whatever its level, and may fill it alone."""
    store = bind(tmp_path, sums_in_label=in_label)
    other = bind(tmp_path, sums_in_label=in_label, verify="none")
    model = whole(store)
    flip(object_file(tmp_path), 5 * 8 * store.block_size)
    here, there = found(store), found(other)
    assert there.content is Content.ALL
    assert lost_blocks(here, model) == [5]
    everything_but_5 = [*range(5), *range(6, COUNT)]
    assert blocks(there) == blocks(here) == everything_but_5
    fill_blocks(there, model, 5, 6)
    assert lost_blocks(here, model) == []
    check(here, model)
    check(there, model)
    store.close()
    other.close()


@PLACES
def test_what_another_process_stored_meanwhile_stays(tmp_path: Path, in_label: int) -> None:
    """Damage is looked at once more under the lock before its record goes."""
    other = bind(tmp_path, sums_in_label=in_label)
    model = whole(other)
    block = other.block_size
    there = found(other)
    inner = PosixFileOps()
    refilled: list[int] = []

    def lock_range(fd: int, start: int, length: int, *, shared: bool = False) -> bool:
        if start == 1 << 62 and not refilled:
            refilled.append(start)
            fill_blocks(there, model, 5, 6)
        return inner.lock_range(fd, start, length, shared=shared)

    shim = Override(inner, lock_range=lock_range)
    store = bind(tmp_path, fileops=shim.fileops, sums_in_label=in_label)
    here = found(store)
    flip(object_file(tmp_path), 5 * 8 * block)
    assert here.prove(5 * block, 6 * block).end <= 5 * block, "found damaged at first"
    assert refilled
    assert not here.damaged(0, model.size)
    assert lost_blocks(here, model) == []
    assert here.content is Content.ALL
    store.close()
    other.close()


@PLACES
@pytest.mark.parametrize("name", ["EROFS", "ENOSPC", "EDQUOT", "EPERM"])
@pytest.mark.parametrize("call", ["setxattr", "write_all"])
@pytest.mark.parametrize("make", [whole, sparse])
def test_damage_is_known_though_its_record_cannot_be_cleared(
    tmp_path: Path, in_label: int, name: str, call: str, make: Maker
) -> None:
    """It was found again and again, and each time counted as cached: reads never ended."""
    inner = PosixFileOps()
    failing: list[str] = []

    def fails(*args: Any, **options: Any) -> Any:
        if failing:
            raise OSError(getattr(errno, name), "no")
        return getattr(inner, call)(*args, **options)

    store = bind(tmp_path, fileops=Override(inner, **{call: fails}).fileops, sums_in_label=in_label)
    make(store)
    block = store.block_size
    flip(object_file(tmp_path), 5 * 8 * block)
    here = found(store)
    there = blocks(here)
    failing.append(name)
    for _ in range(2):
        with contextlib.suppress(CacheError):
            assert here.prove(5 * block, 6 * block).end <= 5 * block
        assert here.damaged(5 * block, 6 * block)
        with contextlib.suppress(CacheError):
            assert 5 not in blocks(here)
    failing.clear()
    assert here.prove(5 * block, 6 * block).end <= 5 * block
    assert blocks(here) == [number for number in there if number != 5]
    store.close()


class Guarded(ExtentSet):
    """Says when it is asked by a thread that does not hold the object's lock."""

    lock: Any = None
    unguarded = 0

    def within(self, start: int, end: int) -> list[Extent]:
        """Look for it."""
        self.unguarded += not self.lock._is_owned()
        return super().within(start, end)

    def holding(self, position: int) -> Extent | None:
        """Look for it."""
        self.unguarded += not self.lock._is_owned()
        return super().holding(position)


def test_what_is_proven_is_looked_up_under_the_lock(tmp_path: Path) -> None:
    """Beside another thread that takes something out it could join what was not compared."""
    store = bind(tmp_path)
    model = whole(store)
    here: Any = found(store)
    here._proof._sound = guarded = Guarded()
    guarded.lock = here._lock
    assert here.prove(0, model.size).end >= model.size
    assert guarded.unguarded == 0
    store.close()


def changed(
    cache_object: CacheObject, model: ByteModel, start: int, data: bytes, asked: list[int]
) -> None:
    """A local write that takes what it needs and lacks from the model."""

    def fill(extent: Extent) -> bytes:
        asked.append(extent.start)
        return model.padded(*extent)

    cache_object.write(start, data, fill)
    model.write(start, data)


@PLACES
@pytest.mark.parametrize("verify", ["none", "open"])
@pytest.mark.parametrize("shared", [False, True], ids=["alone", "others-have-it-open"])
def test_a_modification_never_blesses_damage(
    tmp_path: Path, in_label: int, verify: str, shared: bool
) -> None:
    """What is carried over from a damaged block is asked for; other damage stays known."""
    store = bind(tmp_path, sums_in_label=in_label, verify=verify)
    model = whole(store)
    block = store.block_size
    path = object_file(tmp_path)
    other = bind(tmp_path, sums_in_label=in_label)
    reader = found(other) if shared else None
    for number in (3, 9, 20):
        flip(path, 8 * (number * block + 17))
    cache_object = found(store)
    cache_object.begin_modify()
    asked: list[int] = []
    changed(cache_object, model, 3 * block + 100, b"new", asked)
    assert asked, "the rest of block 3 is damaged"
    cache_object.truncate(20 * block + 500)
    model.truncate(20 * block + 500)
    cache_object.commit(cache_object.version)
    cache_object.close()
    lost = lost_blocks(found(other), model)
    assert lost == [9, 20]
    if reader is not None:
        expect_only_sound(reader, whole(bind(tmp_path / "again")))
    store.close()
    other.close()
