"""Extents and sets of them, against sets of integers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netcache._core.extent import (
    Extent,
    ExtentSet,
    round_down,
    round_in,
    round_out,
    round_up,
)

LIMIT = 40
positions = st.integers(0, LIMIT)
extents = st.tuples(positions, positions).map(lambda pair: Extent(min(pair), max(pair)))
changes = st.lists(st.tuples(st.booleans(), positions, positions), max_size=25)
block_sizes = st.sampled_from([1, 2, 8, 512, 4096, 65536])


def built(steps: list[tuple[bool, int, int]]) -> tuple[ExtentSet, set[int]]:
    """The same adds and removes done to an ``ExtentSet`` and to a set of integers."""
    subject, model = ExtentSet(), set[int]()
    for adds, start, end in steps:
        if adds:
            subject.add(start, end)
            model |= set(range(start, end))
        else:
            subject.remove(start, end)
            model -= set(range(start, end))
    return subject, model


def runs(model: set[int], start: int = 0, end: int = LIMIT) -> list[Extent]:
    """The maximal runs of ``model`` inside ``[start, end)``."""
    found: list[Extent] = []
    for position in range(start, end):
        if position not in model:
            continue
        if found and found[-1].end == position:
            found[-1] = Extent(found[-1].start, position + 1)
        else:
            found.append(Extent(position, position + 1))
    return found


@given(changes)
def test_a_set_holds_what_was_added_and_not_removed(steps: list[tuple[bool, int, int]]) -> None:
    """Iteration gives exactly the maximal runs: sorted, disjoint, non-adjoining, non-empty."""
    subject, model = built(steps)
    assert list(subject) == runs(model)
    assert len(subject) == len(runs(model))
    assert bool(subject) == bool(model)
    assert subject.total_bytes == len(model)


@given(changes, positions)
def test_holding_finds_the_run_around_a_position(
    steps: list[tuple[bool, int, int]], position: int
) -> None:
    """``holding`` gives the whole run that a position lies in, or None."""
    subject, model = built(steps)
    expected = next((run for run in runs(model) if run.start <= position < run.end), None)
    assert subject.holding(position) == expected


@given(changes, extents)
def test_within_and_missing_split_a_range(
    steps: list[tuple[bool, int, int]], wanted: Extent
) -> None:
    """``within`` and ``missing`` are the two halves of any range, in order."""
    subject, model = built(steps)
    inverse = set(range(LIMIT)) - model
    assert subject.within(*wanted) == runs(model, *wanted)
    assert subject.missing(*wanted) == runs(inverse, *wanted)


@given(changes, extents)
def test_covers_is_true_only_when_nothing_is_missing(
    steps: list[tuple[bool, int, int]], wanted: Extent
) -> None:
    """A range is covered when every byte of it is in the set; an empty one always is."""
    subject, model = built(steps)
    assert subject.covers(*wanted) == (set(range(*wanted)) <= model)


@given(changes)
def test_equality_is_by_content(steps: list[tuple[bool, int, int]]) -> None:
    """Two sets are equal when they hold the same bytes, however they came about."""
    subject, model = built(steps)
    again = ExtentSet(reversed(runs(model)))
    assert subject == again
    assert (subject == ExtentSet([(0, LIMIT + 1)])) is (model == set(range(LIMIT + 1)))
    assert subject != runs(model)


@given(changes)
def test_clear_empties(steps: list[tuple[bool, int, int]]) -> None:
    """After ``clear`` there is nothing, and the set is usable."""
    subject, _ = built(steps)
    subject.clear()
    assert list(subject) == []
    subject.add(3, 5)
    assert list(subject) == [Extent(3, 5)]


@given(changes, positions, positions)
def test_backward_ranges_change_nothing(steps: list[tuple[bool, int, int]], a: int, b: int) -> None:
    """Adding or removing an empty or backward range is a no-op."""
    subject, model = built(steps)
    subject.add(max(a, b), min(a, b))
    subject.remove(max(a, b), min(a, b))
    assert list(subject) == runs(model)


def test_a_set_cannot_be_hashed() -> None:
    """A mutable value is no dictionary key."""
    with pytest.raises(TypeError):
        hash(ExtentSet())


@given(st.integers(0, 1 << 50), block_sizes)
def test_rounding_meets_the_nearest_boundaries(position: int, block_size: int) -> None:
    """Down and up are multiples of the block size, at most one block away, and enclose."""
    low, high = round_down(position, block_size), round_up(position, block_size)
    assert low % block_size == high % block_size == 0
    assert position - block_size < low <= position <= high < position + block_size


@given(st.integers(0, 1 << 30), st.integers(0, 1 << 20), block_sizes)
def test_rounding_out_encloses_and_rounding_in_is_enclosed(
    start: int, length: int, block_size: int
) -> None:
    """Out is the smallest whole-block extent around, in the largest inside or empty."""
    extent = Extent(start, start + length)
    outer, inner = round_out(extent, block_size), round_in(extent, block_size)
    assert outer == (
        start // block_size * block_size,
        -(-extent.end // block_size) * block_size,
    )
    assert inner.start <= inner.end
    whole = extent.end // block_size - -(-start // block_size)
    assert inner.length == max(0, whole) * block_size
    if inner.length:
        assert extent.start <= inner.start < inner.end <= extent.end


@given(extents, extents)
def test_clip_is_the_common_part(extent: Extent, window: Extent) -> None:
    """Clipping gives the intersection, and stays inside the window when there is none."""
    clipped = extent.clip(*window)
    assert window.start <= clipped.start <= clipped.end <= window.end
    assert set(range(*clipped)) == set(range(*extent)) & set(range(*window))


@pytest.mark.parametrize(
    ("extent", "clipped"),
    [(Extent(0, 5), Extent(10, 10)), (Extent(25, 30), Extent(20, 20)), (Extent(12, 12), (12, 12))],
)
def test_clip_of_a_stranger_is_empty_at_the_nearer_bound(extent: Extent, clipped: Extent) -> None:
    """An extent outside the window becomes empty at the bound that is nearer."""
    assert extent.clip(10, 20) == clipped


def test_an_extent_shows_itself_half_open() -> None:
    """The text of an extent says that its end is exclusive."""
    assert str(Extent(3, 9)) == "[3, 9)"
    assert Extent(3, 9).length == 6
