"""A server far away: 20 ms each way, 1 Gbit/s (``benchmarks.link``).

A scan is held against the link itself, random reads against bare sockets that ask for the same
extents over the same link, as many at a time.
"""

from __future__ import annotations

import asyncio
import queue
import random
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import netcache
from benchmarks.contest import Score, Work, contest, counted
from benchmarks.link import Link, link
from benchmarks.peers import peers, rclone_copy, run_timed
from benchmarks.rig import Rig, timed

DELAY_S = 0.020
BYTES_PER_S = 125e6
READS, READ_BYTES, BLOCK = 200, 64 << 10, 4096
AT_ONCE = 16
SCAN_STEP = 1 << 20
BYTES_REACH = 1.02


def cold_scan(rig: Rig, rounds: int) -> list[Score]:
    """A cold file front to back, by reads of 1 MiB."""
    with link(rig.url, DELAY_S, BYTES_PER_S) as far:
        url = far.url + "big.bin"

        def ours() -> float:
            buffer = bytearray(SCAN_STEP)
            with (
                netcache.Client(cache_dir=rig.fresh("far")) as client,
                client.open(url) as file,
                timed() as seconds,
            ):
                while file.readinto(buffer):
                    pass
            return seconds()

        fsspec = (
            "import fsspec, sys\n"
            "with fsspec.open(sys.argv[1]).open() as f:\n"
            "    while f.read(1 << 20): pass\n"
        )
        # To connect takes a round trip, and so does the first answer.
        least_s = 4 * DELAY_S + rig.size / BYTES_PER_S
        return [
            contest(
                "cold scan by 1 MiB, 20 ms each way, 1 Gbit/s",
                ("the link", lambda: least_s),
                {
                    "netcache": ours,
                    **peers(
                        curl=lambda: run_timed("curl", "-sf", "-o", "/dev/null", url),
                        rclone=lambda: rclone_copy(
                            rig._replace(url=far.url), ":http:big.bin", str(rig.fresh("o") / "b")
                        ),
                        fsspec=lambda: run_timed(sys.executable, "-c", fsspec, url),
                    ),
                },
                rounds=rounds,
                reach=1 / 0.9,
            )
        ]


def far_reads(rig: Rig, rounds: int) -> list[Score]:
    """200 reads of 64 KiB at random places of a cold file: one after the other, and 16 at once."""
    picks = random.Random(1)
    offsets = [picks.randrange((rig.size - READ_BYTES) // BLOCK) * BLOCK for _ in range(READS)]
    with link(rig.url, DELAY_S, BYTES_PER_S) as far:
        url = far.url + "big.bin"
        fetched: list[int] = []

        def reads(threads: int) -> float:
            with (
                netcache.Client(cache_dir=rig.fresh("far")) as client,
                client.open(url) as file,
                ThreadPoolExecutor(threads) as pool,
            ):
                file.pread(1, rig.size - 1)
                before = client.stats()["DownOps"]["bytes"]
                with timed() as seconds:
                    list(pool.map(lambda offset: file.pread(READ_BYTES, offset), offsets))
                fetched.append(client.stats()["DownOps"]["bytes"] - before)
            return seconds()

        rows: list[tuple[str, int, Work]] = [
            ("one thread", 1, lambda: reads(1)),
            (f"{AT_ONCE} threads", AT_ONCE, lambda: reads(AT_ONCE)),
            ("asyncio", AT_ONCE, lambda: asyncio.run(_async_reads(rig, url, offsets))),
        ]
        scores = [
            contest(
                f"{READS} cold reads of 64 KiB, 20 ms each way, {name}",
                (f"{count} socket{'s' * (count > 1)}", _bare(far, offsets, count)),
                {"netcache": work, **peers(obstore=_obstore(far, offsets, count))},
                rounds=rounds,
                reach=1.1,
            )
            for name, count, work in rows
        ]
    touched = {block for low in offsets for block in range(low, low + READ_BYTES, BLOCK)}
    touched_bytes = len(touched) * BLOCK
    bytes_row = f"bytes of {READS} cold reads of 64 KiB"
    limit = ("the blocks", touched_bytes)
    return [*scores, counted(bytes_row, limit, max(fetched), unit="B", reach=BYTES_REACH)]


async def _async_reads(rig: Rig, url: str, offsets: Sequence[int]) -> float:
    async with (
        netcache.AsyncClient(cache_dir=rig.fresh("far")) as client,
        await client.open(url) as file,
    ):
        await file.pread(1, rig.size - 1)
        with timed() as seconds:
            await asyncio.gather(*(file.pread(READ_BYTES, offset) for offset in offsets))
    return seconds()


def _bare(far: Link, offsets: Sequence[int], count: int) -> Work:
    """The same reads by ``count`` connections; all but the first have to be made, as with us."""

    def turn() -> float:
        todo: queue.SimpleQueue[int] = queue.SimpleQueue()
        for offset in offsets:
            todo.put(offset)
        first = _connection(far)
        _ask(first, 0)
        workers = [
            threading.Thread(target=_work, args=(far, todo, first if not number else None))
            for number in range(count)
        ]
        with timed() as seconds:
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
        return seconds()

    return turn


def _connection(far: Link) -> socket.socket:
    port = int(far.url.rstrip("/").rpartition(":")[2])
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _work(far: Link, todo: queue.SimpleQueue[int], made: socket.socket | None) -> None:
    with made or _connection(far) as connection:
        while True:
            try:
                offset = todo.get_nowait()
            except queue.Empty:
                return
            _ask(connection, offset)


def _ask(connection: socket.socket, offset: int) -> None:
    """One exchange of ``READ_BYTES``."""
    asked = f"bytes={offset}-{offset + READ_BYTES - 1}"
    connection.sendall(f"GET /big.bin HTTP/1.1\r\nHost: x\r\nRange: {asked}\r\n\r\n".encode())
    head = b""
    while b"\r\n\r\n" not in head:
        head += connection.recv(READ_BYTES)
    left = READ_BYTES - len(head.split(b"\r\n\r\n", 1)[1])
    while left:
        left -= len(connection.recv(left))


def _obstore(far: Link, offsets: Sequence[int], count: int) -> Work:
    script = (
        "import obstore, sys, time; from obstore.store import HTTPStore\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "s = HTTPStore.from_url(sys.argv[1], client_options={'allow_http': True})\n"
        "offsets = list(map(int, sys.argv[3].split(',')))\n"
        "read = lambda o: obstore.get_range(s, 'big.bin', start=o, length=65536)\n"
        "begun = time.perf_counter()\n"
        "with ThreadPoolExecutor(int(sys.argv[2])) as pool: list(pool.map(read, offsets))\n"
        "print(time.perf_counter() - begun)\n"
    )
    listed = ",".join(map(str, offsets))
    command = [sys.executable, "-c", script, far.url, str(count), listed]
    # Without the start of Python: ours is running, too.
    return lambda: float(subprocess.run(command, check=True, capture_output=True).stdout)
