"""Several processes, one cache directory (promise P6): each store here stands for a process."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from netcache._cachefiles.statx import Identity
from netcache._cachefiles.store import bind
from netcache._core.content import WriteKind
from netcache._core.extent import Extent
from netcache._core.keys import ObjectKey
from netcache._fscache.ports import CacheObject, CacheStore
from netcache.errors import NoSpaceError
from tests.support.bytemodel import pattern
from tests.support.epochs import on_another_mount
from tests.support.fixtures import Opener
from tests.support.intercept import Override
from tests.support.stores import (
    KEY,
    VOLUME,
    allocated,
    blocks,
    check,
    create,
    fill_blocks,
    found,
    object_file,
    put,
    text,
    version,
    write,
)


@pytest.mark.parametrize("kind", [WriteKind.CANCEL, WriteKind.GAP])
@pytest.mark.parametrize("first", [0, 1, 3, 5])
def test_a_failed_run_takes_nothing_from_what_another_process_recorded(
    opener: Opener, kind: WriteKind, first: int
) -> None:
    """Cancelling by a label that is out of date punches no hole into an ALL object."""
    one, two = opener(), opener()
    block = one.block_size
    model = text(8 * block)
    slow = create(one, model.size)
    quick = found(two)
    slow.write_blocks(first * block, model.part(first * block, (first + 1) * block))
    fill_blocks(quick, model, 0, 4)
    slow.collect_write(kind, first * block, (first + 1) * block)
    for view in (slow, quick, found(opener())):
        check(view, model)


def test_what_one_process_records_the_others_see(opener: Opener) -> None:
    """Occupancy is that of the object, not of the opener."""
    one, two = found_pair(opener)
    block = one.block_size
    model = text(8 * block)
    fill_blocks(one, model, 0, 2)
    assert blocks(two) == [0, 1]
    fill_blocks(two, model, 5, 6)
    assert blocks(one) == [0, 1, 5]
    fill_blocks(one, model, 2, 5)
    assert blocks(two) == [0, 1, 2, 3, 4, 5]
    check(one, model)
    check(two, model)


@pytest.mark.parametrize("looks_grown_over", [1, 3])
def test_an_object_that_grows_while_it_is_opened_is_whole_to_who_opens_it(
    opener: Opener, looks_grown_over: int
) -> None:
    """The file is looked at, then its label: what was stored in between is no damage."""
    from netcache._cachefiles.fileops import PosixFileOps

    one = opener()
    block = one.block_size
    model = text(8 * block)
    growing = create(one, model.size)
    fill_blocks(growing, model, 0, 1)
    inner = PosixFileOps()
    looks: list[int] = []

    def identify(fd: int) -> Identity:
        seen = inner.identify(fd)
        if looking and len(looks) < looks_grown_over:
            looks.append(fd)
            fill_blocks(growing, model, len(looks), len(looks) + 1)
        return seen

    looking = False
    two = opener(fileops=Override(inner, identify=identify).fileops)
    looking = True
    there = found(two)
    assert len(looks) == looks_grown_over
    assert blocks(there) == list(range(looks_grown_over + 1))
    check(there, model)
    looks.clear()
    assert list(two.verify(repair=False)) == []


def found_pair(opener: Opener) -> tuple[CacheObject, CacheObject]:
    """The same empty object of eight blocks, open in two processes."""
    store = opener()
    return create(store, 8 * store.block_size), found(opener())


def test_a_claim_is_seen_by_the_others_and_ends_with_its_owner(opener: Opener) -> None:
    """One fetches, the other does not; whoever closes or dies gives its claims back."""
    one, two = found_pair(opener)
    block = one.block_size
    assert one.try_lock_extent(0, 2 * block)
    assert not two.try_lock_extent(block, 3 * block)
    assert two.try_lock_extent(2 * block, 3 * block)
    one.unlock_extent(0, 2 * block)
    assert two.try_lock_extent(block, 2 * block)
    two.close()
    assert one.try_lock_extent(0, 8 * block)


def test_what_others_store_while_an_object_is_open_needs_no_proof(opener: Opener) -> None:
    """Believed like our own, from where it ended when we opened it; what was there is compared."""
    one = create(opener(), 8 * 4096)
    model = text(8 * one.block_size)
    fill_blocks(one, model, 0, 3)
    two, block = found(opener()), one.block_size
    fill_blocks(one, model, 3, 6)
    assert blocks(two) == [0, 1, 2, 3, 4, 5]
    assert two.is_proven(3 * block, 6 * block)
    assert not two.is_proven(2 * block, 4 * block)
    fill_blocks(one, model, 7, 8)
    assert blocks(two) == [0, 1, 2, 3, 4, 5, 7]
    # A map does not tell what is new in it.
    assert not two.is_proven(7 * block, 8 * block)
    check(two, model)


def test_claims_do_not_decide_what_is_stored(opener: Opener) -> None:
    """A fill without a claim, or against one, is a fill like any other."""
    one, two = found_pair(opener)
    model = text(8 * one.block_size)
    one.try_lock_extent(0, 8 * one.block_size)
    fill_blocks(two, model, 0, 3)
    fill_blocks(one, model, 0, 2)
    check(one, model)
    check(two, model)


def test_a_dropped_object_is_still_filled_without_harm(opener: Opener) -> None:
    """The name went to another object: fills into the old one do not reach it."""
    one, two = found_pair(opener)
    block = one.block_size
    old, new = text(8 * block), text(3 * block, seed=5)
    other = opener()
    other.drop(KEY)
    fresh = put(other, new.part(0, new.size), tag="new")
    fill_blocks(one, old, 0, 4)
    one.begin_modify()
    write(one, old, 5, b"late")
    one.commit(version(old.size, "late"))
    for view in (fresh, found(opener())):
        check(view, new)
    two.close()


def test_two_processes_together_stay_within_the_limit(tmp_path: Path) -> None:
    """The limit is the directory's: what the other has stored counts (P5, P6)."""
    size = 256 << 10
    limit = 8 * size
    stores: list[CacheStore] = [bind(tmp_path, limit_bytes=limit) for _ in range(2)]
    for number in range(24):
        store = stores[number % 2]
        try:
            store.reserve(size)
        except NoSpaceError:
            continue
        put(store, pattern(0, size, number), key=ObjectKey(VOLUME, b"%d" % number)).close()
        assert allocated(tmp_path) <= limit, number
    for store in stores:
        store.close()


