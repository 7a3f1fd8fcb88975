"""Sums of blocks: the second witness of what a cache object holds.

One sum for each block of an object, XXH3 with 64 bits, big-endian.  A sum says two things at once:
that the block was stored, and what was stored.  All zeros (``ABSENT``) says that nothing was: a
hole, a block of zeros, or anything else that was not written by us has no sum that fits.

A table of sums needs no checksum of its own.  A sum that was damaged fits no block, and a doubt is
a miss.  What binds a table to its object is its head (``TableHead``).  Pure.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from xxhash import xxh3_64_digest

from netcache._core.label import SUM_BYTES, Binding

if TYPE_CHECKING:
    from typing_extensions import Buffer

ABSENT = bytes(SUM_BYTES)

INLINE_BLOCKS_MAX = 64
"""Objects with no more blocks have their sums in the label; larger ones have a table."""

HEAD_BYTES = 64
"""The sum of block ``n`` is at ``HEAD_BYTES + n * SUM_BYTES`` of a table."""

_MAGIC = b"NCSUMS\x00\x01"
_HEAD = struct.Struct(">8sQQqI20x")

Run = tuple[int, int]
"""Blocks from the first up to, not with, the second."""


class TableHead(NamedTuple):
    """What a table belongs to: its number in the label, the object's file, the block size."""

    number: int
    binding: Binding
    unit: int

    def pack(self) -> bytes:
        """The first ``HEAD_BYTES`` of the table."""
        raw = _HEAD.pack(_MAGIC, self.number, *self.binding, self.unit)
        return raw + xxh3_64_digest(raw)


def block_sums(data: Buffer, unit: int) -> bytes:
    """The sums of blocks of ``unit`` bytes; a last block that is short counts as padded with 0."""
    view = memoryview(data)
    if view.nbytes == unit:
        return xxh3_64_digest(view)
    view = view.cast("B")
    whole = len(view) - len(view) % unit
    sums = [xxh3_64_digest(view[start : start + unit]) for start in range(0, whole, unit)]
    if whole < len(view):
        sums.append(xxh3_64_digest(bytes(view[whole:]).ljust(unit, b"\0")))
    return b"".join(sums)


def _numbers(sums: bytes) -> tuple[int, ...]:
    return struct.unpack(f">{len(sums) // SUM_BYTES}Q", sums)


def recorded_runs(sums: bytes, first: int) -> Iterator[Run]:
    """The runs of blocks that have a sum; ``sums`` begins with that of block ``first``."""
    numbers = _numbers(sums)
    if 0 not in numbers:
        # What is all there is the rule.
        yield from [(first, first + len(numbers))] if numbers else ()
        return
    yield from _runs((bool(number) for number in numbers), first)


def differing_runs(recorded: bytes, found: bytes, first: int) -> list[Run]:
    """The runs of blocks whose sums are not those recorded, or that have none recorded."""
    if recorded == found and (ABSENT not in recorded or 0 not in _numbers(recorded)):
        return []
    pairs = zip(_numbers(recorded), _numbers(found), strict=True)
    return list(_runs((not want or want != have for want, have in pairs), first))


def _runs(marks: Iterator[bool], first: int) -> Iterator[Run]:
    """The runs of true marks, counted from ``first``."""
    start = None
    number = first - 1
    for number, mark in enumerate(marks, first):
        if mark and start is None:
            start = number
        elif not mark and start is not None:
            yield start, number
            start = None
    if start is not None:
        yield start, number + 1


def part(sums: bytes, first: int, last: int) -> bytes:
    """The sums of blocks ``first`` up to ``last``, of a table that may end before them."""
    return sums[first * SUM_BYTES : last * SUM_BYTES].ljust((last - first) * SUM_BYTES, b"\0")


def with_part(sums: bytes, first: int, new: bytes) -> bytes:
    """The table ``sums`` with ``new`` from block ``first`` on; absent sums at its end left out."""
    low, high = first * SUM_BYTES, first * SUM_BYTES + len(new)
    changed = sums[:low].ljust(low, b"\0") + new + sums[high:]
    end = len(changed)
    while end and changed[end - SUM_BYTES : end] == ABSENT:
        end -= SUM_BYTES
    return changed[:end]


class PendingSums:
    """The sums of runs that were written and are not recorded yet.  Not thread-safe."""

    __slots__ = ("_runs",)

    def __init__(self) -> None:
        self._runs: dict[int, bytes] = {}

    def add(self, first: int, sums: bytes) -> None:
        """The blocks from ``first`` on were written; what was pending of them is forgotten."""
        if self._runs:
            self.take(first, first + len(sums) // SUM_BYTES)
        self._runs[first] = sums

    def take(self, first: int, last: int) -> list[tuple[int, bytes]]:
        """The sums of blocks ``first`` up to ``last`` as runs; they are pending no more."""
        exact = self._runs.get(first)
        if exact is not None and len(exact) == (last - first) * SUM_BYTES:
            # A run is recorded as it was written: the rule.
            del self._runs[first]
            return [(first, exact)]
        taken = []
        for begin, sums in sorted(self._runs.items()):
            end = begin + len(sums) // SUM_BYTES
            low, high = max(begin, first), min(end, last)
            if low >= high:
                continue
            taken.append((low, part(sums, low - begin, high - begin)))
            del self._runs[begin]
            if begin < low:
                self._runs[begin] = part(sums, 0, low - begin)
            if high < end:
                self._runs[high] = part(sums, high - begin, end - begin)
        return taken

    def clear(self) -> None:
        """Nothing is pending any more."""
        self._runs.clear()
