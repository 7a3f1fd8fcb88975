"""Room: the limit is kept, the least recently used goes first, what is in use stays."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from netcache._cachefiles.store import bind
from netcache._core.keys import ObjectKey
from netcache._fscache.ports import CacheStore
from netcache.errors import NoSpaceError
from tests.support.bytemodel import ByteModel, pattern
from tests.support.fixtures import Opener
from tests.support.stores import (
    CHECKED_S,
    KEY,
    OTHER_KEY,
    VOLUME,
    allocated,
    blocks,
    check,
    create,
    fill_blocks,
    found,
    object_files,
    put,
    text,
    version,
)

SIZE = 256 << 10
HOUR_S = 3600.0


class Clock:
    """A clock that moves only when it is told to."""

    def __init__(self) -> None:
        self.now_s = CHECKED_S

    def __call__(self) -> float:
        """The time now."""
        return self.now_s


def key(number: int) -> ObjectKey:
    """The key of the ``number``-th object."""
    return ObjectKey(VOLUME, b"number %d" % number)


def filled(directory: Path, clock: Clock, count: int, limit: int | None = None) -> CacheStore:
    """A store with ``count`` closed objects of ``SIZE`` bytes, used an hour apart, in order."""
    store: CacheStore = bind(directory, clock=clock, limit_bytes=limit)
    for number in range(count):
        clock.now_s += HOUR_S
        cache_object = put(store, pattern(0, SIZE, number), key=key(number))
        cache_object.mark_used()
        cache_object.close()
    return store


def present(store: CacheStore) -> set[int]:
    """The numbers of the objects that are there."""
    return {int(record.key.name.split()[-1]) for record in store.objects()}


def test_reserved_fills_never_exceed_the_limit(tmp_path: Path) -> None:
    """Twenty objects into room for eight: allocated bytes stay below the limit after each."""
    limit = 8 * SIZE
    store = bind(tmp_path, limit_bytes=limit)
    block = store.block_size
    for number in range(20):
        model = text(SIZE, seed=number)
        store.reserve(SIZE)
        cache_object = create(store, SIZE, key=key(number))
        for first in range(0, SIZE // block, 4):
            fill_blocks(cache_object, model, first, first + 4)
        assert allocated(tmp_path) <= limit
        check(cache_object, model)
        cache_object.close()
    assert len(list(store.objects())) >= 4
    store.close()


def test_reserved_puts_never_exceed_the_limit(tmp_path: Path) -> None:
    """The same for objects written front to back, which replace others."""
    limit = 8 * SIZE
    store = bind(tmp_path, limit_bytes=limit)
    for number in range(20):
        store.reserve(SIZE)
        put(store, pattern(0, SIZE, number), key=key(number % 11), tag=str(number)).close()
        assert allocated(tmp_path) <= limit
    store.close()


def test_more_than_the_limit_is_refused(tmp_path: Path) -> None:
    """What can never fit is ``NoSpaceError`` at once, and costs nobody his object."""
    store = bind(tmp_path, limit_bytes=4 * SIZE)
    put(store, b"small").close()
    with pytest.raises(NoSpaceError):
        store.reserve(5 * SIZE)
    check(found(store), ByteModel(b"small"))
    store.close()


def test_objects_in_use_are_never_culled_for_room(tmp_path: Path) -> None:
    """When all that could go is open, there is no room: the open ones stay whole."""
    store = bind(tmp_path, limit_bytes=4 * SIZE)
    held = []
    with contextlib.suppress(NoSpaceError):
        for number in range(10):
            store.reserve(SIZE)
            held.append(put(store, pattern(0, SIZE, number), key=key(number)))
    assert 1 <= len(held) <= 4
    for number, cache_object in enumerate(held):
        check(cache_object, text(SIZE, seed=number))
        check(found(store, key(number)), text(SIZE, seed=number))
    store.close()


def test_objects_in_use_by_another_process_are_never_culled(opener: Opener) -> None:
    """In use is seen across openers of the same directory."""
    one, two = opener(), opener()
    put(one, b"held").close()
    held = found(two)
    put(one, b"free", key=OTHER_KEY).close()
    assert one.cull(0)[0] == 1
    assert one.lookup(OTHER_KEY) is None
    check(held, ByteModel(b"held"))
    check(found(one), ByteModel(b"held"))
    held.close()


def test_room_is_made_by_dropping_the_least_recently_used(tmp_path: Path) -> None:
    """Oldest first; an object that was used again since is young."""
    clock = Clock()
    store = filled(tmp_path, clock, 6)
    clock.now_s += HOUR_S
    for number in (0, 2):
        again = found(store, key(number))
        again.mark_used()
        again.close()
    store.close()
    later = bind(tmp_path, clock=clock)
    everything = allocated(tmp_path)
    count, freed = later.cull(everything - 2 * SIZE)
    assert count in (2, 3)
    assert freed >= 2 * SIZE
    assert not present(later) & {1, 3}
    assert present(later) >= {0, 2, 5}
    later.close()


def test_the_limit_culls_in_the_same_order(tmp_path: Path) -> None:
    """``reserve`` under a limit drops the oldest too."""
    clock = Clock()
    store = filled(tmp_path, clock, 4)
    store.close()
    limited = bind(tmp_path, clock=clock, limit_bytes=allocated(tmp_path) + SIZE // 2)
    limited.reserve(SIZE)
    kept = present(limited)
    assert kept
    assert 0 not in kept
    assert max(set(range(4)) - kept) < min(kept)
    limited.close()


def test_cull_down_to_a_target(tmp_path: Path) -> None:
    """The answer counts objects and bytes, and the target is met."""
    store = filled(tmp_path, Clock(), 6)
    before = allocated(tmp_path)
    target = before // 2
    count, freed = store.cull(target)
    after = allocated(tmp_path)
    assert after <= target
    assert count == 6 - len(present(store))
    assert before - after == pytest.approx(freed, abs=SIZE // 4)
    assert store.cull(target) == (0, 0)
    store.close()


def test_cull_without_a_target_keeps_what_the_limits_allow(tmp_path: Path) -> None:
    """Nothing is culled where there is room."""
    store = filled(tmp_path, Clock(), 3, limit=100 * SIZE)
    assert store.cull() == (0, 0)
    assert present(store) == {0, 1, 2}
    store.close()


def test_drop_gives_the_bytes_back(store: CacheStore, tmp_path: Path) -> None:
    """It tells how many allocated bytes went, and 0 when there was nothing."""
    put(store, pattern(0, SIZE)).close()
    put(store, pattern(0, SIZE), key=OTHER_KEY).close()
    before = allocated(tmp_path)
    freed = store.drop(KEY)
    assert freed >= SIZE
    assert before - allocated(tmp_path) == pytest.approx(freed, abs=SIZE // 4)
    assert store.lookup(KEY) is None
    assert store.drop(KEY) == 0
    check(found(store, OTHER_KEY), text(SIZE))


def test_dropping_what_is_open_leaves_its_reader_the_bytes(store: CacheStore) -> None:
    """The name goes, the descriptor stays good."""
    model = text(SIZE)
    reader = put(store, model.part(0, model.size))
    store.drop(KEY)
    check(reader, model)
    check(put(store, b"new"), ByteModel(b"new"))
    check(reader, model)


def test_clear_forgets_everything(store: CacheStore, tmp_path: Path) -> None:
    """All objects of all volumes go; the bytes are counted; the store is usable."""
    put(store, pattern(0, SIZE)).close()
    put(store, pattern(0, SIZE), key=ObjectKey("netcache,https,other", b"x")).close()
    assert store.clear() >= 2 * SIZE
    assert object_files(tmp_path) == []
    assert list(store.objects()) == []
    assert store.lookup(KEY) is None
    assert store.clear() == 0
    check(put(store, b"new"), ByteModel(b"new"))


def test_records_tell_what_is_stored(tmp_path: Path) -> None:
    """Key, version, cached and allocated bytes, times, use."""
    clock = Clock()
    store = bind(tmp_path, clock=clock)
    block = store.block_size
    model = text(9 * block)
    cache_object = create(store, model.size)
    fill_blocks(cache_object, model, 0, 3)
    clock.now_s += HOUR_S
    cache_object.mark_used()
    cache_object.mark_checked(clock.now_s)
    (record,) = store.objects()
    assert (record.key, record.version) == (KEY, version(model.size))
    assert record.in_use
    cache_object.close()
    (record,) = store.objects()
    assert record.cached_bytes == 3 * block
    assert record.allocated_bytes >= 3 * block
    assert record.last_used_s == pytest.approx(clock.now_s, abs=60)
    assert record.checked_s == pytest.approx(clock.now_s, abs=1)
    assert not record.in_use
    store.close()


def test_a_map_s_record_counts_no_holes(store: CacheStore) -> None:
    """Cached bytes of a sparse object are those of its blocks, clipped to the size."""
    block = store.block_size
    model = text(20 * block + 1)
    cache_object = create(store, model.size)
    for number in (3, 5, 20):
        fill_blocks(cache_object, model, number, number + 1)
    cache_object.close()
    (record,) = store.objects()
    assert 2 * block + 1 <= record.cached_bytes <= 3 * block


def test_status_counts_what_is_there(tmp_path: Path) -> None:
    """Directory, block size, objects, bytes and the limit."""
    store = filled(tmp_path, Clock(), 3, limit=100 * SIZE)
    status = store.status()
    assert status.directory == str(tmp_path)
    assert status.block_size == store.block_size
    assert status.objects == 3
    assert status.limit_bytes == 100 * SIZE
    assert status.allocated_bytes == pytest.approx(allocated(tmp_path), abs=SIZE // 4)
    assert not status.culling
    assert status.free_bytes > 0
    assert status.free_files >= 0
    store.close()


def test_times_of_use_survive_the_process(tmp_path: Path) -> None:
    """The culling order rests on our own record, kept with the object."""
    clock = Clock()
    store = bind(tmp_path, clock=clock)
    put(store, b"x").close()
    clock.now_s += HOUR_S
    cache_object = found(store)
    cache_object.mark_used()
    cache_object.close()
    store.close()
    (record,) = bind(tmp_path, clock=clock).objects()
    assert record.last_used_s == pytest.approx(clock.now_s, abs=60)


def test_what_is_culled_is_a_miss_and_nothing_worse(tmp_path: Path) -> None:
    """After culling everything, each object can be cached again."""
    store = filled(tmp_path, Clock(), 3)
    store.cull(0)
    for number in range(3):
        assert store.lookup(key(number)) is None
        model = text(SIZE, seed=number)
        cache_object = create(store, SIZE, key=key(number))
        fill_blocks(cache_object, model, 1, 2)
        assert blocks(cache_object) == [1]
        check(cache_object, model)
    store.close()