def test_many_may_bind_the_same_new_directory_at_once(tmp_path: Path) -> None:
    """No bind fails because of another."""
    barrier, errors = threading.Barrier(8), list[BaseException]()
    stores: list[CacheStore] = []

    def worker(number: int) -> None:
        try:
            barrier.wait(10)
            stores.append(bind(tmp_path / "new"))
            put(stores[-1], b"abc", key=ObjectKey(VOLUME, b"%d" % number)).close()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=worker, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert errors == []
    assert len(list(stores[0].objects())) == 8
    for store in stores:
        store.close()


@pytest.mark.parametrize(("before", "after"), [(None, 65536), (65536, None)])
def test_objects_of_another_block_size_are_right_or_missed(
    opener: Opener, before: int | None, after: int | None
) -> None:
    """A directory that is bound with another block size shows no wrong byte."""
    old = opener(block_size=before)
    models = {ObjectKey(VOLUME, b"%d" % size): text(size) for size in (0, 5000, 70000, 262144)}
    for key, model in models.items():
        cache_object = create(old, model.size, key=key)
        last = -(-model.size // old.block_size)
        if last:
            fill_blocks(cache_object, model, last - 1, last)
    for key, model in models.items():
        again = opener(block_size=after).lookup(key)
        if again is not None:
            check(again, model)


def test_rubbish_of_a_killed_process_above_the_record_is_never_served(
    opener: Opener, tmp_path: Path
) -> None:
    """What was written and not recorded is cut off by the next who has the object alone.

    (While others have it open, such blocks may be theirs, on the way to being recorded.)
    """
    store = opener()
    block = store.block_size
    model = text(9 * block)
    cache_object = create(store, model.size)
    fill_blocks(cache_object, model, 0, 2)
    cache_object.close()
    with object_file(tmp_path).open("r+b") as file:
        os.pwrite(file.fileno(), b"\xff" * 2 * block, 3 * block)
    again = found(opener())
    fill_blocks(again, model, 6, 7)
    assert {0, 1, 6} <= set(blocks(again))
    check(again, model)
    check(found(opener()), model)


@pytest.mark.parametrize("whole_store", [False, True])
def test_closing_with_runs_under_way_cancels_them(opener: Opener, whole_store: bool) -> None:
    """What was written and never collected is unknown after ``close``, in a map too."""
    store = opener()
    block = store.block_size
    model = text(8 * block)
    cache_object = create(store, model.size)
    cache_object.write_blocks(2 * block, b"\xff" * block)
    fill_blocks(cache_object, model, 4, 6)
    if whole_store:
        store.close()
    else:
        cache_object.close()
    again = found(opener())
    assert blocks(again) == [4, 5]
    check(again, model)


@pytest.mark.parametrize("first_filled", [0, 1])
def test_processes_on_different_mounts_share_an_object(opener: Opener, first_filled: int) -> None:
    """Two containers, one volume: another mount id is no reboot while somebody has it open."""
    one, two = opener(), opener(fileops=on_another_mount())
    block = one.block_size
    model = text(8 * block)
    here = create(one, model.size)
    if first_filled:
        fill_blocks(here, model, 0, 1)
    here.write_blocks(first_filled * block, model.part(first_filled * block, 3 * block))
    there = found(two)
    check(there, model)
    here.collect_write(WriteKind.DATA, first_filled * block, 3 * block)
    for view in (here, there):
        check(view, model)
        assert blocks(view) == [0, 1, 2]
    fill_blocks(there, model, 3, 4)
    fill_blocks(here, model, 6, 7)
    for view in (here, there, found(opener()), found(opener(fileops=on_another_mount()))):
        check(view, model)
        assert {0, 1, 2, 3, 6} >= set(blocks(view))


def test_gaps_are_asked_for_once(store: CacheStore) -> None:
    """A write over blocks of which the cache has some asks for the others only (P3)."""
    block = store.block_size
    model = text(4 * block)
    cache_object = create(store, model.size)
    fill_blocks(cache_object, model, 1, 2)
    cache_object.begin_modify()
    asked: list[Extent] = []

    def gap(extent: Extent) -> bytes:
        asked.append(extent)
        return model.part(*extent)

    cache_object.write(block + 10, b"x" * block, gap)
    assert asked == [Extent(2 * block + 10, 3 * block)]
