"""What comparing cached bytes with their sums costs: each level against ``verify="none"``.

Bandwidth is that of sequential reads of 1 MiB of a cached file.  *Again* is the second and later
pass over a file that is open, *first* the pass that has everything to compare.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import netcache
from benchmarks.contest import Score, contest
from benchmarks.rig import Rig, timed

VERIFY_BYTES = 256 << 20
SMALL_READS = 20_000
PART_OF_BANDWIDTH = 0.05
"""The most that the default may cost of warm bandwidth."""


def verifying(rig: Rig, rounds: int) -> list[Score]:
    """Levels open and read against none: again, first, and scattered small reads."""
    size = min(VERIFY_BYTES, rig.size)
    cache = rig.scratch / "verify-cache"
    url = rig.url + "big.bin"

    def client(level: str) -> netcache.Client:
        return netcache.Client(cache_dir=cache, validate="never", verify=level)

    def scan(file: netcache.File) -> float:
        view = memoryview(bytearray(1 << 20))
        with timed() as seconds:
            for offset in range(0, size, 1 << 20):
                file.preadinto(view, offset)
        return seconds()

    def small(file: netcache.File) -> float:
        picks = random.Random(1)
        offsets = [picks.randrange(size // 4096) * 4096 for _ in range(SMALL_READS)]
        pread = file.pread
        with timed() as seconds:
            for offset in offsets:
                pread(4096, offset)
        return seconds()

    def first(level: str, measure: Callable[[netcache.File], float]) -> float:
        with client(level) as fresh, fresh.open(url) as file:
            return measure(file)

    with client("none") as plain, client("open") as once, client("read") as each:
        plain.warm(url, 0, size)
        with plain.open(url) as none_file, once.open(url) as open_file, each.open(url) as read_file:
            scan(open_file)
            none = "verify=none"
            return [
                contest(
                    "verify=open, again, 1 MiB",
                    (none, lambda: scan(none_file)),
                    {"netcache": lambda: scan(open_file)},
                    rounds=rounds,
                    reach=1 / (1 - PART_OF_BANDWIDTH),
                ),
                contest(
                    "verify=open, again, 4 KiB",
                    (none, lambda: small(none_file)),
                    {"netcache": lambda: small(open_file)},
                    rounds=rounds,
                    reach=1 / (1 - PART_OF_BANDWIDTH),
                ),
                contest(
                    "verify=open, first, 1 MiB",
                    (none, lambda: first("none", scan)),
                    {"netcache": lambda: first("open", scan)},
                    rounds=rounds,
                    reach=4.0,
                ),
                contest(
                    "verify=open, first, 4 KiB",
                    (none, lambda: first("none", small)),
                    {"netcache": lambda: first("open", small)},
                    rounds=rounds,
                    reach=10.0,
                ),
                contest(
                    "verify=read, 1 MiB",
                    (none, lambda: scan(none_file)),
                    {"netcache": lambda: scan(read_file)},
                    rounds=rounds,
                    reach=4.0,
                ),
                contest(
                    "verify=read, 4 KiB",
                    (none, lambda: small(none_file)),
                    {"netcache": lambda: small(read_file)},
                    rounds=rounds,
                    reach=50.0,
                ),
            ]
