"""Lazily synchronised mappings, K1 to K7: each client here stands for a worker process.

That they are also right between real processes is tested in ``tests/crash`` and ``tests/model``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import netcache
from netcache import SharedFile
from netcache._cachefiles.mapping_table import MappingTable
from netcache._cachefiles.store import CachefilesStore, bind
from netcache._core import mapping_record as layout
from netcache._core.mapping_record import MappingRecord
from netcache._fscache.sharing import Synced
from netcache.errors import ClosedError, NotCachedError, StaleError
from tests.support.mapper import URL, content_of, key, number_in, put_version, record_of, size_of

MINUTE_S = 60.0
"""Long enough never to pass in a test that goes well."""


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[CachefilesStore]:
    """A store with version 1 of the resource: the process that changes it."""
    store = bind(tmp_path)
    put_version(store, 1)
    yield store
    store.close()


Workers = Callable[[int], list[SharedFile]]


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    """Makes workers, each with a client of its own."""
    clients: list[netcache.Client] = []

    def make(count: int) -> list[SharedFile]:
        new = [netcache.Client(cache_dir=tmp_path, offline=True) for _ in range(count)]
        clients.extend(new)
        return [client.share(URL) for client in new]

    yield make
    for client in clients:
        client.close()


def record(store: CachefilesStore) -> MappingRecord:
    """The record of the resource."""
    return record_of(Path(store.status().directory))


def messages(store: CachefilesStore) -> int:
    """How many messages were ever sent."""
    return store.worker().messages()


def seen(shared: SharedFile) -> tuple[int, int]:
    """Look at everything: the generation and the version."""
    with shared.read() as (generation, view):
        assert len(view) == shared.size
        return generation, number_in(view)


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_k1_a_change_is_seen_by_every_worker_that_looks(
    cache: CachefilesStore, workers: Workers, count: int
) -> None:
    """K1: 0, 1, n workers touch; each sees the new version at its next look, not before it."""
    shared = workers(count)
    before = {seen(one) for one in shared}
    assert len(before) == min(count, 1)
    held = [one.read() for one in shared]
    put_version(cache, 2)
    for look in held:
        assert not look.is_current()
        assert number_in(look.view) == 1
    if count:
        assert record(cache).unsynced.bit_count() == count
    after = set()
    for touched, one in enumerate(shared, 1):
        after.add(seen(one))
        assert record(cache).synced.bit_count() == touched
    if count:
        ((generation, number),) = after
        assert number == 2
        assert generation == record(cache).generation != before.pop()[0]
    assert messages(cache) == 0


def test_k1_a_worker_that_never_looks_again_costs_nothing(
    cache: CachefilesStore, workers: Workers
) -> None:
    """Its bit stays clear through any number of changes, and it is not woken."""
    looking, resting = workers(2)
    seen(looking)
    seen(resting)
    for number in range(2, 12):
        put_version(cache, number)
        assert seen(looking)[1] == number
        assert record(cache).unsynced.bit_count() == 1
    assert messages(cache) == 0
    assert seen(resting)[1] == 11


def test_k2_no_message_is_sent_when_nobody_asks(cache: CachefilesStore, workers: Workers) -> None:
    """K2: changes of every kind, looks, copies and closed files: none of them wakes anybody."""
    shared = workers(5)
    for one in shared:
        seen(one)
    put_version(cache, 2)
    cache.drop(key())
    put_version(cache, 3)
    for one in shared[:3]:
        assert one.private_copy() == content_of(3)
        assert one.apply(number_in) == 3
    shared[0].close()
    assert messages(cache) == 0


def test_k2_only_those_who_do_not_know_are_asked(cache: CachefilesStore, workers: Workers) -> None:
    """A message for each worker whose bit is clear; none for the others, none a second time."""
    shared = workers(5)
    for one in shared:
        seen(one)
    assert shared[0].sync_all(MINUTE_S).messages == 0
    put_version(cache, 2)
    for one in shared[:2]:
        seen(one)
    generation = record(cache).generation
    assert record(cache).lazy
    assert shared[0].sync_all(MINUTE_S) == Synced(generation, 3, 3, 0)
    assert not record(cache).lazy
    assert record(cache).unsynced == 0
    assert shared[1].sync_all(MINUTE_S) == Synced(generation, 0, 0, 0)
    assert messages(cache) == 3


def test_k2_who_never_looked_at_it_is_not_asked(cache: CachefilesStore, workers: Workers) -> None:
    """A worker is asked about the objects that it has mapped, and no others."""
    one, other = workers(2)
    seen(one)
    assert other.sync_all(MINUTE_S).messages == 0
    put_version(cache, 2)
    assert other.sync_all(MINUTE_S).messages == 1
    assert one.sync_all(MINUTE_S).messages == 0
    one.close()
    put_version(cache, 3)
    assert other.sync_all(MINUTE_S).messages == 0


@pytest.mark.parametrize("dispose", ["drop", "clear", "cull", "close"])
def test_k3_disposal_sends_no_message(
    cache: CachefilesStore, workers: Workers, dispose: str
) -> None:
    """K3: nobody is woken; the old bytes stay, and the next look finds that there is nothing."""
    shared = workers(3)
    looks = [one.read() for one in shared]
    if dispose == "drop":
        assert cache.drop(key())
    elif dispose == "clear":
        assert cache.clear()
    elif dispose == "cull":
        # In use, so it stays; then nobody uses it, and it goes.
        assert cache.cull(0) == (0, 0)
        for one in shared:
            one.close()
    else:
        for one in shared:
            one.close()
    assert messages(cache) == 0
    for look in looks:
        assert number_in(look.view) == 1
    if dispose in ("drop", "clear"):
        for one in shared:
            with pytest.raises(NotCachedError):
                one.read()
        put_version(cache, 2)
        assert {seen(one)[1] for one in shared} == {2}
    assert messages(cache) == 0


def test_k4_a_consumer_that_knows_nothing_sees_new_data(
    cache: CachefilesStore, workers: Workers
) -> None:
    """K4: it gets the current bytes, and no worker holds older ones when it gets them."""
    consumer, *others = workers(4)
    for one in (consumer, *others):
        seen(one)
    put_version(cache, 2)
    assert number_in(consumer.synchronised()) == 2
    assert record(cache).unsynced == 0
    assert messages(cache) == 3
    for one in others:
        assert one._held.generation != record(cache).generation, "an answer makes no map"
        assert seen(one)[1] == 2
    assert number_in(consumer.synchronised()) == 2
    assert messages(cache) == 3


def test_k4_a_change_after_that_is_lazy_again(cache: CachefilesStore, workers: Workers) -> None:
    """Rule 2 and 7: the flag comes back with the next change, and a lookup does not clear it."""
    one, other = workers(2)
    seen(one)
    seen(other)
    put_version(cache, 2)
    one.synchronised()
    assert not record(cache).lazy
    put_version(cache, 3)
    assert record(cache).lazy
    seen(one)
    assert record(cache).lazy
    assert number_in(one.synchronised()) == 3
    assert not record(cache).lazy


def test_k4_two_who_ask_at_the_same_time_both_get_their_answers(
    cache: CachefilesStore, workers: Workers
) -> None:
    """Each answers while it waits; neither holds the other up."""
    shared = workers(4)
    for number in range(2, 12):
        for one in shared:
            seen(one)
        put_version(cache, number)
        with ThreadPoolExecutor(len(shared)) as pool:
            outcomes = list(pool.map(lambda one: one.sync_all(MINUTE_S), shared))
        assert [outcome.silent for outcome in outcomes] == [0] * 4
        assert record(cache).unsynced == 0


def test_k6_generations_wrap(cache: CachefilesStore, workers: Workers, tmp_path: Path) -> None:
    """K6: the last generation is followed by the first, and every worker sees that."""
    shared = workers(2)
    seen(shared[0])
    place = cache._bound.place(key())
    table = cache._bound.mappings
    with table.locked(place, table.opened):
        located = table.find(place)
        assert located is not None
        last = located.record._replace(generation=layout.GENERATIONS - 1, synced=0)
        table.write(located.position, last)
    assert [seen(one) for one in shared] == [(layout.GENERATIONS - 1, 1)] * 2
    look = shared[0].read()
    put_version(cache, 2)
    assert not look.is_current()
    assert [seen(one) for one in shared] == [(1, 2)] * 2
    put_version(cache, 3)
    assert [seen(one) for one in shared] == [(2, 3)] * 2


def test_k6_a_number_that_is_used_again_begins_with_no_bit(
    cache: CachefilesStore, workers: Workers, tmp_path: Path
) -> None:
    """K6: the dead one had looked; who has his number now has not, and is not asked for it."""
    (asking,) = workers(1)
    seen(asking)
    table = MappingTable(cache._bound.ops, cache._bound.root)
    assert table.take_worker(1)
    place = cache._bound.place(key())
    with table.locked(place, table.opened):
        located = table.find(place)
        assert located is not None
        table.write(located.position, located.record.looked(1))
    table.close()
    assert record(cache).users == 0b11
    (again,) = workers(1)
    again.sync_all(0)
    assert record(cache).users == 0b01
    seen(again)
    assert record(cache).users == record(cache).synced == 0b11


def test_k6_all_places_taken_means_private_copies(cache: CachefilesStore, workers: Workers) -> None:
    """The 65th worker reads the same bytes, as its own, and sees each change when it looks."""
    first, late = workers(2)
    table = MappingTable(cache._bound.ops, cache._bound.root)
    seen(first)
    taken = [number for number in range(layout.WORKERS) if table.take_worker(number)]
    assert len(taken) == layout.WORKERS - 1
    assert seen(late) == (layout.UNSHARED, 1)
    put_version(cache, 2)
    assert seen(late) == (layout.UNSHARED, 2)
    assert number_in(late.synchronised()) == 2
    assert late.sync_all(MINUTE_S) == Synced(layout.UNSHARED, 0, 0, 0)
    table.close()
    assert seen(first)[1] == 2


def test_k7_a_stale_result_raises_stale_error(cache: CachefilesStore, workers: Workers) -> None:
    """K7: the bytes stay what they were, and the result made of them is refused."""
    (shared,) = workers(1)
    look = shared.read()

    def use() -> None:
        with look as (_, view):
            put_version(cache, 2)
            assert number_in(view) == 1

    with pytest.raises(StaleError):
        use()
    assert number_in(look.view) == 1
    assert seen(shared)[1] == 2


def test_k7_an_error_inside_the_block_is_not_hidden(
    cache: CachefilesStore, workers: Workers
) -> None:
    """What the block raises comes out, stale or not."""
    (shared,) = workers(1)

    def use() -> None:
        with shared.read() as (_, view):
            put_version(cache, 2)
            raise ArithmeticError(number_in(view))

    with pytest.raises(ArithmeticError):
        use()


@pytest.mark.parametrize("changes", [0, 1, 5, 15])
def test_k7_a_stale_result_is_made_again(
    cache: CachefilesStore, workers: Workers, changes: int
) -> None:
    """K7: as often as it takes, with the new bytes each time."""
    (shared,) = workers(1)
    made: list[int] = []

    def slow(view: memoryview) -> int:
        made.append(number_in(view))
        if len(made) <= changes:
            put_version(cache, len(made) + 1)
        return made[-1]

    assert shared.apply(slow) == changes + 1
    assert made == list(range(1, changes + 2))


def test_k7_a_result_that_is_always_stale_is_given_up(
    cache: CachefilesStore, workers: Workers
) -> None:
    """It does not go on for ever."""
    (shared,) = workers(1)
    made: list[int] = []

    def hopeless(view: memoryview) -> int:
        made.append(number_in(view))
        put_version(cache, made[-1] + 1)
        return made[-1]

    with pytest.raises(StaleError):
        shared.apply(hopeless)
    assert made == list(range(1, 17))


def test_a_look_that_hits_makes_no_call(cache: CachefilesStore, workers: Workers) -> None:
    """The fast path is memory alone: with every descriptor of it gone, it still answers."""
    (shared,) = workers(1)
    seen(shared)
    bound = shared._core.store.bound()._bound  # type: ignore[union-attr]
    before = bound.mappings._fd
    bound.mappings._fd = -1
    try:
        for offset in range(0, size_of(1), 512):
            with shared.read(offset, 100) as (generation, view):
                assert generation == record(cache).generation
                assert bytes(view) == content_of(1)[offset : offset + 100]
    finally:
        bound.mappings._fd = before


@pytest.mark.parametrize(
    ("offset", "length"),
    [(0, 0), (0, 1), (5, None), (4096, 4096), (size_of(1) - 3, 100), (size_of(1), 5), (1 << 40, 9)],
)
def test_extents_are_clipped_to_the_size(
    cache: CachefilesStore, workers: Workers, offset: int, length: int | None
) -> None:
    """At a first look, and when it is mapped already; the view is read-only."""
    (shared,) = workers(1)
    end = None if length is None else offset + length
    for _ in range(2):
        with shared.read(offset, length) as (_, view):
            assert bytes(view) == content_of(1)[offset:end]
            assert view.readonly
        seen(shared)
    with pytest.raises(ValueError, match="negative"):
        shared.read(-1, 5)
    with pytest.raises(ValueError, match="negative"):
        shared.read(0, -5)


def test_a_closed_file_and_a_closed_client_say_so(cache: CachefilesStore, workers: Workers) -> None:
    """Views stay; looking anew does not work; the worker's bits are gone."""
    one, other = workers(2)
    view = one.read().view
    seen(other)
    one.close()
    one.close()
    other._core.close_local()
    assert record(cache).users == 0
    for shared in (one, other):
        with pytest.raises(ClosedError):
            shared.read()
    assert number_in(view) == 1


