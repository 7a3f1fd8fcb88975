"""What binding, opening and culling cost, with ten thousand objects and with a million.

``python -m benchmarks.scale_culling [--objects 10000 100000 1000000] [--dir DIR]``.  The objects
have one block each.  Prints a line a size: seconds, and how many system calls; the calls have to
be the same.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from typing import Any, NamedTuple, cast

from netcache._cachefiles.file_port import FileOps
from netcache._cachefiles.fileops import PosixFileOps
from netcache._cachefiles.label_file import LabelFile
from netcache._cachefiles.store import CachefilesStore, bind
from netcache._core.checksums import block_sums
from netcache._core.coherency import Validator, ValidatorKind, Version
from netcache._core.content import Content
from netcache._core.keys import ObjectKey, object_file

VOLUME = "netcache,http,example.org"
TURNS = 2000
"""So many objects are opened, and so many stored at the limit."""


class _Counting:
    """System calls, counted."""

    def __init__(self) -> None:
        self.inner = PosixFileOps()
        self.counts: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.inner, name)
        if not callable(value):
            return value

        def counted(*args: Any, **options: Any) -> Any:
            self.counts[name] += 1
            return value(*args, **options)

        return counted


class Cost(NamedTuple):
    """What something cost, once."""

    microseconds: float
    calls: float

    def __str__(self) -> str:
        return f"{self.microseconds:10.1f} µs {self.calls:7.1f} calls"


class Line(NamedTuple):
    """What was measured with so many objects."""

    objects: int
    count_s: float
    bind: Cost
    open: Cost
    cull: Cost
    put: Cost


def key(number: int) -> ObjectKey:
    """The key of an object."""
    return ObjectKey(VOLUME, b"folder/object %d" % number)


def version(size: int) -> Version:
    """A version with a strong validator."""
    return Version(Validator(ValidatorKind.STRONG_ETAG, '"a"'), size, 1_600_000_000)


def build(directory: str, count: int) -> None:
    """Objects as a store leaves them, without the record of use, at once."""
    store = bind(directory)
    bound, block = store._bound, store.block_size
    data = b"x" * block
    label = bound.empty_label(key(0), version(block), 0.0)._replace(
        content=Content.ALL, stored_end=block, sums=block_sums(data, block)
    )
    for number in range(count):
        folder = bound.folders.open(key(number), make=True)
        fd = bound.ops.open_new(object_file(key(number).name), folder)
        bound.ops.write_all(fd, data, 0)
        file = LabelFile(bound.ops, fd, bound.epoch, block)
        file.write(label._replace(key=key(number).name, binding=file.binding()))
        bound.ops.close(fd)
    store.close()


class _Timer:
    """Seconds and calls of what is done ``times`` times inside the block."""

    def __init__(self, ops: _Counting) -> None:
        self._ops = ops

    def __enter__(self) -> _Timer:
        self._ops.counts.clear()
        self._began = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._began
        self.calls = self._ops.counts.total()

    def each(self, times: int) -> Cost:
        """The share of one."""
        return Cost(self.seconds * 1e6 / times, self.calls / times)


def measure(directory: str, count: int, turns: int = TURNS) -> Line:
    """All figures of one size."""
    build(directory, count)
    ops = _Counting()
    timer = _Timer(ops)

    def bound(limit: int | None = None) -> CachefilesStore:
        return bind(directory, fileops=cast("FileOps", ops), limit_bytes=limit)

    with bound_closed(bound()) as store, timer:
        store.cull(1 << 62)
    count_s = timer.seconds
    with timer:
        store = bound()
    bind_cost = timer.each(1)
    picks = random.Random(count).choices(range(count), k=turns)
    with timer:
        for number in picks:
            found = store.lookup(key(number))
            assert found is not None
            found.mark_used()
            found.close()
    open_cost = timer.each(turns)
    held = store.status().allocated_bytes
    with timer:
        gone, _ = store.cull(held - count // 4 * store.block_size)
    cull_cost = timer.each(gone)
    store.close()
    # At its limit: each object that comes makes others go, until culling ends (hysteresis).
    with bound_closed(bound(held - count // 4 * store.block_size)) as store:
        before = store.status().objects
        with timer:
            for number in range(turns):
                new = store.begin(key(count + number))
                new.write(b"y" * store.block_size)
                new.publish(version(store.block_size), checked_s=0).close()
        gone = before + turns - store.status().objects
    return Line(count, count_s, bind_cost, open_cost, cull_cost, timer.each(turns + gone))


class bound_closed:
    """Close a store at the end of the block."""

    def __init__(self, store: CachefilesStore) -> None:
        self._store = store

    def __enter__(self) -> CachefilesStore:
        return self._store

    def __exit__(self, *_: object) -> None:
        self._store.close()


def main() -> int:
    """Measure each size, print the table; 1 when a cost grows with the cache."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale_culling", description=__doc__)
    parser.add_argument("--objects", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--dir", help="on the filesystem to measure")
    options = parser.parse_args()
    lines = []
    for count in options.objects:
        directory = tempfile.mkdtemp(prefix="netcache-scale-", dir=options.dir)
        try:
            line = measure(directory, count)
        finally:
            shutil.rmtree(directory)
        lines.append(line)
        print(
            f"{line.objects:8} objects: counted once in {line.count_s:.1f} s\n"
            f"         bind         {line.bind}\n         open         {line.open}\n"
            f"         cull one     {line.cull}\n"
            f"         at the limit {line.put} (each that comes or goes)",
            flush=True,
        )
    grown = [
        (line.objects, name)
        for line in lines
        for name in ("bind", "open", "cull", "put")
        if getattr(line, name).calls > 1.2 * getattr(lines[0], name).calls + 2
    ]
    for objects, name in grown:
        print(f"{name} takes more system calls with {objects} objects")
    return bool(grown)


if __name__ == "__main__":
    sys.exit(main())
