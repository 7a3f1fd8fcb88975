"""Writes to pages that are on their way to the server: what stable pages cost.

An upload sends a copy taken at its submission, so a write waits for none.  The limit is the same
writes beside the writeback of another file, which takes the same time of processor and disk.
"""

from __future__ import annotations

import random
import threading

import netcache
from benchmarks.contest import Score, contest
from benchmarks.peers import bundled_server
from benchmarks.rig import Rig, timed

PAGE = 4096
FILE_BYTES = 64 << 10
WRITES = 20_000


def rewrites(rig: Rig, rounds: int) -> list[Score]:
    """4 KiB writes over a file of 64 KiB, while it, or another one, is being uploaded all along."""
    folder = rig.fresh("stable")
    for name in ("same", "other"):
        (folder / name).write_bytes(bytes(FILE_BYTES))
    options = {"cache_dir": rig.fresh("stable-cache"), "write_mode": "back"}
    with (
        bundled_server(folder) as url,
        netcache.Client(**options, flush_interval=3600.0) as client,  # type: ignore[arg-type]
        client.open(url + "same", "r+b") as same,
        client.open(url + "other", "r+b") as other,
    ):
        return [
            contest(
                "4 KiB rewrites under writeback",
                ("beside another's", lambda: _writes(same, other)),
                {"netcache": lambda: _writes(same, same)},
                rounds=rounds,
                reach=1.2,
            )
        ]


def _writes(file: netcache.File, sent: netcache.File) -> float:
    """Seconds for the writes to ``file`` while ``sent`` is written and uploaded again and again."""
    stop = threading.Event()

    def upload() -> None:
        turn = 0
        while not stop.is_set():
            turn += 1
            sent.pwrite(bytes([turn % 256]) * FILE_BYTES, 0)
            sent.fsync()

    picks = random.Random(9)
    places = [picks.randrange(FILE_BYTES // PAGE) * PAGE for _ in range(WRITES)]
    data = picks.randbytes(PAGE)
    uploading = threading.Thread(target=upload)
    uploading.start()
    try:
        with timed() as seconds:
            for place in places:
                file.pwrite(data, place)
        return seconds()
    finally:
        stop.set()
        uploading.join()
