"""``netcache cache why`` and ``client.why``: what a read would find, and what reads found."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

import netcache
from netcache._cachefiles.store import bind
from netcache._core.coherency import Validator, ValidatorKind, Version
from netcache._core.extent import Extent
from netcache._core.misses import Cause
from netcache._core.stats import Stats
from netcache._core.urls import parse
from netcache._core.validity import parse_validity
from netcache._netfs.cache_stream import CacheStream, Taken
from netcache._netfs.inodes import InodeTable, key_of
from tests.integration.conftest import NewClient
from tests.support.commands import Commands
from tests.support.served import Served, random_bytes

B = 4096
DATA = random_bytes(16 * B)


@pytest.fixture
def command(tmp_path: Path) -> Commands:
    """The command line in a home of its own."""
    return Commands(tmp_path)


def test_the_command_tells_one_cause_for_each_miss_of_another_process(
    served: Served, command: Commands
) -> None:
    """What one command fetched and another dropped, a third explains."""
    url = served.put("data", DATA)
    assert command("cat", url, "--offset", "8KiB", "--count", "4KiB").code == 0
    assert command("cat", url, "--offset", "8KiB", "--count", "4KiB").code == 0
    document = command("cache", "why", url, "--json").document
    assert list(document) == ["url", "size", "now", "reads"]
    assert (document["url"], document["size"]) == (url, len(DATA))
    assert document["now"] == [
        {"start": 0, "end": 2 * B, "cached": False, "cause": "never fetched"},
        {"start": 2 * B, "end": 3 * B, "cached": True, "cause": None},
        {"start": 3 * B, "end": 16 * B, "cached": False, "cause": "never fetched"},
    ]
    reads = [(one["start"], one["end"], one["cause"], one["hits"]) for one in document["reads"]]
    assert (2 * B, 3 * B, "never fetched", 0) in reads
    assert reads[-1] == (0, 0, None, 1)
    assert all(abs(one["time"] - time.time()) < 600 for one in document["reads"])
    assert command("cache", "drop", url).code == 0
    now = command("cache", "why", url, "--range", "8KiB-16KiB", "--json").document["now"]
    assert [(one["start"], one["end"], one["cause"]) for one in now] == [
        (2 * B, 3 * B, "dropped"),
        (3 * B, 4 * B, "never fetched"),
    ]
    lines = command("cache", "why", url, "--offset", "8KiB", "--count", "4KiB").lines
    assert lines[0].split(None, 2) == ["now", f"{2 * B}-{3 * B}", "dropped"]
    assert lines[-1].endswith("1 hit")


def test_the_command_needs_a_range_that_makes_sense_and_a_cache(
    served: Served, command: Commands
) -> None:
    """Usage errors are 2; without a cache there is nothing to explain from (9)."""
    url = served.put("data", DATA)
    for bad in ("4096", "8-4", "x-y"):
        assert command("cache", "why", url, "--range", bad).code == 2
    assert command("cache", "why", url, "--range", "0-1", "--count", "1").code == 2
    assert command("cache", "why", url, "--no-cache").code == 9


def test_the_library_explains_without_asking_the_server(
    served: Served, new_client: NewClient
) -> None:
    """Both faces; the end is -1 where nobody knows how long the resource is."""
    url = served.put("data", DATA)
    client = new_client()
    assert client.why(url).now == [(0, -1, Cause.NEVER)]
    assert served.count() == 0
    client.warm(url, 0, B)
    client.cache.drop(url)
    found = client.why(url, 0, 2 * B)
    assert found.now == [(0, B, Cause.DROPPED), (B, 2 * B, Cause.NEVER)]

    async def same() -> object:
        async with netcache.AsyncClient(cache_dir=client.cache.status().directory) as other:
            return await other.why(url, 0, 2 * B)

    assert asyncio.run(same()) == found
    with netcache.Client(use_cache=False) as uncached:
        assert uncached.why(url, 0, B).now == [(0, B, Cause.DOWN)]


def test_what_there_was_no_room_for_was_missed_because_of_the_cache(
    served: Served, new_client: NewClient
) -> None:
    """The first time it was never fetched; afterwards the cache is to blame."""
    url = served.put("data", random_bytes(1 << 20))
    client = new_client(cache_size=64 * 1024, readahead=0)
    with client.open(url) as file:
        file.pread(1, 0)
        file.pread(512 * 1024, B)
        file.pread(400 * 1024, 600 * 1024)  # (the last piece is kept in memory)
        file.pread(512 * 1024, B)
    misses = {name: count for name, count in client.stats()["Misses"].items() if count}
    assert misses == {"never": 3, "cache": 1}
    assert client.why(url, B, B).now == [(B, 2 * B, Cause.DOWN)]


def test_a_block_that_was_written_in_part_and_is_not_known_is_a_partial_block(
    tmp_path: Path,
) -> None:
    """What an edit sends need not be whole blocks: what is left out says why it is not there."""
    store = bind(tmp_path / "cache")
    stats, resource = Stats(), parse("http://example/a")
    table = InodeTable(store, stats, parse_validity("open"), offline=False)
    version = Version(Validator(ValidatorKind.STRONG_ETAG, '"1"'), 4 * B)
    pieces = [(B, memoryview(bytes(B + 100)))]
    CacheStream(store, table, stats).advance(
        resource, Taken(None, alone=False), version, pieces, 0.0
    )
    (trace,) = store.memory.traces(key_of(resource))
    assert (trace.cause, trace.extents()) == (Cause.PARTIAL, [Extent(2 * B, 3 * B)])
    table.close()
    store.close()
