"""Leases: nothing that a process does with an object changes a byte that another has mapped."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from netcache._core.content import WriteKind
from netcache._fscache.ports import CacheObject
from netcache.errors import CacheError
from tests.support.bytemodel import ByteModel
from tests.support.fixtures import Opener
from tests.support.stores import (
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
)


def mapped(cache_object: CacheObject) -> memoryview:
    """A map of the object's file, through a lease, as clients make it."""
    lease = cache_object.lease(cache_object.fileno())
    try:
        return memoryview(mmap.mmap(lease, 0, prot=mmap.PROT_READ))
    finally:
        os.close(lease)


def cancel(cache_object: CacheObject, start: int, end: int) -> None:
    """Give up a run that was written, the way a failed fill does."""
    cache_object.collect_write(WriteKind.CANCEL, start, end)


def close(cache_object: CacheObject, start: int, end: int) -> None:
    """Close with the run written and never collected."""
    cache_object.close()


@pytest.mark.parametrize("give_up", [cancel, close])
@pytest.mark.parametrize("how", ["mapped", "known"])
def test_a_fill_that_is_given_up_takes_nothing_from_who_shows_the_block(
    opener: Opener, give_up: Callable[[CacheObject, int, int], None], how: str
) -> None:
    """Two fill one block of a map; one has recorded it, and shows it; the other gives up."""
    slow_store, quick_store = opener(), opener()
    block = slow_store.block_size
    model = text(8 * block)
    slow = create(slow_store, model.size)
    quick = found(quick_store)
    fill_blocks(slow, model, 0, 1)
    slow.write_blocks(5 * block, model.part(5 * block, 6 * block))
    fill_blocks(quick, model, 5, 6)
    assert blocks(quick) == [0, 5]
    if how == "mapped":
        base = mapped(quick)
        shown = base[5 * block : 6 * block]
        give_up(slow, 5 * block, 6 * block)
        assert shown == model.part(5 * block, 6 * block)
    else:
        give_up(slow, 5 * block, 6 * block)
        buffer = bytearray(block)
        assert quick.read_into(5 * block, buffer) == block
        assert buffer == model.part(5 * block, 6 * block)
    for view in (quick, found(opener())):
        check(view, model)


def test_a_fill_that_is_given_up_leaves_no_data_where_nobody_else_is(opener: Opener) -> None:
    """Alone with the object, the run becomes a hole again, and is not allocated."""
    store = opener()
    block = store.block_size
    model = text(8 * block)
    cache_object = create(store, model.size)
    fill_blocks(cache_object, model, 0, 1)
    before = os.fstat(cache_object.fileno()).st_blocks
    cache_object.write_blocks(5 * block, model.part(5 * block, 6 * block))
    cancel(cache_object, 5 * block, 6 * block)
    assert os.fstat(cache_object.fileno()).st_blocks == before
    check(cache_object, model)


def test_a_lease_outlives_descriptors_and_objects_and_ends_with_the_map(
    opener: Opener, tmp_path: Path
) -> None:
    """In use while the map exists, whatever else is closed; culled when it is gone."""
    store, other = opener(), opener()
    model = text(3 * store.block_size)
    put(store, model.part(0, model.size)).close()
    cache_object = found(store)
    base = mapped(cache_object)
    cache_object.close()
    store.close()
    assert other.cull(0) == (0, 0)
    writer = found(other)
    before = object_file(tmp_path).stat().st_ino
    writer.begin_modify()
    assert object_file(tmp_path).stat().st_ino != before
    writer.write(0, b"new", no_fill)
    writer.truncate(3)
    writer.commit(version(3, "b"))
    assert base[: model.size] == model.part(0, model.size)
    writer.close()
    assert other.cull(0)[0] == 1


def test_a_map_that_is_gone_lets_the_object_be_changed_in_place(
    opener: Opener, tmp_path: Path
) -> None:
    """A lease costs nothing longer than it has to."""
    store = opener()
    model = text(3 * store.block_size)
    put(store, model.part(0, model.size)).close()
    cache_object = found(store)
    base = mapped(cache_object)
    before = object_file(tmp_path).stat().st_ino
    base.release()
    del base
    cache_object.begin_modify()
    assert object_file(tmp_path).stat().st_ino == before


@pytest.mark.parametrize("commit", [False, True])
def test_an_object_that_is_being_modified_is_not_leased(opener: Opener, commit: bool) -> None:
    """Until the commit: neither by its own process nor by another that has it open."""
    store = opener()
    model = text(3 * store.block_size)
    put(store, model.part(0, model.size)).close()
    cache_object = found(store)
    cache_object.begin_modify()
    cache_object.write(0, b"new", lambda extent: model.part(*extent))
    if commit:
        cache_object.commit(version(model.size, "b"))
        assert bytes(mapped(cache_object)[:3]) == b"new"
    else:
        with pytest.raises(CacheError):
            cache_object.lease(cache_object.fileno())


def test_only_the_file_that_is_meant_is_leased(opener: Opener) -> None:
    """After an invalidation the descriptor that a reader remembers is another file's, or none's."""
    store = opener()
    model = text(3 * store.block_size)
    put(store, model.part(0, model.size)).close()
    cache_object = found(store)
    base, descriptor = mapped(cache_object), cache_object.fileno()
    cache_object.invalidate(version(store.block_size, "b"))
    if cache_object.fileno() != descriptor:
        with pytest.raises(CacheError):
            cache_object.lease(descriptor)
    assert base[: model.size] == model.part(0, model.size)
    cache_object.condemn()  # type: ignore[attr-defined]
    with pytest.raises(CacheError):
        cache_object.lease(cache_object.fileno())


def test_leases_leave_no_descriptor_behind(opener: Opener) -> None:
    """A map has one of its own, until it is gone; a refused lease has none."""
    store = opener()
    put(store, b"x" * store.block_size).close()
    cache_object = found(store)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        mapped(cache_object)
        with pytest.raises(CacheError):
            cache_object.lease(cache_object.fileno() + 1000)
    assert len(os.listdir("/proc/self/fd")) == before
    model = ByteModel(b"x" * store.block_size)
    check(cache_object, model)
