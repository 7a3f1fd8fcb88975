"""What is fetched for a read."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from netcache._core.extent import Extent, ExtentSet
from netcache._core.readplan import Readahead, gaps_to_fetch, wanted_blocks

POSITIONS = st.integers(0, 64)


def test_wanted_blocks_are_whole_blocks() -> None:
    """A read is rounded out to blocks on both sides."""
    assert wanted_blocks(5000, 9000, None, 4096) == (4096, 12288)


def test_wanted_blocks_end_with_the_resource() -> None:
    """Nothing past the end is ever asked for."""
    assert wanted_blocks(5000, 9000, 8500, 4096) == (4096, 8500)
    assert wanted_blocks(9000, 9500, 8500, 4096).length == 0


def test_gaps_leave_out_what_is_present_and_what_is_coming() -> None:
    """Each byte is asked for once."""
    gaps = gaps_to_fetch(Extent(0, 100), ExtentSet([(10, 20)]), ExtentSet([(40, 60)]))
    assert gaps == [(0, 10), (20, 40), (60, 100)]


@given(st.lists(st.tuples(POSITIONS, POSITIONS)), st.lists(st.tuples(POSITIONS, POSITIONS)))
def test_gaps_present_and_coming_cover_the_read_exactly(
    present: list[tuple[int, int]], coming: list[tuple[int, int]]
) -> None:
    """What is asked for is exactly what nobody has and nobody brings."""
    have, way = ExtentSet(present), ExtentSet(coming)
    gaps = gaps_to_fetch(Extent(3, 50), have, way)
    asked = {byte for gap in gaps for byte in range(*gap)}
    known = {byte for extent in [*have, *way] for byte in range(*extent)}
    assert asked == set(range(3, 50)) - known
    assert all(left.end < right.start for left, right in itertools.pairwise(gaps))


def test_scattered_reads_want_nothing_extra() -> None:
    """U-RA2: a read that does not go on where the last one ended is not stretched."""
    readahead = Readahead(1000)
    assert readahead.stretch(0, 100, -1) == 100
    assert readahead.stretch(500, 600, 100) == 600
    assert readahead.stretch(200, 300, 600) == 300


def test_sequential_reads_ask_in_large_steps() -> None:
    """A window is asked for when less than half of one lies ahead, and not before."""
    readahead = Readahead(1000)
    assert readahead.stretch(0, 100, -1) == 100
    assert readahead.stretch(100, 200, 100) == 1200
    assert [readahead.stretch(at, at + 100, at) for at in range(200, 700, 100)] == [1200] * 5
    assert readahead.stretch(700, 800, 700) == 1800


def test_a_window_of_nothing_never_stretches() -> None:
    """``readahead=0`` fetches only what is read."""
    readahead = Readahead(0)
    assert readahead.stretch(0, 100, -1) == 100
    assert readahead.stretch(100, 200, 100) == 200
