"""What to do with a write into one block: a table, as in the kernel's netfs library.  Pure.

A *block* is the unit that the cache stores.  A *record* is what is known of a block that is not up
to date: bytes that were written and may be shown, with gaps around them that only the server knows.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from netcache._core.extent import Extent


class Step(Enum):
    """What to do; the first row of the table that fits."""

    OVERWRITE = "the block is up to date: overwrite in place"
    ZERO_AROUND = "at or past the zero point: all around the new bytes is zeros"
    WHOLE = "all of the block is replaced; a record of it is dropped"
    READ_FIRST = "read the rest of the block, then overwrite"
    STREAM = "remember the new bytes alone"
    EXTEND = "the new bytes continue, or overlap, the record"
    SPLIT = "a second record (the kernel, which has room for one, would flush the first)"

    @property
    def reads(self) -> bool:
        """Whether bytes of the server are needed first."""
        return self is Step.READ_FIRST


class BlockState(NamedTuple):
    """A block before a write: whether all of it is known, and the nearest record in it."""

    block: Extent
    uptodate: bool
    record: Extent | None


def decide_write(write: Extent, state: BlockState, *, zero_point: int, cached: bool) -> Step:
    """The step for ``write``, already clipped to the block; ``cached``: a cache is attached."""
    block = state.block
    if state.uptodate:
        return Step.OVERWRITE
    if block.start >= zero_point:
        return Step.ZERO_AROUND
    if write.start <= block.start and min(block.end, zero_point) <= write.end:
        return Step.WHOLE
    if cached:
        return Step.READ_FIRST
    if state.record is None:
        return Step.STREAM
    if write.start <= state.record.end and state.record.start <= write.end:
        return Step.EXTEND
    return Step.SPLIT
