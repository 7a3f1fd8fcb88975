"""What to fetch for a read: which gaps, rounded to blocks, joined, stretched by readahead.

Pure: from what is known to be there, what is on its way and what is wanted, to extents to ask
the server for.  Rules: only blocks that the read touches, plus readahead after a sequential
read; adjoining missing blocks are one extent; what is on its way is not asked for again.
"""

from __future__ import annotations

from netcache._core.extent import Extent, ExtentSet, round_down, round_up

CUT_BYTES_MIN = 8 << 20
CUT_BYTES_MAX = 32 << 20
LATENCY_WORTH_CUTTING_S = 0.002
"""Below this an answer comes at once: a server next door."""


def wanted_blocks(start: int, end: int, size: int | None, block_size: int) -> Extent:
    """``[start, end)`` rounded out to blocks; its end is clipped to ``size`` where known."""
    low, high = round_down(start, block_size), round_up(end, block_size)
    if size is not None:
        if start >= size:
            return Extent(size, size)
        high = min(high, size)
    return Extent(low, high)


def gaps_to_fetch(wanted: Extent, present: ExtentSet, on_their_way: ExtentSet) -> list[Extent]:
    """The parts of ``wanted`` that nobody has and nobody is fetching, in order."""
    gaps: list[Extent] = []
    for hole in present.missing(wanted.start, wanted.end):
        gaps += on_their_way.missing(hole.start, hole.end)
    return gaps


def cut_size(length: int, latency_s: float, parallel: int) -> int:
    """How large the exchanges that bring ``length`` bytes are; ``length`` for one only.

    Several at the same time help where the way is long: each waits for its answer and for the
    window of its connection to open while the others bring bytes.  Where an answer takes no time
    they only cost.
    """
    if latency_s < LATENCY_WORTH_CUTTING_S or length <= CUT_BYTES_MIN:
        return length
    share = -(-length // parallel)
    return max(CUT_BYTES_MIN, min(round_up(share, CUT_BYTES_MIN), CUT_BYTES_MAX))


class Readahead:
    """A fixed window behind sequential reads; one for each open file.

    A read is sequential when it starts where the one before ended; the first read of a file is
    not, so scattered reads fetch nothing extra.  Once less than half of the window lies ahead of
    a sequential reader, the whole window is asked for: a scan asks in large steps.
    """

    __slots__ = ("_ahead", "window")

    def __init__(self, window: int) -> None:
        self.window = window
        self._ahead = 0

    def stretch(self, start: int, end: int, last_end: int) -> int:
        """The end that should be there or on its way after a read of ``[start, end)``.

        ``last_end`` is where the read before it ended (-1: there was none).  At least ``end``; the
        caller clips it to the size.
        """
        if start != last_end:
            self._ahead = end
        elif self._ahead - end < self.window // 2:
            self._ahead = end + self.window
        return max(end, self._ahead)