def test_the_child_of_a_fork_has_no_place(cache: CachefilesStore, workers: Workers) -> None:
    """It must make a client of its own: what the parent shared raises, also what was mapped."""
    shared, gone = workers(2)
    seen(shared)
    seen(gone)
    # What a client that is closed had open may be somebody else's descriptor by now.
    gone._core.close_local()
    read_end, write_end = os.pipe()
    others = [os.dup(read_end) for _ in range(20)]
    child = os.fork()
    if child == 0:
        answer = b"no error"
        try:
            for other in others:
                os.fstat(other)
            shared.read(0, 5)
        except ClosedError:
            answer = b"closed"
        finally:
            os.write(write_end, answer)
            os._exit(0)
    for other in (write_end, *others):
        os.close(other)
    with os.fdopen(read_end, "rb") as pipe:
        assert pipe.read() == b"closed"
    os.waitpid(child, 0)
    assert seen(shared)[1] == 1


def test_without_a_cache_there_are_private_copies(tmp_path: Path) -> None:
    """Sharing needs the cache, and does without it."""
    from tests.support.served import serve

    with serve(tmp_path / "www") as served, netcache.Client(use_cache=False) as client:
        url = served.put("data", content_of(1))
        shared = client.share(url)
        assert seen(shared) == (layout.UNSHARED, 1)
        served.put("data", content_of(2))
        assert seen(shared) == (layout.UNSHARED, 2)
        assert shared.sync_all(MINUTE_S) == Synced(layout.UNSHARED, 0, 0, 0)


