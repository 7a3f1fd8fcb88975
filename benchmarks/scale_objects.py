"""Growth with the number of objects: a cache that is filled further for each point."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import netcache
from benchmarks.scale_rows import BATCHES, Points, Row, each, once
from netcache._cachefiles.fileops import PosixFileOps
from netcache._cachefiles.store import CachefilesStore, bind
from netcache._core.coherency import Validator, ValidatorKind, Version
from netcache._core.keys import ObjectKey
from netcache._core.urls import parse
from netcache._netfs.inodes import key_of

SIZE = 100
BATCH = 200


def url(index: int) -> str:
    """The URL of one of the objects."""
    return f"http://scale.invalid/folder/{index:07}.bin"


def key(index: int) -> ObjectKey:
    """Its key."""
    return key_of(parse(url(index)))


class _AfterReboot(PosixFileOps):
    """The same machine after another boot: nothing that was not synced is believed."""

    def boot_id(self) -> bytes:
        return b"another boot..16"


def fill(folder: Path, first: int, last: int) -> None:
    """Put objects ``first`` up to ``last`` into the cache."""
    store = bind(folder)
    version = Version(Validator(ValidatorKind.STRONG_ETAG, '"scale"'), SIZE, 1_600_000_000)
    for index in range(first, last):
        new = store.begin(key(index))
        new.write(bytes(SIZE))
        new.publish(version, checked_s=time.time()).close()
    store.close()


def at_counts(folder: Path, counts: Sequence[int]) -> list[Row]:
    """Every row at every count."""
    points = Points()
    filled = 0
    for count in counts:
        begin = time.perf_counter()
        fill(folder, filled, count)
        seconds = (time.perf_counter() - begin) / (count - filled)
        points.add("store a new object", count, seconds)
        filled = count
        for measure in MEASURES:
            measure(points, folder, count)
    return points.rows()


def _batches(count: int, seed: int) -> Iterator[list[int]]:
    """Objects at random: the same number for each count, so that as many are met again."""
    picks = random.Random(seed)
    chosen = [picks.randrange(count) for _ in range(BATCH * 4)]
    for turn in range(BATCHES):
        low = turn % 4 * BATCH
        yield chosen[low : low + BATCH]


def _opens(points: Points, folder: Path, count: int) -> None:
    """Open, read, close: by a client that never asks a server."""
    with netcache.Client(cache_dir=folder, validate="never") as client:

        def work(index: int) -> None:
            with client.open(url(index)) as file:
                file.read(10)

        points.add("open, read(10), close", count, each(work, _batches(count, 1)))


def _lookups(points: Points, folder: Path, count: int) -> None:
    """Of what is there, and of what is not."""
    store = bind(folder)

    def look(index: int) -> None:
        found = store.lookup(key(index))
        if found is not None:
            found.close()

    points.add("lookup", count, each(look, _batches(count, 2)))
    missing = ([count + index for index in batch] for batch in _batches(count, 3))
    points.add("lookup of nothing", count, each(look, missing))
    store.close()


def _start(points: Points, folder: Path, count: int) -> None:
    """A client from nothing to ready, and away again."""

    def work() -> None:
        netcache.Client(cache_dir=folder, validate="never").close()

    points.add("start and end of a client", count, once(work))


def _recovery(points: Points, folder: Path, count: int) -> None:
    """The first use after a crash of the machine: what is met is judged, nothing is searched."""

    def work() -> None:
        store = bind(folder, fileops=_AfterReboot())
        try:
            _first_use(store, count)
        finally:
            store.close()

    points.add("start and 10 lookups after a reboot", count, once(work, 5))


def _first_use(store: CachefilesStore, count: int) -> None:
    picks = random.Random(count)
    for _ in range(10):
        found = store.lookup(key(picks.randrange(count)))
        if found is not None:
            found.close()


def _status(points: Points, folder: Path, count: int) -> None:
    """``cache status`` walks the cache."""
    with netcache.Client(cache_dir=folder, validate="never") as client:
        seconds = once(client.cache.status, 3)
    points.add("cache status", count, seconds, is_flat=False)


MEASURES = (_opens, _lookups, _start, _status, _recovery)
"""What is measured at each count, in this order; culling belongs here, too."""
