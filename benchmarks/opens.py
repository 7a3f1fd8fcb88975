"""Open, read 10 bytes, close: of a cached file, among few and among many cached files."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys

import netcache
from benchmarks.contest import Score, contest
from benchmarks.peers import peers
from benchmarks.rig import Rig, timed

MANY = 10_000
_TURNS = 2000
_PEER_TURNS = 200

_FSSPEC = """
import fsspec, sys, time
url, picked, folder = sys.argv[1:]
urls = [url + name for name in picked.split(",")]
cache = fsspec.filesystem("filecache", target_protocol="http", cache_storage=folder)

def opened():
    begun = time.perf_counter()
    for url in urls:
        with cache.open(url) as file:
            file.read(10)
    return (time.perf_counter() - begun) / len(urls)

opened()
print(opened())
"""


def opens(rig: Rig, rounds: int) -> list[Score]:
    """Against the same of plain files."""
    folder = rig.www / "many"
    folder.mkdir()
    for index in range(MANY):
        (folder / f"{index}").write_bytes(b"x" * 100)
    try:
        return [_opens_among(rig, count, rounds) for count in (10, MANY)]
    finally:
        shutil.rmtree(folder)


def _opens_among(rig: Rig, count: int, rounds: int) -> Score:
    urls = [f"{rig.url}many/{index}" for index in range(count)]
    paths = [str(rig.www / f"many/{index}") for index in range(count)]
    picks = random.Random(count).choices(range(count), k=_TURNS)
    with netcache.Client(cache_dir=rig.fresh(f"opens{count}"), validate="never") as client:
        for url in urls:
            client.warm(url)

        def ours() -> float:
            with timed() as seconds:
                for index in picks:
                    with client.open(urls[index]) as file:
                        file.read(10)
            return seconds() / len(picks)

        def fsspec() -> float:
            picked = ",".join(map(str, picks[:_PEER_TURNS]))
            command = [sys.executable, "-c", _FSSPEC, f"{rig.url}many/", picked]
            folder = str(rig.scratch / "filecache")
            done = subprocess.run([*command, folder], check=True, capture_output=True)
            return float(done.stdout)

        def limit() -> float:
            with timed() as seconds:
                for index in picks:
                    fd = os.open(paths[index], os.O_RDONLY)
                    os.pread(fd, 10, 0)
                    os.close(fd)
            return seconds() / len(picks)

        return contest(
            f"open, read 10, close; of {count:,}",
            ("os.open, pread", limit),
            {"netcache": ours, **peers(fsspec=fsspec)},
            rounds=rounds,
            reach=8.0,
        )
