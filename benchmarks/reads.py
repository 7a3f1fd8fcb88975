"""Reads of a cached file by both faces: large and in order, small and anywhere."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import netcache
from benchmarks.contest import Score, contest
from benchmarks.peers import peers
from benchmarks.rig import Rig, timed

SMALL_BYTES = 4096
SMALL_READS = 20_000
LARGE_BYTES = 1 << 20

_FSSPEC = """
import fsspec, sys, time
url, length, places, folder = sys.argv[1:]
cache = fsspec.filesystem("blockcache", target_protocol="http", cache_storage=folder)
with cache.open(url) as file:
    while file.read(1 << 20):
        pass
    offsets = list(map(int, places.split(",")))
    begun = time.perf_counter()
    for offset in offsets:
        file.seek(offset)
        file.read(int(length))
    print((time.perf_counter() - begun) / len(offsets))
"""


def warm_small(rig: Rig, rounds: int) -> list[Score]:
    """Random 4 KiB reads against ``os.preadv`` of the plain file."""
    picks = random.Random(1)
    offsets = [picks.randrange(rig.size // 4096 - 1) * 4096 for _ in range(SMALL_READS)]
    with _Reads(rig, SMALL_BYTES).opened() as reads:
        return [
            contest(
                "warm 4 KiB, sync",
                ("os.preadv", lambda: reads.plain(offsets)),
                {
                    "netcache": lambda: reads.sync(offsets),
                    **peers(fsspec=lambda: reads.fsspec(offsets[:2000])),
                },
                rounds=rounds,
                reach=2.0,
            ),
            *(
                contest(
                    f"warm 4 KiB, sync, {name}",
                    (f"os.preadv, {name}", lambda share=share: reads.plain_at(offsets, share)),  # type: ignore[misc]
                    {"netcache": lambda share=share: reads.sync_at(offsets, share)},  # type: ignore[misc]
                    rounds=rounds,
                    reach=reach,
                )
                for name, share, reach in (("p50", 0.5, 2.0), ("p99", 0.99, 3.0))
            ),
            contest(
                "warm 4 KiB, async",
                ("os.preadv", lambda: reads.plain(offsets)),
                {
                    "netcache": lambda: reads.run(reads.asynchronous(offsets)),
                    **peers(aiofiles=lambda: reads.run(reads.aiofiles(offsets[:2000]))),
                },
                rounds=rounds,
                reach=4.0,
            ),
        ]


def warm_large(rig: Rig, rounds: int) -> list[Score]:
    """Sequential 1 MiB reads against ``os.preadv`` of the plain file, and of the cached one.

    The plain file was written by 1 MiB: the blocks that the kernel keeps of it in memory may be
    larger than those of the cached one, and are then read faster.
    """
    offsets = range(0, rig.size, LARGE_BYTES)
    with _Reads(rig, LARGE_BYTES).opened() as reads:
        return [
            contest(
                "warm 1 MiB, sync",
                ("os.preadv, cached file", lambda: reads.plain(offsets, cached=True)),
                {"netcache": lambda: reads.sync(offsets)},
                rounds=rounds,
                reach=1.05,
            ),
            contest(
                "warm 1 MiB, sync",
                ("os.preadv", lambda: reads.plain(offsets)),
                {"netcache": lambda: reads.sync(offsets)},
                rounds=rounds,
                reach=1.05,
            ),
            contest(
                "warm 1 MiB, async",
                ("os.preadv", lambda: reads.plain(offsets)),
                {"netcache": lambda: reads.run(reads.asynchronous(offsets))},
                rounds=rounds,
                reach=1.05,
            ),
        ]


class _Reads:
    """Reads into one buffer, each way; the seconds are those of one read."""

    def __init__(self, rig: Rig, length: int) -> None:
        self._rig = rig
        self._buffer = bytearray(length)
        self._view = memoryview(self._buffer)
        self._url = rig.url + "big.bin"
        self._options = {"cache_dir": rig.scratch / "cache", "validate": "never"}

    @contextmanager
    def opened(self) -> Iterator[_Reads]:
        """With the plain file and the cached one open, for all rounds: what is cached is proven by
        the first that reads it (the rows of ``verify`` tell what that costs)."""
        self._plain = os.open(self._rig.big, os.O_RDONLY)
        try:
            with (
                netcache.Client(**self._options) as client,  # type: ignore[arg-type]
                asyncio.Runner() as runner,
            ):
                client.warm(self._url)
                self.run = runner.run
                self._async_client = netcache.AsyncClient(**self._options)  # type: ignore[arg-type]
                self._async_file = self.run(self._async_client.open(self._url))
                with client.open(self._url) as self._file:
                    yield self
                self.run(self._async_client.close())
        finally:
            os.close(self._plain)

    def plain(self, offsets: Iterable[int], *, cached: bool = False) -> float:
        """``os.preadv``, of the file that was served or of the one in the cache."""
        fd, views = self._file.fileno() if cached else self._plain, [self._view]
        count = 0
        with timed() as seconds:
            for offset in offsets:
                os.preadv(fd, views, offset)
                count += 1
        return seconds() / count

    def sync(self, offsets: Iterable[int]) -> float:
        """``File.preadinto``."""
        read, view = self._file.preadinto, self._view
        count = 0
        with timed() as seconds:
            for offset in offsets:
                read(view, offset)
                count += 1
        return seconds() / count

    def plain_at(self, offsets: Iterable[int], share: float) -> float:
        """``os.preadv``: that ``share`` of the reads takes no longer."""
        fd, views, preadv = self._plain, [self._view], os.preadv
        return _share_of(lambda offset: preadv(fd, views, offset), offsets, share)

    def sync_at(self, offsets: Iterable[int], share: float) -> float:
        """``File.preadinto``: that ``share`` of the reads takes no longer."""
        read, view = self._file.preadinto, self._view
        return _share_of(lambda offset: read(view, offset), offsets, share)

    async def asynchronous(self, offsets: Iterable[int]) -> float:
        """``AsyncFile.preadinto``."""
        read, view = self._async_file.preadinto, self._view
        count = 0
        with timed() as seconds:
            for offset in offsets:
                await read(view, offset)
                count += 1
        return seconds() / count

    def fsspec(self, offsets: Iterable[int]) -> float:
        """``blockcache`` of fsspec, which has cached all of the file; in a process of its own."""
        places = ",".join(map(str, offsets))
        command = [sys.executable, "-c", _FSSPEC, self._url, str(len(self._buffer)), places]
        folder = str(self._rig.scratch / "blockcache")
        done = subprocess.run([*command, folder], check=True, capture_output=True)
        return float(done.stdout)

    async def aiofiles(self, offsets: Iterable[int]) -> float:
        """``aiofiles``: a thread for each call."""
        import aiofiles

        count = 0
        async with aiofiles.open(self._rig.big, "rb") as file:
            with timed() as seconds:
                for offset in offsets:
                    await file.seek(offset)
                    await file.read(len(self._buffer))
                    count += 1
        return seconds() / count


def _share_of(read: Callable[[int], object], offsets: Iterable[int], share: float) -> float:
    """The seconds that ``share`` of the reads take at most, each timed by itself."""
    clock, took = time.perf_counter_ns, list[int]()
    for offset in offsets:
        begun = clock()
        read(offset)
        took.append(clock() - begun)
    took.sort()
    return took[int(share * (len(took) - 1))] / 1e9
