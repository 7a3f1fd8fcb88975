"""Positions in a chain of segment arrays: array, slot, offset.

A position holds a reference on the array that it is in, and through it on the rest of the chain.
It is moved by its methods only.  At the end of an array that has a next one it counts as at the
start of that one, and goes there when it is next moved.

Not thread-safe: the queue moves its positions under its lock.
"""

from __future__ import annotations

from netcache._netfs.segment_array import SegmentArray


class Position:
    """A place between two bytes of a chain; ``release`` it when it is done with."""

    __slots__ = ("array", "offset", "slot")

    def __init__(self, array: SegmentArray, slot: int = 0, offset: int = 0) -> None:
        self.array = array.hold()
        self.slot = slot
        self.offset = offset

    @property
    def in_array(self) -> int:
        """How many bytes of the array lie before."""
        return self.array.slot_start(self.slot) + self.offset

    @property
    def file_position(self) -> int:
        """The file position of the byte behind."""
        if self.array.next is not None and self.in_array == self.array.length:
            return self.array.next.start
        return self.array.start + self.in_array

    def settle(self) -> None:
        """Leave an array that is used up for the next one, where there is one."""
        while self.array.next is not None and self.in_array == self.array.length:
            self._enter(self.array.next)

    def _enter(self, array: SegmentArray) -> None:
        left, self.array = self.array, array.hold()
        self.slot = self.offset = 0
        left.drop()

    def advance(self, count: int) -> None:
        """Go ``count`` bytes of data on, over gaps; ``ValueError`` where the chain ends first."""
        self.settle()
        while count > (rest := self.array.length - self.in_array):
            if self.array.next is None:
                raise ValueError(f"a position was moved {count - rest} bytes past the data")
            count -= rest
            self._enter(self.array.next)
        self.slot, self.offset = self.array.find(self.in_array + count)
        self.settle()

    def advance_to(self, file_position: int) -> None:
        """Go on to a file position; in a gap, to the byte behind the gap.

        ``ValueError`` for one that lies before this, or past the data.
        """
        if file_position < self.array.start + self.in_array:
            raise ValueError(f"a position was moved back to {file_position}")
        while file_position >= self.array.end and self.array.next is not None:
            self._enter(self.array.next)
        offset = max(file_position - self.array.start, self.in_array)
        if offset > self.array.length:
            raise ValueError(f"a position was moved past the data, to {file_position}")
        self.slot, self.offset = self.array.find(offset)
        self.settle()

    def to_end(self) -> None:
        """Go behind the last byte of the chain."""
        while self.array.next is not None:
            self._enter(self.array.next)
        self.slot, self.offset = self.array.used, 0

    def compare(self, other: Position) -> int:
        """-1, 0 or 1: this is before, at or behind the other position of the same chain."""
        mine, theirs = self.file_position, other.file_position
        return (mine > theirs) - (mine < theirs)

    def copy(self) -> Position:
        """Another position at the same place, with a reference of its own."""
        return Position(self.array, self.slot, self.offset)

    def release(self) -> None:
        """Drop the reference."""
        self.array.drop()
