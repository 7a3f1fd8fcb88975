"""Arenas for tests of buffer queues: they say what is alive, and fail where they are told to."""

from __future__ import annotations

import mmap

from netcache._core.stats import Stats
from netcache._netfs.segment_array import Arena, Disposal, SegmentArray


class CountedArena(Arena):
    """An arena whose n-th allocation (from 1) raises ``MemoryError``; 0 for none."""

    __slots__ = ("allocations", "fail_at", "memory_allocations", "stats")

    def __init__(self, fail_at: int = 0) -> None:
        self.stats = Stats()
        super().__init__(self.stats)
        self.fail_at = fail_at
        self.allocations = 0
        self.memory_allocations = 0

    @property
    def alive(self) -> int:
        """How many segment arrays are alive."""
        return self.stats.value("Objs", "bq")

    def _allocate(self) -> None:
        self.allocations += 1
        if self.allocations == self.fail_at:
            raise MemoryError(f"allocation {self.allocations}, as ordered")

    def array(
        self, start: int, slots: int, disposal: Disposal, *, after_gap: bool = False
    ) -> SegmentArray:
        """A new array, or the failure."""
        self._allocate()
        return super().array(start, slots, disposal, after_gap=after_gap)

    def memory(self, length: int) -> mmap.mmap | bytearray:
        """New memory, or the failure."""
        self._allocate()
        self.memory_allocations += 1
        return super().memory(length)


def resizable(buffer: bytearray) -> bool:
    """Whether nothing looks at the buffer any more."""
    try:
        buffer.append(0)
        buffer.pop()
    except BufferError:
        return False
    return True
