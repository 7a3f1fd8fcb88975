"""Open, read 10 bytes, close: of a cached file, among few and among many cached files."""

from __future__ import annotations

import importlib.util
import os
import random
import shutil
from typing import Any

import netcache
from benchmarks.contest import Score, contest
from benchmarks.peers import peers
from benchmarks.rig import Rig, timed

MANY = 10_000
_TURNS = 2000
_PEER_TURNS = 200


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
    picks = random.Random(count).choices(range(count), k=_TURNS)
    with netcache.Client(cache_dir=rig.fresh(f"opens{count}"), validate="never") as client:
        for url in urls:
            client.warm(url)
        filecache = _filecache(rig, {urls[index] for index in picks[:_PEER_TURNS]})

        def ours() -> float:
            with timed() as seconds:
                for index in picks:
                    with client.open(urls[index]) as file:
                        file.read(10)
            return seconds() / len(picks)

        def fsspec() -> float:
            with timed() as seconds:
                for index in picks[:_PEER_TURNS]:
                    with filecache.open(urls[index]) as file:
                        file.read(10)
            return seconds() / _PEER_TURNS

        def limit() -> float:
            with timed() as seconds:
                for index in picks:
                    fd = os.open(rig.www / f"many/{index}", os.O_RDONLY)
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


def _filecache(rig: Rig, urls: set[str]) -> Any:
    """The cache of whole files of fsspec, with these in it; None where there is no fsspec."""
    if importlib.util.find_spec("fsspec") is None:
        return None
    fsspec: Any = importlib.import_module("fsspec")
    folder = str(rig.fresh("filecache"))
    cache = fsspec.filesystem("filecache", target_protocol="http", cache_storage=folder)
    for url in urls:
        with cache.open(url):
            pass
    return cache
