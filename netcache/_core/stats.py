"""Counters, in the groups and names of the netfs and fscache statistics of Linux.

Each counter only grows, except the gauges ``Objs.*`` which count what is alive now and return to
zero when a client is idle.  Increments are plain additions: an increment of two threads at the
same moment may be lost, a count never goes wrong by more than that.
"""

from __future__ import annotations

GROUPS: dict[str, dict[str, str]] = {
    "Reads": {
        "DR": "direct or unbuffered reads",
        "RA": "readahead requests",
        "RF": "reads that needed a request",
        "RS": "reads of monolithic objects",
        "RG": "reads of edited files that had to fill gaps",
        "WB": "reads of the rest of a block for a write",
        "WBZ": "such reads that were not needed: the rest is zeros",
    },
    "Writes": {
        "BW": "buffered writes",
        "WT": "write-through requests",
        "DW": "direct (atomic) writes",
        "WP": "writebacks",
        "2C": "copies of downloads to the cache",
    },
    "ZeroOps": {"ZR": "zero-filled reads", "sh": "short reads"},
    "DownOps": {
        "DL": "downloads begun",
        "ds": "downloads ended",
        "df": "downloads failed",
        "di": "downloads instead of a cache read that failed",
        "bytes": "bytes received",
    },
    "CaRdOps": {
        "RD": "cache reads",
        "rs": "cache reads done",
        "rf": "cache reads failed",
    },
    "UpldOps": {
        "UL": "uploads begun",
        "us": "uploads ended",
        "uf": "uploads failed",
        "bytes": "bytes sent",
    },
    "CaWrOps": {
        "WR": "cache writes",
        "ws": "cache writes done",
        "wf": "cache writes failed",
        "bytes": "bytes written",
    },
    "Retries": {
        "rq": "requests retried",
        "rs": "read exchanges retried",
        "wq": "writebacks retried",
        "ws": "upload exchanges retried",
    },
    "WbLock": {"skip": "background writebacks skipped", "wait": "writebacks waited for"},
    "Objs": {
        "rr": "requests alive",
        "sr": "exchanges alive",
        "bq": "segment arrays of buffer queues alive",
    },
    "Cookies": {"n": "resources acquired", "v": "volumes acquired"},
    "Acquire": {"n": "lookups", "ok": "lookups that found an object"},
    "LRU": {"exp": "idle objects closed"},
    "Invals": {"n": "invalidations: the version had changed"},
    "Updates": {
        "n": "checks that found the version current",
        "stale": "opens without a check, because the server failed",
        "same": "changes of version that left the bytes as they were",
    },
    "Relinqs": {"n": "resources let go", "rtr": "resources dropped"},
    "NoSpace": {"nwr": "writes refused", "ncr": "creations refused", "cull": "objects culled"},
    "Misses": {
        "never": "misses: never fetched",
        "culled": "misses: culled",
        "version": "misses: another version came",
        "expired": "misses: cached, but nothing could renew it",
        "checksum": "misses: damaged in the cache",
        "dropped": "misses: dropped by a user",
        "partial": "misses: only part of the block had come",
        "cache": "misses: no cache could hold it",
    },
    "IO": {"rd": "cache reads", "wr": "cache writes"},
}
"""Every counter with its meaning."""

GAUGES = frozenset(("Objs", name) for name in GROUPS["Objs"])


class Stats:
    """The counters of one client."""

    __slots__ = ("_values",)

    def __init__(self) -> None:
        self._values = {group: dict.fromkeys(names, 0) for group, names in GROUPS.items()}

    def add(self, group: str, name: str, count: int = 1) -> None:
        """Add ``count`` (negative for gauges only) to a counter; ``KeyError`` for an unknown."""
        self._values[group][name] += count

    def add_lookup(self, *, found: bool) -> None:
        """An object was looked up."""
        acquired = self._values["Acquire"]
        acquired["n"] += 1
        acquired["ok"] += found

    def add_cache_reads(self, count: int) -> None:
        """``count`` reads were served by the cache."""
        reads = self._values["CaRdOps"]
        reads["RD"] += count
        reads["rs"] += count
        self._values["IO"]["rd"] += count

    def value(self, group: str, name: str) -> int:
        """The value of one counter."""
        return self._values[group][name]

    def add_groups(self, groups: dict[str, dict[str, int]]) -> None:
        """Add the counters of another client, its gauges excepted."""
        for group, names in groups.items():
            for name, count in names.items():
                if (group, name) not in GAUGES:
                    self._values[group][name] += count

    def as_groups(self) -> dict[str, dict[str, int]]:
        """All counters, grouped, in the order of ``GROUPS``."""
        return {group: dict(values) for group, values in self._values.items()}


def encode(groups: dict[str, dict[str, int]]) -> str:
    """One ``group.name value`` line a counter that is not zero, gauges left out."""
    return "".join(
        f"{group}.{name} {value}\n"
        for group, names in groups.items()
        for name, value in names.items()
        if value and (group, name) not in GAUGES
    )


def decode(text: str) -> dict[str, dict[str, int]]:
    """The inverse of ``encode``; unknown counters and lines that do not parse are passed over."""
    groups = {group: dict.fromkeys(names, 0) for group, names in GROUPS.items()}
    for line in text.splitlines():
        label, _, value = line.partition(" ")
        group, _, name = label.partition(".")
        if name in groups.get(group, {}) and value.isdigit():
            groups[group][name] = int(value)
    return groups


def merge(
    into: dict[str, dict[str, int]], more: dict[str, dict[str, int]]
) -> dict[str, dict[str, int]]:
    """``into`` with the values of ``more`` added."""
    for group, names in more.items():
        for name, value in names.items():
            into[group][name] = into[group].get(name, 0) + value
    return into
