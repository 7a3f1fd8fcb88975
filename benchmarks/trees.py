"""Trees of small files: ``sync`` of 10,000 files of 4 KiB, cold, and again when nothing changed.

The limit of the cold one asks for them over one connection, eight requests ahead, and writes each
into its file; netcache writes it into the cache as well.  That of the second is ``ls -r``: the same
listings, asked for and taken apart by the same program.

And 1,000 files of all sizes from a server far away, where only the round trips count: the limit has
as many connections as we have transfers, and as many requests ahead on each.
"""

from __future__ import annotations

import os
import random
import shutil
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from benchmarks.contest import Score, contest
from benchmarks.latency import BYTES_PER_S, DELAY_S
from benchmarks.link import link
from benchmarks.peers import ours, peers, run_timed
from benchmarks.rig import Rig, timed

FOLDERS, FILES, SIZE = 10, 1000, 4096
AHEAD = 8
_NAMES = [f"tree/{folder}/{file}" for folder in range(FOLDERS) for file in range(FILES)]

FAR_FILES, FAR_SIZES, FAR_AHEAD, FAR_CONNECTIONS = 1000, (500, 12_000), 16, 4
FAR_REACH = 2.0
_FAR_NAMES = [f"far/{file}" for file in range(FAR_FILES)]


def tree(rig: Rig, rounds: int) -> list[Score]:
    """``sync`` down: cold, and unchanged."""
    for name in _NAMES:
        place = rig.www / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(os.urandom(SIZE))
    url, cache, out = rig.url + "tree/", rig.fresh("treecache"), rig.fresh("treeout")
    names = rig.scratch / "names"
    names.write_text("".join(f"{name}\n" for name in _NAMES))
    ours(cache, "sync", url, str(out))
    try:
        cold = contest(
            "cold `sync` of small files",
            ("socket, write", lambda: _fetch_all(rig.url, rig.another("limit"))),
            {
                "netcache": lambda: ours(rig.another("cold"), "sync", url, str(rig.another("o"))),
                **peers(rclone=lambda: _rclone(rig.url, names, rig.another("o"))),
            },
            rounds=rounds,
            reach=1.5,
        )
        unchanged = contest(
            "`sync` of what is unchanged",
            ("ls -r", lambda: ours(cache, "ls", "-r", url)),
            {"netcache": lambda: ours(cache, "sync", url, str(out))},
            rounds=rounds,
            reach=1.2,
        )
    finally:
        for folder in [rig.www / "tree", *rig.scratch.glob("*-*")]:
            shutil.rmtree(folder)
    return [cold, unchanged]


def far_tree(rig: Rig, rounds: int) -> list[Score]:
    """``sync`` down, cold, 20 ms each way."""
    sizes = random.Random(1)
    for name in _FAR_NAMES:
        place = rig.www / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(os.urandom(sizes.randint(*FAR_SIZES)))
    names = rig.scratch / "far-names"
    names.write_text("".join(f"{name}\n" for name in _FAR_NAMES))
    try:
        with link(rig.url, DELAY_S, BYTES_PER_S) as far:
            return [
                contest(
                    "cold `sync` of small files, 20 ms each way",
                    (f"{FAR_CONNECTIONS} sockets", lambda: _fetch_far(far.url, rig.another("l"))),
                    {
                        "netcache": lambda: ours(
                            rig.another("cold"), "sync", f"{far.url}far/", str(rig.another("o"))
                        ),
                        **peers(rclone=lambda: _rclone(far.url, names, rig.another("o"))),
                    },
                    rounds=rounds,
                    reach=FAR_REACH,
                )
            ]
    finally:
        for folder in [rig.www / "far", *rig.scratch.glob("*-*")]:
            shutil.rmtree(folder) if folder.is_dir() else folder.unlink()


def _rclone(url: str, names: Path, target: Path) -> float:
    """``rclone copy`` of files by name: it reads no listings in JSON."""
    return run_timed(
        *("rclone", "--config", os.devnull, "-q", "--http-url", url),
        *("--http-no-head", "--no-traverse", "--files-from-raw", str(names)),
        *("copy", ":http:", str(target)),
    )


def _fetch_far(url: str, folder: Path) -> float:
    """Seconds of as many threads as we have transfers, each with a share of the files."""
    (folder / "far").mkdir(parents=True)
    shares = [_FAR_NAMES[number::FAR_CONNECTIONS] for number in range(FAR_CONNECTIONS)]
    with timed() as seconds, ThreadPoolExecutor(FAR_CONNECTIONS) as pool:
        list(pool.map(lambda share: _fetch(url, folder, share, FAR_AHEAD), shares))
    return seconds()


def _fetch_all(url: str, folder: Path) -> float:
    """Seconds of the least that brings the tree into files."""
    for number in range(FOLDERS):
        (folder / "tree" / str(number)).mkdir(parents=True)
    with timed() as seconds:
        _fetch(url, folder, _NAMES, AHEAD)
    return seconds()


def _fetch(url: str, folder: Path, names: Sequence[str], ahead: int) -> None:
    """Bring files over one connection, so many requests ahead."""
    host = urlsplit(url)
    with (
        socket.create_connection((host.hostname, host.port)) as connection,
        connection.makefile("rb") as replies,
    ):
        asked = 0
        for index, name in enumerate(names):
            while asked < min(index + ahead, len(names)):
                request = f"GET /{names[asked]} HTTP/1.1\r\nHost: {host.netloc}\r\n\r\n"
                connection.sendall(request.encode())
                asked += 1
            with open(folder / name, "xb", buffering=0) as file:
                file.write(_body(replies))


def _body(replies: BinaryIO) -> bytes:
    """The body of the next reply, which is 200 and tells its length."""
    status, length = replies.readline(), -1
    while (line := replies.readline()) != b"\r\n":
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    if b" 200 " not in status or length < 0:
        raise SystemExit(f"the server answers {status!r}")
    return replies.read(length)
