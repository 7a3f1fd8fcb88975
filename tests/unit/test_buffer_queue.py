"""Buffer queues: filling, looking, searching, slicing, shortening."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable

import pytest

from netcache._core.extent import Extent
from netcache._netfs.buffer_queue import BufferQueue
from netcache._netfs.segment_array import Disposal
from tests.support.bytemodel import pattern
from tests.support.queues import CountedArena, filled, resizable


def test_an_empty_queue_is_where_it_was_told_to_begin(arena: CountedArena) -> None:
    """No runs, no length, no memory."""
    with BufferQueue(arena, 100) as queue:
        assert (queue.start, queue.end, queue.length, queue.runs()) == (100, 100, 0, [])
        assert queue.buffers(100, 100) == []
        assert queue.tobytes() == b""


def test_allocated_memory_is_zeros_and_keeps_what_is_copied_in(arena: CountedArena) -> None:
    """Expansion joins on; bytes go in and out across segments."""
    with BufferQueue(arena, 10) as queue:
        queue.allocate(100)
        queue.allocate(10_000)
        assert queue.runs() == [Extent(10, 10_110)]
        assert queue.tobytes() == bytes(10_100)
        queue.copy_in(90, pattern(90, 900))
        target = bytearray(30)
        queue.copy_out(100, target)
        assert target == pattern(100, 130)
        assert queue.tobytes(80, 910) == bytes(10) + pattern(90, 900) + bytes(10)


def test_many_segments_come_in_one_call_and_one_piece_of_memory(arena: CountedArena) -> None:
    """``segment_bytes`` cuts one allocation into segments; the last may be shorter."""
    with BufferQueue(arena) as queue:
        queue.allocate(10 * 4096 + 5, segment_bytes=4096)
        assert [len(view) for view in queue.buffers(0, queue.end)] == [4096] * 10 + [5]
        assert arena.memory_allocations == 1


def test_a_segment_may_be_of_any_length(arena: CountedArena) -> None:
    """No object for each page: 64 MiB are one view."""
    with BufferQueue(arena) as queue:
        queue.allocate(64 << 20)
        assert [len(view) for view in queue.buffers(0, 64 << 20)] == [64 << 20]


def test_gaps_end_arrays_and_are_no_part_of_the_length(arena: CountedArena) -> None:
    """``runs`` tells what is there; what wants whole ranges refuses a gap."""
    with filled(arena, (0, 100), (100, 150), (200, 250)) as queue:
        assert queue.runs() == [Extent(0, 150), Extent(200, 250)]
        assert queue.runs(120, 210) == [Extent(120, 150), Extent(200, 210)]
        assert queue.runs(150, 200) == []
        assert queue.length == 200
        for start, end in [(140, 160), (140, 210), (160, 170), (190, 210), (240, 260)]:
            with pytest.raises(ValueError, match="nothing at"):
                queue.buffers(start, end)
        assert queue.tobytes(200, 250) == pattern(200, 250)
        first = queue._collect.array
        assert first.next is not None
        assert [first.after_gap, first.next.after_gap] == [False, True]


def test_memory_cannot_be_put_where_some_is(arena: CountedArena) -> None:
    """Positions ascend; a refused append changes nothing and leaves the view its owner's."""
    data = bytearray(10)
    with filled(arena, (50, 100)) as queue:
        view = memoryview(data)
        with pytest.raises(ValueError, match="up to 100"):
            queue.append([view], Disposal.PINNED, at=99)
        assert queue.runs() == [Extent(50, 100)]
        assert len(view) == 10
        view.release()
    assert resizable(data)
    with BufferQueue(arena, 50) as queue, pytest.raises(ValueError, match="up to 50"):
        queue.allocate(5, at=49)


def test_a_segment_is_a_view_of_single_bytes(arena: CountedArena) -> None:
    """Another shape would make lengths lie."""
    with BufferQueue(arena) as queue, pytest.raises(ValueError, match="single bytes"):
        queue.append([memoryview(bytes(8)).cast("I")], Disposal.EXTERNAL)


def test_a_slice_shares_memory_and_outlives_the_queue(arena: CountedArena) -> None:
    """Writing to one is seen in the other; closing one leaves the other its bytes."""
    queue = filled(arena, (0, 1000), (2000, 3000))
    part = queue.slice(900, 2100)
    assert part.runs() == [Extent(900, 1000), Extent(2000, 2100)]
    assert part.tobytes(900, 1000) == pattern(900, 1000)
    queue.copy_in(950, b"new")
    part.copy_in(2050, b"old")
    assert part.tobytes(950, 953) == b"new"
    assert queue.tobytes(2050, 2053) == b"old"
    queue.close()
    again = part.slice(2000, 2060)
    part.close()
    assert again.tobytes(2050, 2053) == b"old"
    again.close()


def test_a_slice_of_nothing_is_empty(arena: CountedArena) -> None:
    """Of a gap, behind the end, in front of the start."""
    with filled(arena, (100, 200), (300, 400)) as queue:
        for start, end in [(210, 290), (400, 500), (0, 100), (150, 150)]:
            with queue.slice(start, end) as part:
                assert (part.start, part.runs()) == (start, [])


def test_parts_of_several_queues_are_glued_together(arena: CountedArena) -> None:
    """A queue may lend to another, between memory of its own."""
    with filled(arena, (10, 20)) as queue, BufferQueue(arena) as whole:
        whole.allocate(10)
        queue.lend(10, 20, whole)
        whole.allocate(10)
        assert whole.tobytes() == bytes(10) + pattern(10, 20) + bytes(10)
        with pytest.raises(ValueError, match="up to 30"):
            queue.lend(10, 20, whole)


