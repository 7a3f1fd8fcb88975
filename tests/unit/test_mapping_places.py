"""The places of workers in the table of mappings: K6, forks, and what is done without a place."""

from __future__ import annotations

import os
from pathlib import Path

import netcache
from netcache._cachefiles.mapping_table import MappingTable
from netcache._cachefiles.store import CachefilesStore
from netcache._core import mapping_record as layout
from netcache._fscache.sharing import Synced
from netcache.errors import ClosedError
from tests.support.mapper import content_of, key, number_in, put_version
from tests.support.sharing import MINUTE_S, Workers, record, seen


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
