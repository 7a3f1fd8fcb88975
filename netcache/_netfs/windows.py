"""What a reader may read without asking anybody: extents that are present and proven.

Where readers jump about in what is proven piece by piece, one window would move with every read.
``Windows`` are all of them, as one value: readers look into it without a lock, and whoever finds
one more replaces it as a whole.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right

Window = tuple[int, int, int]
"""The descriptor, start and end of one present extent; or of none."""

NO_EXTENT = (0, -1)
"""Holds no read, not even an empty one."""

NO_WINDOW: Window = (-1, *NO_EXTENT)

FRAGMENTS_MAX = 8192
"""So many windows are remembered: one more costs a copy of them all."""


class Windows:
    """Disjoint extents of the file behind one descriptor.  Never changed: see ``joined``."""

    __slots__ = ("_descriptor", "_ends", "_starts")

    def __init__(
        self, descriptor: int = -1, starts: list[int] | None = None, ends: list[int] | None = None
    ) -> None:
        self._descriptor = descriptor
        self._starts = starts or []
        self._ends = ends or []

    def find(self, start: int, end: int) -> int:
        """The descriptor to read ``[start, end)`` (not empty) from, or -1.  O(log n)."""
        index = bisect_right(self._starts, start) - 1
        return self._descriptor if index >= 0 and end <= self._ends[index] else -1

    def joined(self, descriptor: int, start: int, end: int) -> Windows:
        """These and one more.  Another descriptor begins anew, and so do too many of them."""
        if start >= end:
            return self
        if descriptor != self._descriptor or len(self._starts) >= FRAGMENTS_MAX:
            return Windows(descriptor, [start], [end])
        first = bisect_left(self._ends, start)
        last = bisect_right(self._starts, end)
        if first < last:
            start = min(start, self._starts[first])
            end = max(end, self._ends[last - 1])
        starts, ends = self._starts.copy(), self._ends.copy()
        starts[first:last], ends[first:last] = [start], [end]
        return Windows(descriptor, starts, ends)


NO_WINDOWS = Windows()
