"""What is fetched for a read."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netcache._core.extent import Extent, ExtentSet, round_up
from netcache._core.readplan import NEVER, Readahead, cut_size, gaps_to_fetch, wanted_blocks

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


B = 4096


def scan(readahead: Readahead, start: int, step: int, count: int) -> list[int]:
    """The window after each of ``count`` sequential reads of ``step`` bytes from ``start`` on."""
    windows, last_end = [], start
    for at in range(start, start + count * step, step):
        readahead.stretch(at, at + step, last_end)
        windows.append(readahead.window)
        last_end = at + step
    return windows


def test_ura1_the_window_starts_at_four_blocks_and_doubles() -> None:
    """U-RA1: with each sequential read past the half-way mark, up to the largest."""
    readahead = Readahead(64 * B, B)
    readahead.stretch(0, B, -1)
    windows = scan(readahead, B, B, 200)
    assert windows[0] == 4 * B
    assert sorted(set(windows)) == [4 * B, 8 * B, 16 * B, 32 * B, 64 * B]
    assert windows == sorted(windows)


def test_ura1_nothing_is_asked_for_before_the_half_way_mark() -> None:
    """U-RA1: the same end is wanted until the mark is passed, then a whole window ahead."""
    readahead = Readahead(8 * B, B)
    readahead.stretch(0, B, -1)
    last, ends = B, []
    for at in range(B, 40 * B, B):
        ends.append(readahead.stretch(at, at + B, last) // B)
        last = at + B
    assert ends[:8] == [6, 6, 6, 13, 13, 13, 13, 13]
    assert ends[8:12] == [18, 18, 18, 18]
    assert all(b - a in (0, 5, 7) for a, b in itertools.pairwise(ends))


def test_ura1_long_reads_open_the_window_at_once() -> None:
    """U-RA1: no window is shorter than the read; one that is longer than half of it passes its
    half-way mark again."""
    readahead = Readahead(8 << 20, B)
    readahead.stretch(0, 1 << 20, -1)
    windows = scan(readahead, 1 << 20, 1 << 20, 8)
    assert windows[:2] == [1 << 20, 2 << 20]
    assert windows[-1] == 8 << 20


@pytest.mark.parametrize("largest", [1, 100, B, 3 * B, 5 * B - 1])
def test_ura1_the_largest_window_is_never_exceeded(largest: int) -> None:
    """U-RA1: also where it is no power of two, or less than four blocks."""
    readahead = Readahead(largest, B)
    last = -1
    for at in range(0, 100 * 1000, 1000):
        end = readahead.stretch(at, at + 1000, last)
        assert end <= round_up(at + 1000, B) + largest
        last = at + 1000
    assert readahead.window == largest


def test_ura2_a_seek_resets_the_window_and_issues_nothing_extra() -> None:
    """U-RA2: backwards, forwards, and by one byte."""
    for target in (0, 50 * B, 400 * B, 100 * B + 1, 100 * B - 1):
        readahead = Readahead(64 * B, B)
        readahead.stretch(0, B, -1)
        assert scan(readahead, B, B, 99)[-1] == 64 * B
        assert readahead.stretch(target, target + B, 100 * B) == target + B
        assert readahead.window == 0
        assert scan(readahead, target + B, B, 2)[0] == 4 * B


def test_ura2_scattered_reads_want_nothing_extra() -> None:
    """U-RA2: a read that does not go on where the last one ended is not stretched."""
    readahead = Readahead(1000 * B, B)
    last = -1
    for start in (0, 500, 200, 90_000, 7, 1 << 30):
        assert readahead.stretch(start, start + 100, last) == start + 100
        last = start + 100


def test_ura3_each_open_file_has_its_own() -> None:
    """U-RA3: a reader that seeks does not disturb one that scans."""
    one, other = Readahead(64 * B, B), Readahead(64 * B, B)
    one.stretch(0, B, -1)
    windows = []
    for at in range(B, 60 * B, B):
        one.stretch(at, at + B, at)
        other.stretch(at * 7 % 1000, at * 7 % 1000 + 1, 0)
        windows.append(one.window)
    assert windows[-1] == 64 * B
    assert other.window == 0


def test_ura4_cached_reads_that_nobody_told_of_do_not_shrink_the_window() -> None:
    """U-RA4: a run goes on with its window after reads that the cache served."""
    readahead = Readahead(64 * B, B)
    readahead.stretch(0, B, -1)
    assert scan(readahead, B, B, 99)[-1] == 64 * B
    # Reads up to 120 B were hits below the mark; the next one is told of.
    readahead.stretch(120 * B, 121 * B, 120 * B)
    assert readahead.window == 64 * B


def test_ura4_cached_reads_that_led_elsewhere_begin_anew() -> None:
    """U-RA2, U-RA4: the window belongs to a run, not to whatever is sequential."""
    readahead = Readahead(64 * B, B)
    readahead.stretch(0, B, -1)
    assert scan(readahead, B, B, 99)[-1] == 64 * B
    assert readahead.stretch(5000 * B, 5001 * B, 5000 * B) == 5001 * B
    assert readahead.window == 0


@given(
    st.integers(1, 40 * B),
    st.lists(st.tuples(st.booleans(), st.integers(0, 1 << 20), st.integers(1, 9 * B)), max_size=30),
)
def test_ura5_the_expansion_contains_the_read_and_ends_on_a_block(
    largest: int, reads: list[tuple[bool, int, int]]
) -> None:
    """U-RA5: rounded to blocks, and never more than a window past the read's own blocks."""
    readahead = Readahead(largest, B)
    last = -1
    for sequential, position, length in reads:
        start = last if sequential and last >= 0 else position
        wanted = readahead.stretch(start, start + length, last)
        last = start + length
        assert wanted >= last
        assert wanted == last or wanted % B == 0
        assert wanted <= round_up(last, B) + largest
        assert readahead.window <= largest


def test_a_window_of_nothing_never_stretches() -> None:
    """``readahead=0`` fetches only what is read."""
    readahead = Readahead(0)
    assert readahead.stretch(0, 100, -1) == 100
    assert readahead.stretch(100, 200, 100) == 200
    assert readahead.mark == NEVER


def test_downloads_are_cut_where_the_way_is_long() -> None:
    """Equal shares in steps of 8 MiB; one exchange for a server next door or a short extent."""
    mib = 1 << 20
    assert cut_size(1 << 30, 0.0005, 4) == 1 << 30
    assert cut_size(8 * mib, 0.05, 4) == 8 * mib
    assert cut_size(20 * mib, 0.05, 4) == 8 * mib
    assert cut_size(50 * mib, 0.05, 4) == 16 * mib
    assert cut_size(1 << 40, 0.05, 4) == 32 * mib


def test_a_reader_that_was_led_far_has_a_window_as_large_as_if_it_had_read_ahead() -> None:
    """Whoever brought it all is gone: the next reads are for a whole window at once."""
    readahead = Readahead(64 * B, B)
    last = at = 0
    for _ in range(8):
        readahead.stretch(at, at + B, last, led=True)
        at, last = at + 1000 * B, at + 1000 * B
    assert readahead.stretch(at, at + B, last, led=True) == at + 65 * B
    assert readahead.stretch(at + 5000 * B, at + 5001 * B, at, led=True) == at + 5001 * B
