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

Measure = Callable[[], float]


class _Levels:
    """Cached files open by each level; the seconds are those of all reads of a pass."""

    def __init__(self, rig: Rig) -> None:
        self._cache = rig.scratch / "verify-cache"
        self.url = rig.url + "big.bin"
        self.size = min(VERIFY_BYTES, rig.size)

    def client(self, level: str) -> netcache.Client:
        """A client that compares by ``level``."""
        return netcache.Client(cache_dir=self._cache, validate="never", verify=level)

    def scan(self, file: netcache.File) -> float:
        """All of it in reads of 1 MiB."""
        view = memoryview(bytearray(1 << 20))
        with timed() as seconds:
            for offset in range(0, self.size, 1 << 20):
                file.preadinto(view, offset)
        return seconds()

    def small(self, file: netcache.File) -> float:
        """Scattered reads of 4 KiB."""
        picks = random.Random(1)
        offsets = [picks.randrange(self.size // 4096) * 4096 for _ in range(SMALL_READS)]
        pread = file.pread
        with timed() as seconds:
            for offset in offsets:
                pread(4096, offset)
        return seconds()

    def first(self, level: str, measure: Callable[[netcache.File], float]) -> float:
        """A pass of a client that has read nothing before."""
        with self.client(level) as fresh, fresh.open(self.url) as file:
            return measure(file)


def verifying(rig: Rig, rounds: int) -> list[Score]:
    """Levels open and read against none: again, first, and scattered small reads."""
    levels = _Levels(rig)
    scan, small, first = levels.scan, levels.small, levels.first
    again = 1 / (1 - PART_OF_BANDWIDTH)

    def row(name: str, reach: float, plain: Measure, ours: Measure) -> Score:
        limit = ("verify=none", plain)
        return contest(name, limit, {"netcache": ours}, rounds=rounds, reach=reach)

    with (
        levels.client("none") as plain,
        levels.client("open") as once,
        levels.client("read") as each,
    ):
        plain.warm(levels.url, 0, levels.size)
        with (
            plain.open(levels.url) as none,
            once.open(levels.url) as opened,
            each.open(levels.url) as read,
        ):
            scan(opened)
            pairs: list[tuple[str, float, Measure, Measure]] = [
                ("open, again, 1 MiB", again, lambda: scan(none), lambda: scan(opened)),
                ("open, again, 4 KiB", again, lambda: small(none), lambda: small(opened)),
                (
                    "open, first, 1 MiB",
                    4.0,
                    lambda: first("none", scan),
                    lambda: first("open", scan),
                ),
                (
                    "open, first, 4 KiB",
                    10.0,
                    lambda: first("none", small),
                    lambda: first("open", small),
                ),
                ("read, 1 MiB", 4.0, lambda: scan(none), lambda: scan(read)),
                ("read, 4 KiB", 50.0, lambda: small(none), lambda: small(read)),
            ]
            return [row(f"verify={name}", reach, limit, ours) for name, reach, limit, ours in pairs]
