"""``python -m tests.stress.single_flight``: many processes read one cold resource at once.

Each reads all of it and compares every byte; the server says how many bytes it has sent in all.
"""

from __future__ import annotations

import argparse
import mmap
import os
import select
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import netcache
from tests.stress.no_locks import disable_locks
from tests.stress.rig import Child

FIRST_BYTES = 4096
"""How much each process reads first: that much may come to each of them (an open is a read)."""
_STEP_BYTES = 1 << 20
_PATTERN_BYTES = (1 << 20) + 7


class Fetched(NamedTuple):
    """What was read by how many, and what the server had to send for it."""

    size: int
    readers: int
    sent_bytes: int

    @property
    def times(self) -> float:
        """How often the resource was sent."""
        return self.sent_bytes / self.size


def run(folder: Path, *, processes: int, size: int, locks: bool = True) -> Fetched:
    """Have ``processes`` read; raises ``AssertionError`` when one of them did not end well."""
    (folder / "www").mkdir()
    with (folder / "www" / "big").open("wb") as file:
        piece = os.urandom(_PATTERN_BYTES)
        while file.tell() < size:
            file.write(piece[: size - file.tell()])
    server = Child([], lambda out, stop: _serve(folder, out, stop))
    (url,) = server.hear()
    children: list[Child] = []
    for number in range(processes):
        others = [fd for child in (server, *children) for fd in child.fds]
        children.append(Child(others, _reader(folder, url, number, locks=locks)))
    for child in children:
        child.finish()
    ended = [child.wait() for child in children]
    server.finish()
    (sent,) = server.hear()
    server.wait()
    assert ended == [0] * processes, ended
    return Fetched(size, processes, int(sent))


def _serve(folder: Path, out: int, stop: int) -> None:
    from netcache_server import ServerOptions, ServerThread

    with ServerThread(ServerOptions(root=folder / "www", fsync=False, log="memory")) as server:
        os.write(out, server.url.encode() + b"\n")
        select.select([stop], [], [])
        gets = [dict(record) for record in server.requests if record["method"] == "GET"]
        sent = sum(int(str(record["bytes_sent"])) for record in gets)
        os.write(out, b"%d\n" % sent)


def _reader(folder: Path, url: str, number: int, *, locks: bool) -> Callable[[int, int], None]:
    """Reads all of it when told to, every second process from its middle on."""

    def read(out: int, stop: int) -> None:
        if not locks:
            disable_locks()
        with (folder / "www" / "big").open("rb") as truth:
            mapped = memoryview(mmap.mmap(truth.fileno(), 0, prot=mmap.PROT_READ))
        select.select([stop], [], [])
        with netcache.Client(cache_dir=folder / "cache") as client:
            _read(client, url + "big", mapped, len(mapped) // 2 * (number % 2))

    return read


def _read(client: netcache.Client, url: str, truth: memoryview, middle: int) -> None:
    with client.open(url) as file:
        assert file.pread(FIRST_BYTES, 0) == truth[:FIRST_BYTES]
        for start, end in ((middle, len(truth)), (0, middle)):
            for position in range(start, end, _STEP_BYTES):
                length = min(_STEP_BYTES, end - position)
                found = file.pread(length, position)
                assert found == truth[position : position + length], position


def main() -> int:
    """One run; exit 1 when the server had to send more than 1.00 times the resource."""
    parser = argparse.ArgumentParser(prog="python -m tests.stress.single_flight")
    parser.add_argument("--processes", type=int, default=16)
    parser.add_argument("--mib", type=int, default=1024)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="netcache-single-") as folder:
        fetched = run(Path(folder), processes=options.processes, size=options.mib << 20)
    print(
        f"{fetched.readers} processes read {options.mib} MiB each; "
        f"the server sent {fetched.sent_bytes} bytes: {fetched.times:.2f}x"
    )
    return int(round(fetched.times, 2) > 1.0)


if __name__ == "__main__":
    sys.exit(main())
