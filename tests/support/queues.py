"""Arenas for tests of buffer queues: they say what is alive, and fail where they are told to."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterable, Iterator

import pytest

from netcache._core.stats import Stats
from netcache._netfs.buffer_queue import BufferQueue
from netcache._netfs.queue_position import Position
from netcache._netfs.segment_array import Arena, Disposal, SegmentArray
from tests.support.bytemodel import pattern


class CountedArena(Arena):
    """An arena whose n-th allocation (from 1) raises ``MemoryError``; 0 for none."""

    __slots__ = ("allocations", "fail_at", "maps", "memory_allocations", "stats")

    def __init__(self, fail_at: int = 0) -> None:
        self.stats = Stats()
        super().__init__(self.stats)
        self.fail_at = fail_at
        self.allocations = 0
        self.memory_allocations = 0
        self.maps: list[mmap.mmap] = []

    @property
    def alive(self) -> int:
        """How many segment arrays are alive."""
        return self.stats.value("Objs", "bq")

    def allocate(self) -> None:
        """One more allocation, or the failure."""
        self.allocations += 1
        if self.allocations == self.fail_at:
            raise MemoryError(f"allocation {self.allocations}, as ordered")

    def array(
        self, start: int, slots: int, disposal: Disposal, *, after_gap: bool = False
    ) -> SegmentArray:
        """A new array, or the failure."""
        self.allocate()
        array = CountedArray(self, start, slots, disposal, after_gap)
        self.count(1)
        return array

    def memory(self, length: int) -> mmap.mmap | bytearray:
        """New memory, or the failure."""
        self.allocate()
        self.memory_allocations += 1
        memory = super().memory(length)
        if isinstance(memory, mmap.mmap):
            self.maps.append(memory)
        return memory


class CountedArray(SegmentArray):
    """An array whose views and lists count as allocations of its arena."""

    __slots__ = ()

    @property
    def arena(self) -> CountedArena:
        """The arena, which this one always has."""
        assert isinstance(self._arena, CountedArena)
        return self._arena

    def take(self, views: Iterable[memoryview], then: Callable[[], object] | None) -> None:
        """Grow the list of slots."""
        self.arena.allocate()
        super().take(views, then)

    def cut(self, length: int) -> None:
        """Make a list of slots."""
        self.arena.allocate()
        super().cut(length)

    def parts(self, low: int, high: int) -> list[memoryview]:
        """Make views."""
        self.arena.allocate()
        return super().parts(low, high)

    def _lend(self, view: memoryview, low: int, high: int) -> memoryview:
        self.arena.allocate()
        return super()._lend(view, low, high)


class CountedPosition(Position):
    """A position that counts as an allocation of the array's arena."""

    __slots__ = ()

    def __init__(self, array: SegmentArray, slot: int = 0, offset: int = 0) -> None:
        assert isinstance(array, CountedArray)
        array.arena.allocate()
        super().__init__(array, slot, offset)

    def copy(self) -> Position:
        """Another of the same kind."""
        return CountedPosition(self.array, self.slot, self.offset)


def resizable(buffer: bytearray) -> bool:
    """Whether nothing looks at the buffer any more."""
    try:
        buffer.append(0)
        buffer.pop()
    except BufferError:
        return False
    return True


@pytest.fixture
def arena() -> Iterator[CountedArena]:
    """An arena of which nothing may be alive in the end."""
    arena = CountedArena()
    yield arena
    assert arena.alive == 0


def filled(arena: CountedArena, *runs: tuple[int, int], streams: int = 0) -> BufferQueue:
    """A queue with the text of runs in allocated memory."""
    queue = BufferQueue(arena, runs[0][0], streams=streams)
    for start, end in runs:
        queue.allocate(end - start, at=start)
        queue.copy_in(start, pattern(start, end))
    return queue
