"""What to fetch for a read: which gaps, rounded to blocks, joined, stretched by readahead.

Pure: from what is known to be there, what is on its way and what is wanted, to extents to ask
the server for.  Rules: only blocks that the read touches, plus readahead after a sequential
read; adjoining missing blocks are one extent; what is on its way is not asked for again.
"""

from __future__ import annotations

from netcache._core.extent import Extent, ExtentSet, round_down, round_up

COMES_WHOLE_BYTES = 64 << 10
"""A file that is no larger comes with the head of its reply, as a rule."""

FIRST_BYTES = 32 << 20
"""How much of an unknown resource is asked for at first: its answer tells how far away the server
is, and the rest then comes in as many exchanges as that is worth."""

CUT_BYTES_MIN = 8 << 20
CUT_BYTES_MAX = 32 << 20
LATENCY_WORTH_CUTTING_S = 0.005
"""Below this an answer comes at once: a server next door."""


def wanted_blocks(start: int, end: int, size: int | None, block_size: int) -> Extent:
    """``[start, end)`` rounded out to blocks; its end is clipped to ``size`` where known."""
    low, high = round_down(start, block_size), round_up(end, block_size)
    if size is not None:
        if start >= size:
            return Extent(size, size)
        high = min(high, size)
    return Extent(low, high)


def first_part(want: Extent) -> Extent:
    """What of ``want`` to ask for with the open of an unknown resource: not all at once.

    An end of -1 is that of the resource.
    """
    most = want.start + FIRST_BYTES
    return want if 0 <= want.end <= most else Extent(want.start, most)


def whole_blocks(length: int, block_size: int) -> int:
    """``length`` rounded down to blocks, but no less than one."""
    return max(block_size, round_down(length, block_size))


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


NEVER = 1 << 62
"""A position that no read reaches."""
FIRST_WINDOW_BLOCKS = 4


class Readahead:
    """A growing window behind sequential reads; one for each open file.

    A read is sequential when it starts where the one before ended; the first read of a file is
    not, so scattered reads fetch nothing extra.  The first sequential read asks for a window of
    four blocks behind it, or of its own length.  A sequential read that comes past the half-way
    mark of the window doubles it (again and again, when it is longer than half of it), up to
    ``largest``, and asks for what lies up to a whole window ahead: the next part is on its way
    while the last one is used.
    Any other read begins anew.

    Reads that the cache serves are not told, unless they pass ``mark``, the half-way mark: they
    do not shrink the window.
    """

    __slots__ = ("_ahead", "_block_size", "_largest", "mark", "window")

    def __init__(self, largest: int, block_size: int = 4096) -> None:
        self.window = 0
        self.mark = NEVER
        self._largest = largest
        self._block_size = block_size
        self._ahead = 0

    def stretch(self, start: int, end: int, last_end: int, *, led: bool = False) -> int:
        """The end that should be there or on its way after a read of ``[start, end)``.

        ``last_end`` is where the read before it ended (-1: there was none).  ``led``: somebody
        else brought what lies before, however far that is.  A whole number of blocks, or ``end``;
        the caller clips it to the size.
        """
        if start != last_end or not self._largest or not (led or self._goes_on(start)):
            self.window, self._ahead, self.mark = 0, end, end if self._largest else NEVER
            return end
        if end > self.mark or not self.window:
            self._grow(end - start)
            ahead = round_up(end, self._block_size) + round_down(self.window, self._block_size)
            self._ahead = max(self._ahead, ahead)
            self.mark = self._ahead - self.window // 2
        return max(end, self._ahead)

    def _goes_on(self, start: int) -> bool:
        """Whether a read at ``start`` belongs to the run that the window is of.

        Cached reads that nobody told of may have led elsewhere, or a little past the window.
        """
        slack = self.window + self._block_size
        return self._ahead - slack <= start <= self._ahead + slack

    def _grow(self, length: int) -> None:
        if not self.window:
            window, least = FIRST_WINDOW_BLOCKS * self._block_size, length
        else:
            window, least = 2 * self.window, 2 * length
        while window < least:
            window *= 2
        self.window = min(window, self._largest)
