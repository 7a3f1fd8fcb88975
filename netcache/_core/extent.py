"""Extents: half-open byte ranges ``[start, end)``, and the arithmetic of blocks and sets of them.

End is exclusive everywhere.  A block size is a power of two; ``round_down`` and ``round_up`` are
the only places where positions meet blocks.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from typing import NamedTuple


class Extent(NamedTuple):
    """The bytes ``[start, end)`` of a resource; ``0 <= start <= end``."""

    start: int
    end: int

    @property
    def length(self) -> int:
        """How many bytes."""
        return self.end - self.start

    def clip(self, start: int, end: int) -> Extent:
        """The part inside ``[start, end)``; empty (at the nearer bound) when there is none."""
        low = min(max(self.start, start), end)
        return Extent(low, max(low, min(self.end, end)))

    def __str__(self) -> str:
        return f"[{self.start}, {self.end})"


def round_down(position: int, block_size: int) -> int:
    """The largest multiple of ``block_size`` (a power of two) at or below ``position``."""
    return position & -block_size


def round_up(position: int, block_size: int) -> int:
    """The smallest multiple of ``block_size`` (a power of two) at or above ``position``."""
    return (position + block_size - 1) & -block_size


def round_out(extent: Extent, block_size: int) -> Extent:
    """The smallest whole-block extent that holds ``extent``."""
    return Extent(round_down(extent.start, block_size), round_up(extent.end, block_size))


def round_in(extent: Extent, block_size: int) -> Extent:
    """The largest whole-block extent inside ``extent``; empty when no whole block is."""
    start = round_up(extent.start, block_size)
    return Extent(start, max(start, round_down(extent.end, block_size)))


class ExtentSet:
    """A sorted set of disjoint, non-adjoining, non-empty extents.

    Not thread-safe: the owner holds its own lock.  Cost: a lookup is O(log n), a change O(n) in
    the number of extents that lie behind it.
    """

    __slots__ = ("_ends", "_starts")

    def __init__(self, extents: Iterable[tuple[int, int]] = ()) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        for start, end in extents:
            self.add(start, end)

    def add(self, start: int, end: int) -> None:
        """Put ``[start, end)`` in, joining what overlaps or adjoins."""
        if start >= end:
            return
        if not self._starts:
            self._starts.append(start)
            self._ends.append(end)
            return
        first = bisect_left(self._ends, start)
        last = bisect_right(self._starts, end)
        if first < last:
            start = min(start, self._starts[first])
            end = max(end, self._ends[last - 1])
        self._starts[first:last] = [start]
        self._ends[first:last] = [end]

    def remove(self, start: int, end: int) -> None:
        """Take ``[start, end)`` out, cutting what overlaps."""
        if start >= end:
            return
        first = bisect_right(self._ends, start)
        last = bisect_left(self._starts, end)
        if first >= last:
            return
        kept = [
            (low, high)
            for low, high in (
                (self._starts[first], start),
                (end, self._ends[last - 1]),
            )
            if low < high
        ]
        self._starts[first:last] = [low for low, _ in kept]
        self._ends[first:last] = [high for _, high in kept]

    def clear(self) -> None:
        """Take everything out."""
        self._starts.clear()
        self._ends.clear()

    def holding(self, position: int) -> Extent | None:
        """The extent of the set that ``position`` lies in, or None."""
        index = bisect_right(self._starts, position) - 1
        if index >= 0 and position < self._ends[index]:
            return Extent(self._starts[index], self._ends[index])
        return None

    def covers(self, start: int, end: int) -> bool:
        """Whether every byte of ``[start, end)`` is in the set (an empty extent always is)."""
        if start >= end:
            return True
        found = self.holding(start)
        return found is not None and found.end >= end

    def missing(self, start: int, end: int) -> list[Extent]:
        """The parts of ``[start, end)`` that are not in the set, in order."""
        gaps: list[Extent] = []
        position = start
        for low, high in self.within(start, end):
            if position < low:
                gaps.append(Extent(position, low))
            position = high
        if position < end:
            gaps.append(Extent(position, end))
        return gaps

    def within(self, start: int, end: int) -> list[Extent]:
        """The parts of the set that lie in ``[start, end)``, clipped to it, in order."""
        if start >= end:
            return []
        first = bisect_right(self._ends, start)
        last = bisect_left(self._starts, end)
        return [
            Extent(max(start, self._starts[i]), min(end, self._ends[i])) for i in range(first, last)
        ]

    @property
    def total_bytes(self) -> int:
        """How many bytes are in the set."""
        return sum(self._ends) - sum(self._starts)

    def __iter__(self) -> Iterator[Extent]:
        return iter([Extent(s, e) for s, e in zip(self._starts, self._ends, strict=True)])

    def __len__(self) -> int:
        return len(self._starts)

    def __bool__(self) -> bool:
        return bool(self._starts)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ExtentSet):
            return NotImplemented
        return self._starts == other._starts and self._ends == other._ends

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"ExtentSet([{', '.join(map(str, self))}])"
