"""Growth with the size of one object: a few pieces of a sparse one, wherever they are."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import netcache
from benchmarks.scale_rows import BATCHES, Points, Row, each
from netcache._cachefiles.store import bind
from netcache._core.coherency import Validator, ValidatorKind, Version
from netcache._core.content import WriteKind
from netcache._core.urls import parse
from netcache._fscache.ports import CacheObject
from netcache._netfs.inodes import key_of

PIECE = 16 << 10
PIECES = 48
BATCH = 12


def at_sizes(folder: Path, sizes: Sequence[int]) -> list[Row]:
    """Every row at every size."""
    points = Points()
    for size in sizes:
        _measure(points, folder, size)
    return points.rows()


def _places(size: int) -> list[int]:
    """Where the pieces lie: all over the object."""
    picks = random.Random(7)
    places = picks.sample(range(size // PIECE), PIECES)
    return [number * PIECE for number in places]


def _batches(places: list[int]) -> Iterator[list[int]]:
    picks = random.Random(8)
    for _ in range(BATCHES):
        yield picks.sample(places, BATCH)


def _measure(points: Points, folder: Path, size: int) -> None:
    url = f"http://scale.invalid/{size}.bin"
    places = _places(size)
    store = bind(folder)
    version = Version(Validator(ValidatorKind.STRONG_ETAG, '"scale"'), size, 1_600_000_000)
    made = store.create(key_of(parse(url)), version, checked_s=time.time())
    data = os.urandom(PIECE)

    def write(start: int) -> None:
        made.write_blocks(start, data)
        made.collect_write(WriteKind.DATA, start, start + PIECE)

    pieces = [places[low : low + BATCH] for low in range(0, PIECES, BATCH)]
    points.add("store 16 KiB of it", size, each(write, pieces))
    _ask(points, made, size, places)
    made.close()
    store.close()
    with netcache.Client(cache_dir=folder, validate="never", readahead=0) as client:

        def first_read(start: int) -> None:
            with (
                netcache.Client(cache_dir=folder, validate="never") as other,
                other.open(url) as file,
            ):
                file.pread(4096, start)

        with client.open(url) as opened:
            points.add(
                "read 4 KiB of it at random",
                size,
                each(lambda start: opened.pread(4096, start), _batches(places)),
            )
        points.add("a new client's first read of it", size, each(first_read, _batches(places)))


def _ask(points: Points, made: CacheObject, size: int, places: list[int]) -> None:
    def ask(start: int) -> None:
        made.query_occupancy(start, start + PIECE)

    points.add("what is there, of 16 KiB", size, each(ask, _batches(places)))
