"""Lazily synchronised mappings, K1 to K4: who sees a change, and who is asked to look again.

That this is also right between real processes is tested in ``tests/crash`` and ``tests/model``.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import netcache
from netcache._cachefiles.mapping_worker import Worker
from netcache._cachefiles.store import CachefilesStore
from netcache._fscache.sharing import Synced
from netcache.errors import NotCachedError
from tests.support.mapper import content_of, key, number_in, put_version, size_of
from tests.support.sharing import MINUTE_S, Workers, messages, record, seen


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


class Watcher:
    """A holder that tells whether its worker's holders can change while it is asked."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self.could_change: list[bool] = []

    def let_go(self, generation: int) -> None:
        """Try it from another thread."""
        with ThreadPoolExecutor(1) as pool:
            self.could_change.append(pool.submit(self._try).result())

    def _try(self) -> bool:
        lock = self._worker._lock
        taken = lock.acquire(blocking=False)
        if taken:
            lock.release()
        return taken


def test_holders_that_are_asked_are_those_that_are_answered_for(cache: CachefilesStore) -> None:
    """One that came at that moment was answered for, and not asked; or the asking failed."""
    worker = cache.worker()
    assert isinstance(worker, Worker)
    holder, found = Watcher(worker), cache.lookup(key())
    assert found is not None
    assert worker.settle(key(), os.fstat(found.fileno()).st_ino, holder)
    worker.sync_all(key(), MINUTE_S)
    assert holder.could_change == [False]
    worker.leave(key(), holder)
    found.close()
