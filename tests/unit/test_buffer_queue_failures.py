"""T22: every allocation of a buffer queue may fail, and nothing has changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from netcache._core.extent import Extent
from netcache._netfs.buffer_extract import extract
from netcache._netfs.buffer_queue import SINK_BYTES, BufferQueue
from netcache._netfs.queue_io import write_from
from netcache._netfs.queue_rounding import rounded_out
from netcache._netfs.segment_array import Disposal
from tests.support.bytemodel import pattern
from tests.support.queues import CountedArena, CountedPosition, resizable


def everything(arena: CountedArena, buffers: list[bytearray], fd: int) -> None:
    """What a request does with queues, everything closed in the end whatever fails."""
    with extract(arena, list(buffers), 10, streams=1) as queue:
        queue.allocate(100)
        queue.allocate(5000, segment_bytes=1000)
        queue.append_sink(300)
        queue.append_zeros(5000, at=20_000)
        queue.copy_in(queue.start, b"abc")
        while (part := queue.take(0, 2000)) is not None:
            with part, rounded_out(part, 512).queue as blocks:
                write_from(blocks, fd, blocks.start, blocks.end)
                with part.slice(part.start + 1, part.end) as again:
                    again.tobytes()
        with rounded_out(queue, 4096, 15, 9000).queue as blocks:
            blocks.tobytes(0, 4096)
        queue.collect_to(6000)
        queue.allocate(200)
        queue.shorten(queue.end - 100)


def test_t22_every_allocation_may_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """T22: fail the n-th for all n: the error comes through, nothing is left, all is free."""
    monkeypatch.setattr("netcache._netfs.queue_chain.Position", CountedPosition)
    failed = 0
    with open(tmp_path / "file", "w+b") as file:
        while True:
            arena = CountedArena(fail_at=failed + 1)
            buffers = [bytearray(100) for _ in range(10)]
            try:
                everything(arena, buffers, file.fileno())
            except MemoryError:
                failed += 1
                # The frames of the error must not be what keeps views alive.
                assert arena.alive == 0
                assert all(map(resizable, buffers))
                assert all(one.closed for one in arena.maps)
                continue
            break
    assert arena.alive == 0
    assert all(map(resizable, buffers))
    assert failed > 100


CHANGES: dict[str, Callable[[BufferQueue], object]] = {
    "allocate": lambda queue: queue.allocate(50, segment_bytes=10),
    "allocate behind a gap": lambda queue: queue.allocate(50, at=1000),
    "sink": lambda queue: queue.append_sink(SINK_BYTES + 1),
    "zeros": lambda queue: queue.append_zeros(10),
    "slice": lambda queue: queue.slice(5, 150).close(),
    "shorten": lambda queue: queue.shorten(130),
    "collect": lambda queue: queue.collect_to(100),
    "buffers": lambda queue: queue.buffers(5, 195),
    "chunks": lambda queue: list(queue.chunks(limit=30)),
    "clear": lambda queue: queue.clear(110, 195),
    "copy in": lambda queue: queue.copy_in(110, b"abc"),
    "round out": lambda queue: rounded_out(queue, 64).queue.close(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_t22_a_change_that_failed_can_be_made_again(
    change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T22: it has changed nothing; made again it has the effect that it should have had."""
    monkeypatch.setattr("netcache._netfs.queue_chain.Position", CountedPosition)
    plain: list[tuple[list[Extent], int, bytes]] = []
    n = 0
    while True:
        arena = CountedArena()
        first, second = bytearray(pattern(0, 100)), bytearray(pattern(100, 200))
        with BufferQueue(arena, slots=2) as queue:
            for buffer in (first, second):
                queue.append([memoryview(buffer)], Disposal.PINNED)
            before = state(queue)
            arena.fail_at = arena.allocations + n if n else 0
            try:
                CHANGES[change](queue)
            except MemoryError:
                assert state(queue) == before
                CHANGES[change](queue)
                failed = True
            else:
                failed = False
            plain.append(state(queue))
        assert arena.alive == 0
        assert resizable(first)
        assert resizable(second)
        if n and not failed:
            break
        n += 1
    assert n > 1
    assert all(one == plain[0] for one in plain)


def state(queue: BufferQueue) -> tuple[list[Extent], int, bytes]:
    """What can be seen of a queue."""
    runs = queue.runs()
    return runs, queue.start, b"".join(queue.tobytes(*run) for run in runs)