def test_a_closed_queue_says_so(arena: CountedArena) -> None:
    """``close`` is idempotent; everything else is an error."""
    queue = filled(arena, (0, 10))
    queue.close()
    queue.close()
    uses: list[Callable[[], object]] = [
        lambda: queue.start,
        lambda: queue.end,
        lambda: queue.runs(),
        lambda: queue.allocate(1),
        lambda: queue.buffers(0, 1),
        lambda: queue.slice(0, 1),
        lambda: queue.shorten(0),
        lambda: queue.collect_to(0),
        lambda: queue.tobytes(),
    ]
    for use in uses:
        with pytest.raises(ValueError, match="closed"):
            use()


def test_a_digest_and_chunks_are_of_the_bytes(arena: CountedArena) -> None:
    """Chunks are at most as long as asked; their bytes are the queue's, in order."""
    with filled(arena, (0, 5000), (5000, 9000)) as queue:
        hasher = hashlib.sha256()
        queue.update(hasher, 10, 8000)
        assert hasher.digest() == hashlib.sha256(pattern(10, 8000)).digest()
        chunks = list(queue.chunks(10, 8000, limit=1024))
        assert b"".join(chunks) == pattern(10, 8000)
        assert max(map(len, chunks)) == 1024
        whole = hashlib.sha256()
        queue.update(whole)
        assert whole.digest() == hashlib.sha256(pattern(0, 9000)).digest()


def test_clearing_zeros_what_is_there_and_nothing_else(arena: CountedArena) -> None:
    """Over a gap, too."""
    with filled(arena, (0, 200_000), (300_000, 300_100)) as queue:
        queue.clear(10, 300_050)
        assert queue.tobytes(0, 200_000) == pattern(0, 10) + bytes(199_990)
        assert queue.tobytes(300_000, 300_100) == bytes(50) + pattern(300_050, 300_100)
        queue.clear()
        assert not any(queue.tobytes(300_000, 300_100))


def test_read_only_memory_is_not_written_to(arena: CountedArena) -> None:
    """``TypeError``, before anything has been written, also where only the end is read-only."""
    with filled(arena, (0, 10)) as queue:
        queue.append([memoryview(b"constant")], Disposal.PINNED)
        queue.append_zeros(10, at=30)
        writes: list[Callable[[], object]] = [
            lambda: queue.copy_in(5, bytes(10)),
            lambda: queue.clear(5, 15),
            lambda: queue.clear(0, 31),
        ]
        for write in writes:
            with pytest.raises(TypeError, match="read-only"):
                write()
        assert queue.tobytes(0, 18) == pattern(0, 10) + b"constant"


def test_shortening_cuts_segments_arrays_and_runs(arena: CountedArena) -> None:
    """What was cut off can be put there anew."""
    with filled(arena, (0, 100), (100, 200), (300, 400)) as queue:
        queue.shorten(1000)
        queue.shorten(350)
        assert queue.runs() == [Extent(0, 200), Extent(300, 350)]
        queue.shorten(300)
        assert queue.end == 200
        queue.shorten(150)
        assert queue.tobytes() == pattern(0, 150)
        queue.allocate(10)
        queue.copy_in(150, pattern(150, 160))
        assert queue.tobytes() == pattern(0, 160)
        queue.shorten(0)
        assert queue.runs() == []
        queue.allocate(10, at=5)
        assert queue.runs() == [Extent(5, 15)]


def test_what_is_cut_off_is_let_go_unless_a_slice_holds_it(arena: CountedArena) -> None:
    """A caller's buffer is free as soon as nothing looks at it."""
    first, second = bytearray(100), bytearray(100)
    with BufferQueue(arena) as queue:
        queue.append([memoryview(first)], Disposal.PINNED)
        queue.append([memoryview(second)], Disposal.PINNED, at=200)
        part = queue.slice(250, 260)
        queue.shorten(50)
        assert not resizable(first)
        assert not resizable(second)
        part.close()
        assert resizable(second)
    assert resizable(first)


def test_a_search_may_begin_anywhere(arena: CountedArena) -> None:
    """Where the last one ended is only a hint: backwards, after cutting off or collecting."""
    rng = random.Random(5)
    with BufferQueue(arena) as queue:
        end = 0
        for _ in range(300):
            for _ in range(5):
                queue.append([memoryview(pattern(end, end + 1))], Disposal.PINNED, at=2 * end)
                end += 1
            n = rng.randrange(queue.start // 2, end)
            with queue.slice(2 * n, 2 * n + 1):
                assert queue.tobytes(2 * n, 2 * n + 1) == pattern(n, n + 1)
                if rng.random() < 0.3:
                    end = rng.randrange(queue.start // 2 + 1, end + 1)
                    queue.shorten(2 * end - 1)
                if rng.random() < 0.3:
                    queue.collect_to(2 * rng.randrange(queue.start // 2, end))


def test_what_was_cut_off_is_not_searched_from(arena: CountedArena) -> None:
    """An array that a search ended in, and other memory at its place afterwards."""
    with filled(arena, (0, 10), (20, 30)) as queue:
        assert queue.runs(25, 30) == [Extent(25, 30)]
        queue.shorten(10)
        queue.allocate(50)
        assert queue.runs(25, 30) == [Extent(25, 30)]