def test_a_worker_learns_of_a_new_version_at_the_server(tmp_path: Path) -> None:
    """One client finds a new version; the other opens anew when it next looks, and only then."""
    from tests.support.served import serve

    with (
        serve(tmp_path / "www") as served,
        netcache.Client(cache_dir=tmp_path / "cache") as one,
        netcache.Client(cache_dir=tmp_path / "cache") as two,
    ):
        url = served.put("data", content_of(1))
        shared = [one.share(url), two.share(url)]
        assert {seen(each)[1] for each in shared} == {1}
        served.forget()
        for _ in range(10):
            seen(shared[0])
        assert served.count() == 0
        served.put("data", content_of(2))
        with one.open(url) as file:
            assert number_in(memoryview(file.read())) == 2
        for each in shared:
            assert seen(each)[1] == 2
        # Each look that follows is an open: one conditional request.
        assert [answer["status"] for answer in served.requests()].count(304) == 2
        assert served.body_bytes() == size_of(2)


def test_a_cold_share_is_one_request(tmp_path: Path) -> None:
    """The first look is the open."""
    from tests.support.served import serve

    with serve(tmp_path / "www") as served, netcache.Client(cache_dir=tmp_path / "c") as client:
        url = served.put("data", content_of(3))
        with client.share(url) as shared:
            assert number_in(shared.read(8, 80).view) == 3
            assert served.count() == 1
            assert shared.size == size_of(3)
            assert served.count() == 1
