"""Buffer queues with their ends rounded out to whole blocks, as cache writes want them."""

from __future__ import annotations

from typing import NamedTuple

from netcache._core.extent import Extent, ExtentSet, round_out
from netcache._netfs.buffer_queue import BufferQueue


class Rounded(NamedTuple):
    """A queue of whole blocks, and which bytes of it are made up: zeros.

    That is right past the end of a resource.  Elsewhere a block with such bytes is not what the
    resource has there, and must not be stored.
    """

    queue: BufferQueue
    made_up: list[Extent]


def rounded_out(
    queue: BufferQueue, block_size: int, start: int | None = None, end: int | None = None
) -> Rounded:
    """The blocks that what is there of ``[start, end)`` lies in, as a queue over the same memory.

    What a block needs besides comes from the queue where that has it, else it is zeros.
    """
    wanted = ExtentSet(round_out(run, block_size) for run in queue.runs(start, end))
    first = next(iter(wanted), None)
    whole = BufferQueue(queue.arena, first.start if first is not None else queue.start)
    made_up: list[Extent] = []

    def pad(low: int, high: int) -> None:
        if low < high:
            whole.append_zeros(high - low, at=low)
            made_up.append(Extent(low, high))

    try:
        for blocks in wanted:
            position = blocks.start
            for run in queue.runs(*blocks):
                pad(position, run.start)
                queue.lend(*run, whole)
                position = run.end
            pad(position, blocks.end)
    except BaseException:
        whole.close()
        raise
    return Rounded(whole, made_up)
