"""Rounding a queue out to blocks, over the same memory."""

from __future__ import annotations

import pytest

from netcache._core.extent import Extent
from netcache._netfs.buffer_queue import BufferQueue
from netcache._netfs.queue_rounding import rounded_out
from tests.support.bytemodel import pattern
from tests.support.queues import CountedArena

B = 512


def filled(arena: CountedArena, *runs: tuple[int, int]) -> BufferQueue:
    """A queue with the text of runs."""
    queue = BufferQueue(arena, runs[0][0])
    for start, end in runs:
        queue.allocate(end - start, at=start)
        queue.copy_in(start, pattern(start, end))
    return queue


def test_the_padding_is_the_neighbours_bytes_where_they_are_there() -> None:
    """Nothing is made up inside of what the queue has."""
    arena = CountedArena()
    with filled(arena, (0, 3000)) as queue:
        blocks, made_up = rounded_out(queue, B, 600, 700)
        with blocks:
            assert blocks.runs() == [Extent(512, 1024)]
            assert made_up == []
            assert blocks.tobytes() == pattern(512, 1024)
            # The same memory, not a copy.
            queue.copy_in(520, b"new")
            assert blocks.tobytes(520, 523) == b"new"
    assert arena.alive == 0


def test_the_padding_is_zeros_elsewhere_and_is_told() -> None:
    """At the ends of the queue, and in a gap inside a block."""
    arena = CountedArena()
    with filled(arena, (100, 700), (900, 1100)) as queue:
        blocks, made_up = rounded_out(queue, B)
        with blocks:
            assert blocks.runs() == [Extent(0, 1536)]
            assert made_up == [Extent(0, 100), Extent(700, 900), Extent(1100, 1536)]
            assert blocks.tobytes() == (
                bytes(100) + pattern(100, 700) + bytes(200) + pattern(900, 1100) + bytes(436)
            )
    assert arena.alive == 0


def test_runs_in_different_blocks_stay_apart() -> None:
    """Blocks that nothing is in are not made up."""
    arena = CountedArena()
    with filled(arena, (10, 20), (2000, 2010), (2040, 2050)) as queue:
        blocks, made_up = rounded_out(queue, B)
        with blocks:
            assert blocks.runs() == [Extent(0, 512), Extent(1536, 2560)]
            assert sum(extent.length for extent in made_up) == 512 + 1024 - 30
    assert arena.alive == 0


@pytest.mark.parametrize("block_size", [1, 512, 4096, 65536])
@pytest.mark.parametrize("run", [(0, 1), (0, 65536), (4095, 4097), (70_000, 140_001)])
def test_every_run_and_block_size(block_size: int, run: tuple[int, int]) -> None:
    """Whole blocks, the exact bytes inside, zeros outside, at no memory for the zeros."""
    arena = CountedArena()
    start, end = run
    with filled(arena, run) as queue:
        before = arena.memory_allocations
        blocks, made_up = rounded_out(queue, block_size)
        assert arena.memory_allocations == before
        with blocks:
            low, high = start // block_size * block_size, -(-end // block_size) * block_size
            assert (blocks.start, blocks.end) == (low, high)
            assert blocks.tobytes() == bytes(start - low) + pattern(start, end) + bytes(high - end)
            assert sum(e.length for e in made_up) == (high - low) - (end - start)
    assert arena.alive == 0


def test_nothing_rounded_out_is_nothing() -> None:
    """An empty queue, and a range in a gap."""
    arena = CountedArena()
    with filled(arena, (0, 10), (5000, 5010)) as queue:
        blocks, made_up = rounded_out(queue, B, 100, 200)
        with blocks:
            assert (blocks.runs(), made_up) == ([], [])
    assert arena.alive == 0


def test_the_blocks_outlive_what_they_were_made_from() -> None:
    """Upload and cache write end in any order."""
    arena = CountedArena()
    queue = filled(arena, (100, 700))
    blocks, _ = rounded_out(queue, B)
    queue.close()
    assert blocks.tobytes(100, 700) == pattern(100, 700)
    blocks.close()
    assert arena.alive == 0
