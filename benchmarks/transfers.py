"""Whole files: cold and warm downloads, uploads.  The server is nginx, or a sink.

What the start of Python and the imports add to a command is what the same call in a running process
goes without: those rows are named ``client.warm`` and so on.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import aiohttp  # noqa: F401 (what a running process has imported)

import netcache
from benchmarks.contest import Score, Work, contest
from benchmarks.limits import copy_file, receive_into_file, send_file_to_sink
from benchmarks.peers import ours, peers, rclone_copy, run_timed
from benchmarks.rig import Rig, timed
from benchmarks.sink import sink

_OBSTORE = """
import obstore, sys
from obstore.store import HTTPStore
store = HTTPStore.from_url(sys.argv[1], client_options={"allow_http": True})
with open(sys.argv[2], "wb") as file:
    for chunk in obstore.get(store, "big.bin").stream(min_chunk_size=1 << 20):
        file.write(chunk)
"""


def _running(cache: Path, url: str, call: Callable[[netcache.Client], object]) -> float:
    """Seconds of a call in a running process, which has asked this server before."""
    with netcache.Client(cache_dir=cache) as client:
        client.stat(url)
        with timed() as seconds:
            call(client)
        return seconds()


def cold_warm(rig: Rig, rounds: int) -> list[Score]:
    """``warm URL`` of everything: one copy, in the cache."""
    url = rig.url + "big.bin"
    return [
        contest(
            "cold `client.warm`",
            ("socket, pwrite", lambda: receive_into_file(url, rig.fresh("limit") / "big")),
            {"netcache": lambda: _running(rig.fresh("cold"), url, lambda client: client.warm(url))},
            rounds=rounds,
            reach=1.15,
            touch=rig.scratch,
        ),
        contest(
            "cold `warm`",
            ("socket, pwrite", lambda: receive_into_file(url, rig.fresh("limit") / "big")),
            {
                "netcache": lambda: ours(rig.fresh("cold"), "warm", url),
                **peers(
                    curl=lambda: run_timed("curl", "-sf", "-o", str(rig.fresh("o") / "b"), url),
                    rclone=lambda: rclone_copy(rig, ":http:big.bin", str(rig.fresh("o") / "b")),
                    obstore=lambda: run_timed(
                        sys.executable, "-c", _OBSTORE, rig.url, str(rig.fresh("o") / "b")
                    ),
                ),
            },
            rounds=rounds,
            reach=1.15,
            touch=rig.scratch,
        ),
    ]


def cold_get(rig: Rig, rounds: int) -> list[Score]:
    """``get URL FILE``: two copies, in the cache and in the file; the others write one."""
    url = rig.url + "big.bin"

    def running() -> float:
        target = str(rig.fresh("o") / "b")
        return _running(rig.fresh("cold"), url, lambda client: client.get(url, target))

    return [
        contest(
            "cold `client.get`",
            ("socket, pwrite", lambda: receive_into_file(url, rig.fresh("limit") / "big")),
            {"netcache": running},
            rounds=rounds,
            reach=1.5,
            touch=rig.scratch,
        ),
        contest(
            "cold `get`",
            ("socket, pwrite", lambda: receive_into_file(url, rig.fresh("limit") / "big")),
            {
                "netcache": lambda: ours(rig.fresh("cold"), "get", url, str(rig.fresh("o") / "b")),
                **peers(
                    curl=lambda: run_timed("curl", "-sf", "-o", str(rig.fresh("o") / "b"), url),
                    rclone=lambda: rclone_copy(rig, ":http:big.bin", str(rig.fresh("o") / "b")),
                ),
            },
            rounds=rounds,
            reach=1.5,
            touch=rig.scratch,
        ),
    ]


def warm_get(rig: Rig, rounds: int) -> list[Score]:
    """``get`` of what is cached."""
    url, cache = rig.url + "big.bin", rig.fresh("warmget")
    ours(cache, "warm", url)

    def running() -> float:
        target = str(rig.fresh("o") / "b")
        return _running(cache, url, lambda client: client.get(url, target))

    return [
        contest(
            "warm `client.get`",
            ("copy_file_range", lambda: copy_file(rig.big, rig.fresh("limit") / "big")),
            {"netcache": running},
            rounds=rounds,
            reach=1.1,
            touch=rig.scratch,
        ),
        contest(
            "warm `get`",
            ("copy_file_range", lambda: copy_file(rig.big, rig.fresh("limit") / "big")),
            {
                "netcache": lambda: ours(cache, "get", url, str(rig.fresh("o") / "b")),
                "cp": lambda: run_timed("cp", str(rig.big), str(rig.fresh("o") / "b")),
            },
            rounds=rounds,
            reach=1.1,
            touch=rig.scratch,
        ),
    ]


def put(rig: Rig, rounds: int) -> list[Score]:
    """``put`` of a file, the cache filled in the same pass: to nginx, and to a sink.

    Against nginx ``curl -T``, which keeps no copy, is the limit: the server is what takes long.
    """

    def cleared(work: Work) -> Work:
        def turn() -> float:
            (rig.www / "up.bin").unlink(missing_ok=True)
            return work()

        return turn

    def upload(url: str) -> Work:
        return cleared(lambda: ours(rig.fresh("pc"), "put", str(rig.big), url))

    def curl(url: str) -> Work:
        return cleared(lambda: run_timed("curl", "-sf", "-T", str(rig.big), url))

    def running(url: str) -> Work:
        def call() -> float:
            known = rig.url + "big.bin"
            return _running(rig.fresh("pc"), known, lambda client: client.put(rig.big, url))

        return cleared(call)

    nginx = [
        contest(
            row,
            ("curl -T", curl(rig.url + "up.bin")),
            {"netcache": work},
            rounds=rounds,
            reach=1.0,
            touch=rig.scratch,
        )
        for row, work in (
            ("`put` to nginx", upload(rig.url + "up.bin")),
            ("`client.put` to nginx", running(rig.url + "up.bin")),
        )
    ]
    with sink() as url:
        limit = lambda: send_file_to_sink(rig.big, rig.fresh("limit") / "big")  # noqa: E731
        drained = [
            contest(
                row,
                ("sendfile, copy", limit),
                {"netcache": work, **others},
                rounds=rounds,
                reach=1.3,
                touch=rig.scratch,
            )
            for row, work, others in (
                ("`put` to a sink", upload(url + "up.bin"), peers(curl=curl(url + "up.bin"))),
                ("`client.put` to a sink", running(url + "up.bin"), {}),
            )
        ]
    return [*nginx, *drained]
