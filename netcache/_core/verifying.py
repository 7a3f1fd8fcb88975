"""How much of what is cached is compared with its sums, and when.

``none``: nothing but what a reboot left in doubt.  ``open``: each block once while an object is
open, when it is first wanted.  ``read``: at each read.  Pure.
"""

from __future__ import annotations

from enum import Enum

from netcache._core.extent import Extent, round_down, round_up


class Verify(Enum):
    """When blocks are compared with their sums."""

    NONE = "none"
    OPEN = "open"
    READ = "read"


VERIFY_LEVELS = tuple(level.value for level in Verify)

VERIFY_DEFAULT = Verify.OPEN.value
"""By measurement: see ``docs/decisions.md``."""

GROUP_BYTES = 64 * 1024
"""What is compared at once for a scattered read: about what a disk brings in one go."""

STRIDE_BYTES_MAX = 1 << 20
"""The most that is compared ahead of a sequential reader."""


class Stride:
    """How far to compare: the groups that a read touches, more and more for a scan.

    A scan asks for the next bytes again and again; each question costs some microseconds.
    """

    __slots__ = ("_end", "_length")

    def __init__(self) -> None:
        self._end = -1
        self._length = GROUP_BYTES

    def stretch(self, start: int, end: int) -> Extent:
        """The groups to compare for a read of ``[start, end)``."""
        low = round_down(start, GROUP_BYTES)
        going_on = low in (self._end, self._end - GROUP_BYTES)
        self._length = min(self._length * 2, STRIDE_BYTES_MAX) if going_on else GROUP_BYTES
        high = round_up(max(end, low + self._length), GROUP_BYTES)
        self._end = high
        return Extent(low, high)
