"""Processes that want one cold file at the same time, over one cache: together they fetch it once.

Where the server is next door the ratio is about processor time: each of them copies all bytes.
Memory is touched when they have all started, for they take a gigabyte themselves.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

from benchmarks.contest import OURS, Score, contest, counted, touch_memory
from benchmarks.link import link
from benchmarks.rig import Rig, timed

BYTES_PER_S = 125e6
BYTES_REACH = 1.02
TOGETHER = 16
_READER = (
    "import aiohttp, netcache, sys\n"
    "client = netcache.Client(cache_dir=sys.argv[2])\n"
    "buffer = bytearray(1 << 20)\n"
    "try: client.stat(sys.argv[1] + '-none')\n"
    "except netcache.NotFoundError: pass\n"
    "print(flush=True); sys.stdin.readline()\n"
    "if sys.argv[3] == 'warm': client.warm(sys.argv[1])\n"
    "else:\n"
    "    with client.open(sys.argv[1]) as file:\n"
    "        while file.readinto(buffer): pass\n"
    "print(client.stats()['DownOps']['bytes'], flush=True); sys.stdin.readline()\n"
    "client.close()\n"
)


def together(rig: Rig, rounds: int) -> list[Score]:
    """16 processes against one: from next door, and over 1 Gbit/s; and what they fetch."""
    fetched: list[int] = []
    with link(rig.url, 0.0, BYTES_PER_S) as near:
        scores = [
            contest(
                f"{TOGETHER} processes {verb} one cold file{where}",
                ("one process", lambda url=url, verb=verb: _run(rig, url, verb, 1, [])),  # type: ignore[misc]
                {OURS: lambda url=url, verb=verb: _run(rig, url, verb, TOGETHER, fetched)},  # type: ignore[misc]
                rounds=rounds,
                reach=1.3,
            )
            for url, where in ((rig.url, ""), (near.url, ", 1 Gbit/s"))
            for verb in ("warm", "read")
        ]
    limit = ("the file", rig.size)
    row = f"bytes of {TOGETHER} processes"
    return [*scores, counted(row, limit, max(fetched), unit="B", reach=BYTES_REACH)]


def _run(rig: Rig, url: str, verb: str, count: int, fetched: list[int]) -> float:
    """Seconds from when all are ready until the last one has everything."""
    command = [sys.executable, "-c", _READER, url + "big.bin", str(rig.fresh("together")), verb]
    readers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(count)
    ]
    _hear(readers)
    touch_memory(rig.scratch)
    os.sync()
    with timed() as seconds:
        _tell(readers)
        lines = _hear(readers)
    _tell(readers)
    for reader in readers:
        reader.wait()
    fetched.append(sum(map(int, lines)))
    return seconds()


def _hear(readers: Sequence[subprocess.Popen[str]]) -> list[str]:
    lines = []
    for reader in readers:
        assert reader.stdout is not None
        lines.append(reader.stdout.readline())
    return lines


def _tell(readers: Sequence[subprocess.Popen[str]]) -> None:
    for reader in readers:
        assert reader.stdin is not None
        reader.stdin.write("\n")
        reader.stdin.flush()
