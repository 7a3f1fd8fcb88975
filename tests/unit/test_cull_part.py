"""Which part of a large object goes: what was not read first, from the end on, in whole regions."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netcache._core.cull_part import REGIONS, in_parts, part_to_go, region_bits
from netcache._core.extent import Extent, ExtentSet, round_up

BLOCK = 4096
SIZE = 64 * 16 * BLOCK
REGION = SIZE // REGIONS
ALL = (1 << REGIONS) - 1
MIB = 1 << 20


@pytest.mark.parametrize(
    ("charge", "held", "wanted", "parts"),
    [
        (100 * MIB, 1 << 40, MIB, True),
        (8 * MIB, 1 << 40, MIB, False),
        (3 * MIB, 12 * MIB, MIB, True),
        (3 * MIB, 13 * MIB, MIB, False),
        (MIB, MIB, 4096, False),
        (100 * MIB, 1 << 40, 50 * MIB, True),
        (100 * MIB, 1 << 40, 51 * MIB, False),
    ],
)
def test_which_objects_go_in_parts(charge: int, held: int, wanted: int, parts: bool) -> None:
    """Large ones, and those that are a large part of the cache; unless most of it is to go."""
    assert in_parts(charge, held, wanted) is parts


def test_what_was_not_read_goes_first_from_the_end_on() -> None:
    """The beginning and the end were read: what lies between goes, backwards."""
    read = region_bits(0, 5 * REGION, SIZE, BLOCK) | region_bits(SIZE - 1, SIZE, SIZE, BLOCK)
    goes = part_to_go([Extent(0, SIZE)], SIZE, BLOCK, read, 8 * REGION)
    assert goes == [Extent(55 * REGION, 63 * REGION)]
    everything = part_to_go([Extent(0, SIZE)], SIZE, BLOCK, read, SIZE - 5 * REGION)
    assert everything == [Extent(5 * REGION, SIZE)], "then what was read, from the end on"


def test_when_all_or_nothing_was_read_the_end_goes() -> None:
    """The beginning is what most readers want."""
    for read in (0, ALL):
        goes = part_to_go([Extent(0, SIZE)], SIZE, BLOCK, read, REGION + 1)
        assert goes == [Extent(SIZE - 2 * REGION, SIZE)]


def test_holes_give_nothing() -> None:
    """Only what is cached counts for what is wanted."""
    cached = [Extent(0, REGION), Extent(60 * REGION, 60 * REGION + 3 * BLOCK)]
    goes = part_to_go(cached, SIZE, BLOCK, 0, 3 * BLOCK)
    assert goes == [Extent(60 * REGION, 60 * REGION + 3 * BLOCK)]
    assert part_to_go(cached, SIZE, BLOCK, 0, 3 * BLOCK + 1) == [cached[0], goes[0]]
    assert part_to_go([], SIZE, BLOCK, 0, 1) == []


@given(st.integers(0, SIZE), st.integers(0, SIZE), st.integers(1, 3 * SIZE))
def test_bits_are_those_of_the_regions_that_are_met(start: int, end: int, size: int) -> None:
    """For files of any size, also those that have become shorter."""
    bits = region_bits(start, end, size, BLOCK)
    length = max(BLOCK, round_up(math.ceil(size / REGIONS), BLOCK))
    for number in range(REGIONS):
        low = number * length
        high = low + length if number < REGIONS - 1 else 1 << 60
        met = start < end and start < high and low < end and start < REGIONS * length
        assert bool(bits >> number & 1) == met


@given(
    st.lists(st.tuples(st.integers(0, 1023), st.integers(1, 64)), max_size=8),
    st.integers(0, ALL),
    st.integers(1, SIZE),
)
def test_what_goes_is_cached_and_enough(
    runs: list[tuple[int, int]], regions: int, wanted: int
) -> None:
    """Whole blocks, in order, and as much as is wanted or all that there is."""
    known = ExtentSet()
    for first, count in runs:
        known.add(first * BLOCK, min(SIZE, (first + count) * BLOCK))
    cached = list(known)
    goes = part_to_go(cached, SIZE, BLOCK, regions, wanted)
    held = sum(one.length for one in cached)
    assert sum(one.length for one in goes) >= min(wanted, held)
    for one in goes:
        assert known.covers(*one)
        assert one.start % BLOCK == one.end % BLOCK == 0
    assert all(one.end < other.start for one, other in itertools.pairwise(goes))
