"""Speed: each path against the machine's limit and against other programs, in one run.

Peers that are not installed are left out, and named: fsspec, obstore and aiofiles in this Python
environment (``pip install fsspec obstore aiohttp aiofiles``), curl and rclone on the path.
"""

from __future__ import annotations

import asyncio
import importlib.util
import mmap
import os
import random
import shutil
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import netcache
from benchmarks.contest import Score, Work, contest
from benchmarks.rig import Rig, run_timed, timed
from benchmarks.speed_limits import copy_file, receive_into_file, send_file_to_sink

BIN = Path(sys.executable).parent
READS = 20_000


def installed(module: str) -> bool:
    """Whether a Python peer is here."""
    return importlib.util.find_spec(module) is not None


def peers(**works: Work) -> dict[str, Work]:
    """Those of the named programs and modules that are here."""
    found = {}
    for name, work in works.items():
        if shutil.which(name) or (name in ("fsspec", "obstore", "aiofiles") and installed(name)):
            found[name] = work
    return found


def _ours(cache: Path, *command: str) -> float:
    return run_timed(str(BIN / "netcache"), "--cache-dir", str(cache), "-q", *command)


def _rclone(rig: Rig, source: str, target: str) -> float:
    return run_timed(
        "rclone", "--config", os.devnull, "-q", "--http-url", rig.url, "copyto", source, target
    )


def cold_warm(rig: Rig, rounds: int) -> list[Score]:
    """``warm URL`` of everything: one copy, in the cache."""
    url = rig.url + "big.bin"
    script = (
        "import obstore, sys; from obstore.store import HTTPStore\n"
        "s = HTTPStore.from_url(sys.argv[1])\n"
        "with open(sys.argv[2], 'wb') as f:\n"
        "    for chunk in obstore.get(s, 'big.bin').stream(min_chunk_size=1 << 20):\n"
        "        f.write(chunk)\n"
    )
    return [
        contest(
            "cold `warm` 1 GiB",
            ("socket, pwrite", lambda: receive_into_file(url, rig.fresh("limit") / "big")),
            {
                "netcache": lambda: _ours(rig.fresh("cold"), "warm", url),
                **peers(
                    curl=lambda: run_timed("curl", "-sf", "-o", str(rig.fresh("o") / "b"), url),
                    rclone=lambda: _rclone(rig, ":http:big.bin", str(rig.fresh("o") / "b")),
                    obstore=lambda: run_timed(
                        sys.executable, "-c", script, rig.url, str(rig.fresh("o") / "b")
                    ),
                ),
            },
            rounds=rounds,
            reach=1.15,
            touch=rig.scratch,
        )
    ]


def cold_get(rig: Rig, rounds: int) -> list[Score]:
    """``get URL FILE``: two copies, in the cache and in the file."""
    url = rig.url + "big.bin"
    return [
        contest(
            "cold `get` 1 GiB",
            ("socket, pwrite", lambda: receive_into_file(url, rig.fresh("limit") / "big")),
            {
                "netcache": lambda: _ours(rig.fresh("cold"), "get", url, str(rig.fresh("o") / "b")),
                **peers(
                    curl=lambda: run_timed("curl", "-sf", "-o", str(rig.fresh("o") / "b"), url),
                    rclone=lambda: _rclone(rig, ":http:big.bin", str(rig.fresh("o") / "b")),
                ),
            },
            rounds=rounds,
            reach=1.5,
            touch=rig.scratch,
        )
    ]


def warm_get(rig: Rig, rounds: int) -> list[Score]:
    """``get`` of what is cached."""
    url, cache = rig.url + "big.bin", rig.fresh("warmget")
    _ours(cache, "warm", url)
    return [
        contest(
            "warm `get` 1 GiB",
            ("copy_file_range", lambda: copy_file(rig.big, rig.fresh("limit") / "big")),
            {
                "netcache": lambda: _ours(cache, "get", url, str(rig.fresh("o") / "b")),
                "cp": lambda: run_timed("cp", str(rig.big), str(rig.fresh("o") / "b")),
            },
            rounds=rounds,
            reach=1.1,
            touch=rig.scratch,
        )
    ]


def put(rig: Rig, rounds: int) -> list[Score]:
    """``put`` of a file, the cache filled in the same pass."""

    def cleared(work: Callable[[], float]) -> Work:
        def turn() -> float:
            (rig.www / "up.bin").unlink(missing_ok=True)
            return work()

        return turn

    url = rig.url + "up.bin"
    return [
        contest(
            "`put` 1 GiB",
            (
                "sendfile, copy",
                lambda: send_file_to_sink(rig.big, rig.fresh("limit") / "big"),
            ),
            {
                "netcache": cleared(lambda: _ours(rig.fresh("pc"), "put", str(rig.big), url)),
                **peers(
                    curl=cleared(lambda: run_timed("curl", "-sf", "-T", str(rig.big), url)),
                ),
            },
            rounds=rounds,
            reach=1.3,
            touch=rig.scratch,
        )
    ]


