"""Edits and writes of files at the bundled server, which takes changes of parts.

The server makes a whole new version of a file for each change: where its filesystem cannot share
extents that copy is most of the time of an edit, so the limit is the same request by a raw socket.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import netcache
from benchmarks.contest import Score, contest, counted
from benchmarks.peers import bundled_server
from benchmarks.rig import Rig, timed

SMALL_BYTES = 4096
LARGE_BYTES = 1 << 20
WRITTEN_BYTES = 60 << 20
"""How much is written: less than what is sent without being asked for (``dirty_soft``)."""
SENT_BYTES_MAX = 64 << 10
MEMORY_BYTES_PER_S = 200e6
"""The least rate at which small writes are to be taken."""


def edit(rig: Rig, rounds: int) -> list[Score]:
    """4 KiB in a large cached file, until the server has it durable, against the bare request."""
    with _served(rig, rig.size, "ours", "theirs") as (url, client):
        client.warm(url + "ours")
        picks = random.Random(5)
        raw = _RawPatch(url + "theirs")

        def place() -> int:
            return picks.randrange(rig.size // SMALL_BYTES) * SMALL_BYTES

        with client.open(url + "ours", "r+b") as file, raw:

            def ours() -> float:
                with timed() as seconds:
                    file.pwrite(picks.randbytes(SMALL_BYTES), place())
                    file.fsync()
                return seconds()

            before = client.stats()
            score = contest(
                "edit of 4 KiB, durable",
                ("bare PATCH", lambda: raw.send(place(), picks.randbytes(SMALL_BYTES))),
                {"netcache": ours},
                rounds=rounds,
                reach=2.0,
            )
            after = client.stats()
        sent = after["UpldOps"]["bytes"] - before["UpldOps"]["bytes"]
        fetched = after["DownOps"]["bytes"] - before["DownOps"]["bytes"]
        return [
            score,
            counted(
                "bytes moved by an edit of 4 KiB",
                ("at most", SENT_BYTES_MAX),
                (sent + fetched) / rounds,
                unit="B",
            ),
        ]


def random_writes(rig: Rig, rounds: int) -> list[Score]:
    """4 KiB anywhere, write-back: into memory, and then to the server against a ``put``."""
    size = min(WRITTEN_BYTES, rig.size)
    data = random.Random(6).randbytes(SMALL_BYTES)
    places = list(range(0, size, SMALL_BYTES))
    random.Random(7).shuffle(places)
    with _served(rig, size, "file") as (url, client):
        whole = rig.big.read_bytes()[:size]
        flushes: list[float] = []

        def ours() -> float:
            with client.open(url + "file", "r+b") as file:
                with timed() as seconds:
                    for offset in places:
                        file.pwrite(data, offset)
                with timed() as flushing:
                    file.fsync()
                flushes.append(flushing())
            return seconds()

        into_memory = contest(
            "random 4 KiB writes, write-back",
            ("200 MB/s", lambda: size / MEMORY_BYTES_PER_S),
            {"netcache": ours},
            rounds=rounds,
            reach=1.0,
        )
        flushed = contest(
            "their fsync",
            ("put of the same", lambda: _put(client, url + "put", whole)),
            {"netcache": lambda: (ours(), flushes[-1])[1]},
            rounds=rounds,
            reach=1.2,
        )
        return [into_memory, flushed]


def sequential_writes(rig: Rig, rounds: int) -> list[Score]:
    """1 MiB after 1 MiB over a file, and its close, in both modes, against a ``put``."""
    size = min(WRITTEN_BYTES, rig.size)
    with _served(rig, size, "file") as (url, client):
        whole = rig.big.read_bytes()[:size]
        scores = []
        for mode in ("back", "through"):
            options = {"cache_dir": rig.fresh("seq-cache"), "write_mode": mode}
            with netcache.Client(**options) as writer:  # type: ignore[arg-type]

                def ours(writer: netcache.Client = writer) -> float:
                    with timed() as seconds, writer.open(url + "file", "r+b") as file:
                        for offset in range(0, size, LARGE_BYTES):
                            file.write(whole[offset : offset + LARGE_BYTES])
                    return seconds()

                scores.append(
                    contest(
                        f"sequential 1 MiB writes, {mode}",
                        ("put of the same", lambda: _put(client, url + "put", whole)),
                        {"netcache": ours},
                        rounds=rounds,
                        reach=2.0 if mode == "back" else 8.0,
                    )
                )
        return scores


def _put(client: netcache.Client, url: str, data: bytes) -> float:
    with timed() as seconds, client.open(url, "wb") as file:
        file.write(data)
    return seconds()


@contextmanager
def _served(rig: Rig, size: int, *names: str) -> Iterator[tuple[str, netcache.Client]]:
    """The bundled server with copies of the first ``size`` bytes, and a write-back client."""
    folder = rig.fresh("served")
    for name in names:
        _copy_start(rig.big, folder / name, size)
    with (
        bundled_server(folder) as url,
        netcache.Client(cache_dir=rig.fresh("edit-cache"), write_mode="back") as client,
    ):
        yield url, client


def _copy_start(source: Path, target: Path, size: int) -> None:
    with source.open("rb") as old, target.open("wb") as new:
        for _ in range(0, size, LARGE_BYTES):
            new.write(old.read(LARGE_BYTES))


class _RawPatch:
    """The request that an edit takes, by the barest means: one connection, one round trip."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._path = parts.path
        self._host = f"{parts.hostname}:{parts.port}"
        self._socket = socket.create_connection((parts.hostname, parts.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> _RawPatch:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, start: int, data: bytes) -> float:
        """Seconds until the answer is there."""
        head = (
            f"PATCH {self._path} HTTP/1.1\r\nHost: {self._host}\r\n"
            "Content-Type: application/x-sabredav-partialupdate\r\n"
            f"X-Update-Range: bytes={start}-{start + len(data) - 1}\r\n"
            f"Content-Length: {len(data)}\r\n\r\n"
        )
        with timed() as seconds:
            self._socket.sendall(head.encode() + data)
            answer = self._socket.recv(65536)
        assert answer.startswith(b"HTTP/1.1 2"), answer
        return seconds()
