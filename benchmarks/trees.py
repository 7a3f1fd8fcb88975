"""Trees of small files: ``sync`` of 10,000 files of 4 KiB, cold, and again when nothing changed.

The limit of the cold one asks for them over one connection, eight requests ahead, and writes each
into its file; netcache writes it into the cache as well.  That of the second is ``ls -r``: the same
listings, asked for and taken apart by the same program.
"""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from benchmarks.contest import Score, contest
from benchmarks.peers import ours, peers, run_timed
from benchmarks.rig import Rig, timed

FOLDERS, FILES, SIZE = 10, 1000, 4096
AHEAD = 8
_NAMES = [f"tree/{folder}/{file}" for folder in range(FOLDERS) for file in range(FILES)]


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
                **peers(
                    # It reads no listings in JSON: it is told the names.
                    rclone=lambda: run_timed(
                        *("rclone", "--config", os.devnull, "-q", "--http-url", rig.url),
                        *("--http-no-head", "--no-traverse", "--files-from-raw", str(names)),
                        *("copy", ":http:", str(rig.another("o"))),
                    ),
                ),
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


def _fetch_all(url: str, folder: Path) -> float:
    """Seconds of the least that brings the tree into files."""
    host = urlsplit(url)
    for number in range(FOLDERS):
        (folder / "tree" / str(number)).mkdir(parents=True)
    with (
        timed() as seconds,
        socket.create_connection((host.hostname, host.port)) as connection,
        connection.makefile("rb") as replies,
    ):
        asked = 0
        for index, name in enumerate(_NAMES):
            while asked < min(index + AHEAD, len(_NAMES)):
                request = f"GET /{_NAMES[asked]} HTTP/1.1\r\nHost: {host.netloc}\r\n\r\n"
                connection.sendall(request.encode())
                asked += 1
            with open(folder / name, "xb", buffering=0) as file:
                file.write(_body(replies))
    return seconds()


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
