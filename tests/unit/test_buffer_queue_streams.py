"""Buffer queues: streams take parts from the front, and what all have taken is let go."""

from __future__ import annotations

import pytest

from netcache._core.extent import Extent
from netcache._netfs.buffer_queue import BufferQueue
from netcache._netfs.segment_array import ARRAY_BYTES, Disposal
from tests.support.bytemodel import pattern
from tests.support.queues import CountedArena, filled, resizable


def test_streams_take_their_parts_independently(arena: CountedArena) -> None:
    """Parts are contiguous, bounded, and each stream sees all of them in order."""
    with filled(arena, (0, 100), (100, 150), (200, 250), streams=2) as queue:
        found: list[list[Extent]] = [[], []]
        for stream, length in ((0, 60), (1, 1000)):
            while (part := queue.take(stream, length)) is not None:
                with part:
                    found[stream] += part.runs()
                    assert part.tobytes() == pattern(part.start, part.end)
        assert found[0] == [Extent(0, 60), Extent(60, 120), Extent(120, 150), Extent(200, 250)]
        assert found[1] == [Extent(0, 150), Extent(200, 250)]
        assert queue.dispatched(0) == queue.dispatched(1) == 250
        with pytest.raises(ValueError, match="empty"):
            queue.take(0, 0)


def test_a_part_has_at_most_so_many_segments(arena: CountedArena) -> None:
    """For backends with a limit on them, across arrays."""
    with BufferQueue(arena, slots=3, streams=1) as queue:
        for _ in range(4):
            queue.allocate(30, segment_bytes=10)
        lengths = []
        while (part := queue.take(0, 1000, segments=4)) is not None:
            with part:
                lengths.append(part.length)
        assert lengths == [40, 40, 40]
        queue.allocate(15, segment_bytes=10)
        part = queue.take(0, 13, segments=2)
        assert part is not None
        with part:
            assert [len(view) for view in part.buffers(120, 133)] == [10, 3]


def test_an_idle_stream_is_jumped_forward(arena: CountedArena) -> None:
    """It never holds up collection; it does not go back, nor past the data."""
    with filled(arena, (0, 100), (200, 300), streams=2) as queue:
        queue.dispatch_to(0, 250)
        with pytest.raises(ValueError, match="not dispatched"):
            queue.collect_to(50)
        queue.dispatch_to(1, 150)
        assert queue.dispatched(1) == 200
        queue.dispatch_to(1, 120)
        assert queue.dispatched(1) == 200
        queue.collect_to(150)
        assert queue.start == 200
        with pytest.raises(ValueError, match="past the data"):
            queue.dispatch_to(0, 301)
        with pytest.raises(ValueError, match="dispatched past"):
            queue.shorten(240)


def test_collected_arrays_are_let_go_from_the_front(arena: CountedArena) -> None:
    """A rolling buffer: what is behind the collect cursor is freed, and cannot be looked at."""
    buffers = [bytearray(100) for _ in range(4)]
    with BufferQueue(arena, slots=1) as queue:
        for buffer in buffers:
            queue.append([memoryview(buffer)], Disposal.PINNED)
        queue.collect_to(250)
        assert [resizable(buffer) for buffer in buffers] == [True, True, False, False]
        assert (queue.start, queue.end) == (250, 400)
        with pytest.raises(ValueError, match="nothing at 240"):
            queue.buffers(240, 260)
        queue.collect_to(400)
        assert queue.runs() == []
        queue.allocate(10)
        assert all(resizable(buffer) for buffer in buffers)
        assert queue.runs() == [Extent(400, 410)]
        assert arena.alive == 1


def test_an_array_does_not_grow_beyond_what_is_let_go_at_a_time(arena: CountedArena) -> None:
    """However few slots are in use."""
    with BufferQueue(arena) as queue:
        for _ in range(4):
            queue.allocate(ARRAY_BYTES // 2)
        assert arena.alive == 2
        queue.collect_to(ARRAY_BYTES)
        assert arena.alive == 1


def test_t6_the_head_has_one_source_of_truth(arena: CountedArena) -> None:
    """T6: after any collecting, ``start``, ``runs`` and what is held agree, and so does a slice."""
    with filled(arena, *((n * 10, n * 10 + 10) for n in range(20)), streams=1) as queue:
        for position in (0, 1, 9, 10, 55, 100, 199, 200):
            queue.dispatch_to(0, position)
            queue.collect_to(position)
            assert queue.start == position
            assert queue.dispatched(0) == position
            runs = queue.runs()
            assert runs == ([Extent(position, 200)] if position < 200 else [])
            with queue.slice(0, 200) as part:
                assert part.runs() == runs
