"""Which part of a large object goes, when less than all of it has to.  Pure.

A large object is seen as sixty-four regions of the same length.  Its record has a bit for each that
was read since part of it went last.  What was not read goes first, from the end on, for the
beginning of a file is what most readers want; then what was read, from the end on too.
"""

from __future__ import annotations

from collections.abc import Sequence

from netcache._core.extent import Extent, round_up

REGIONS = 64

PART_BYTES_MIN = 8 << 20
"""An object that takes no more goes as a whole."""

LARGE_BYTES_MIN, LARGE_PART = 1 << 20, 4
"""But one of more than this goes in parts where it is so large a part of what is held."""

STEPS = 8
"""At least this part of an object goes at a time."""


def in_parts(charge: int, held: int, wanted: int) -> bool:
    """Whether only a part of an object goes, of those that are held, for ``wanted`` bytes."""
    large = charge > PART_BYTES_MIN or (charge > LARGE_BYTES_MIN and charge * LARGE_PART >= held)
    return large and wanted * 2 <= charge


def region_bits(start: int, end: int, size: int, block: int) -> int:
    """The regions of an object of ``size`` bytes that ``[start, end)`` meets."""
    if size <= 0 or start >= end:
        return 0
    length = _region_length(size, block)
    first, last = start // length, min((end - 1) // length, REGIONS - 1)
    return (1 << last + 1) - (1 << first) if first <= last else 0


def part_to_go(
    cached: Sequence[Extent], size: int, block: int, regions: int, wanted: int
) -> list[Extent]:
    """Whole regions of what is ``cached``, until ``wanted`` bytes go or nothing is left.

    Sorted, disjoint, and not touching each other.
    """
    length = _region_length(size, block)
    goes: list[Extent] = []
    gone = 0
    # Sorted by whether they were read, each from the end on.
    for number in sorted(range(REGIONS), key=lambda number: (regions >> number & 1, -number)):
        if gone >= wanted:
            break
        low, high = number * length, (number + 1) * length
        here = [part for one in cached if (part := one.clip(low, high)).length]
        goes += here
        gone += sum(part.length for part in here)
    return _joined(sorted(goes))


def _region_length(size: int, block: int) -> int:
    return max(block, round_up(-(-size // REGIONS), block))


def _joined(extents: list[Extent]) -> list[Extent]:
    joined: list[Extent] = []
    for extent in extents:
        if joined and joined[-1].end == extent.start:
            joined[-1] = Extent(joined[-1].start, extent.end)
        else:
            joined.append(extent)
    return joined