def start(rig: Rig, rounds: int) -> list[Score]:
    """The command line's start, as a ratio to Python's; what it adds is in the seconds."""
    cache = rig.fresh("start")
    (rig.www / "byte").write_bytes(b"x" * 5000)
    url = rig.url + "byte"
    _ours(cache, "warm", url)
    python = ("python -c pass", lambda: _median(lambda: run_timed(sys.executable, "-c", "pass")))
    rows = (
        ("`--version`", ("--version",)),
        ("cached `cat` of 1 byte", ("--validate", "never", "cat", url, "--count", "1")),
    )
    return [
        contest(
            name,
            python,
            {"netcache": lambda command=command: _median(lambda: _ours(cache, *command))},  # type: ignore[misc]
            rounds=rounds,
            reach=6.0,
        )
        for name, command in rows
    ]


def small_reads(rig: Rig, rounds: int) -> list[Score]:
    """Reads of 4 KiB at random places of a cached file: sync, async, by view."""
    picks = random.Random(1)
    offsets = [picks.randrange(rig.size // 4096 - 1) * 4096 for _ in range(READS)]
    plain = os.open(rig.big, os.O_RDONLY)
    buffer = bytearray(4096)
    view = memoryview(buffer)
    url = rig.url + "big.bin"

    def limit() -> float:
        with timed() as seconds:
            for offset in offsets:
                os.preadv(plain, [view], offset)
        return seconds() / READS

    try:
        with netcache.Client(cache_dir=rig.scratch / "cache", validate="never") as client:
            client.warm(url)
            with client.open(url) as file, mmap.mmap(plain, 0, prot=mmap.PROT_READ) as mapped:

                def sync() -> float:
                    with timed() as seconds:
                        for offset in offsets:
                            file.preadinto(view, offset)
                    return seconds() / READS

                def views() -> float:
                    with timed() as seconds:
                        for offset in offsets:
                            file.view(offset, 4096)
                    return seconds() / READS

                def slices() -> float:
                    whole = memoryview(mapped)
                    with timed() as seconds:
                        for offset in offsets:
                            whole[offset : offset + 4096]
                    whole.release()
                    return seconds() / READS

                return [
                    contest(
                        "warm 4 KiB, sync",
                        ("os.preadv", limit),
                        {"netcache": sync},
                        rounds=rounds,
                        reach=2.0,
                    ),
                    contest(
                        "warm 4 KiB, async",
                        ("os.preadv", limit),
                        {
                            "netcache": lambda: asyncio.run(_async_reads(rig, url, offsets)),
                            **peers(aiofiles=lambda: asyncio.run(_aiofiles(rig.big, offsets))),
                        },
                        rounds=rounds,
                        reach=4.0,
                    ),
                    contest(
                        "`view()` of 4 KiB",
                        ("mmap slice", slices),
                        {"netcache": views},
                        rounds=rounds,
                        reach=2.0,
                    ),
                ]
    finally:
        os.close(plain)


async def _async_reads(rig: Rig, url: str, offsets: list[int]) -> float:
    buffer = bytearray(4096)
    async with (
        netcache.AsyncClient(cache_dir=rig.scratch / "cache", validate="never") as client,
        await client.open(url) as file,
    ):
        with timed() as seconds:
            for offset in offsets:
                await file.preadinto(buffer, offset)
        return seconds() / len(offsets)


async def _aiofiles(path: Path, offsets: list[int]) -> float:
    import aiofiles

    offsets = offsets[:2000]
    async with aiofiles.open(path, "rb") as file:
        with timed() as seconds:
            for offset in offsets:
                await file.seek(offset)
                await file.read(4096)
        return seconds() / len(offsets)


def opens(rig: Rig, rounds: int) -> list[Score]:
    """Open, read 10 bytes, close: of a cached file, among few and among many cached files."""
    many = 10_000
    folder = rig.www / "many"
    folder.mkdir()
    for index in range(many):
        (folder / f"{index}").write_bytes(b"x" * 100)
    try:
        return [_opens_among(rig, count, rounds) for count in (10, many)]
    finally:
        shutil.rmtree(folder)


def _opens_among(rig: Rig, count: int, rounds: int) -> Score:
    urls = [f"{rig.url}many/{index}" for index in range(count)]
    picks = random.Random(count).choices(range(count), k=2000)
    with netcache.Client(cache_dir=rig.fresh(f"opens{count}"), validate="never") as client:
        for url in urls:
            client.warm(url)

        def ours() -> float:
            with timed() as seconds:
                for index in picks:
                    with client.open(urls[index]) as file:
                        file.read(10)
            return seconds() / len(picks)

        def limit() -> float:
            with timed() as seconds:
                for index in picks:
                    fd = os.open(rig.www / f"many/{index}", os.O_RDONLY)
                    os.pread(fd, 10, 0)
                    os.close(fd)
            return seconds() / len(picks)

        return contest(
            f"open, read 10, close among {count}",
            ("os.open, pread", limit),
            {"netcache": ours},
            rounds=rounds,
            reach=8.0,
        )


def _median(measure: Work) -> float:
    return statistics.median(measure() for _ in range(7))


SPEED_ROWS = {
    "warm": cold_warm,
    "get": cold_get,
    "warm-get": warm_get,
    "put": put,
    "start": start,
    "small-reads": small_reads,
    "opens": opens,
}
