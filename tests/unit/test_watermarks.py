"""Watermarks: when culling begins and ends, when nothing is stored, how much has to go."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netcache._core.watermarks import NOTHING, Verdict, Watermarks, judge_limit, most

TOTAL = 1000
MARKS = Watermarks(run_percent=10, cull_percent=7, stop_percent=3)


def judged(free: int, *, files_free: int = TOTAL, culling: bool = False) -> Verdict:
    """The verdict on ``free`` of ``TOTAL`` bytes and files."""
    return MARKS.judge(free, TOTAL, files_free, TOTAL, culling=culling)


@pytest.mark.parametrize(
    "marks", [(7, 5, 5), (5, 7, 1), (7, 7, 1), (100, 5, 1), (7, 5, -1)], ids=str
)
def test_watermarks_out_of_order_are_refused(marks: tuple[int, int, int]) -> None:
    """0 <= stop < cull < run < 100."""
    with pytest.raises(ValueError, match="out of order"):
        Watermarks(*marks).check()
    Watermarks().check()
    Watermarks(3, 2, 0).check()


@pytest.mark.parametrize(
    ("free", "before", "after"),
    [
        (1000, True, False),
        (100, True, False),
        (99, True, True),
        (99, False, False),
        (70, True, True),
        (70, False, False),
        (69, False, True),
        (0, False, True),
    ],
)
def test_culling_begins_below_cull_and_ends_at_run(free: int, before: bool, after: bool) -> None:
    """Between the two it stays as it was, for blocks and files alike (hysteresis)."""
    assert judged(free, culling=before).culling is after
    assert judged(TOTAL, files_free=free, culling=before).culling is after


@pytest.mark.parametrize(("free", "allowed"), [(30, True), (29, False), (-5, False)])
def test_nothing_is_stored_below_stop(free: int, allowed: bool) -> None:
    """For blocks and files alike; what has to go first is what is missing to stop."""
    assert judged(free).allowed is allowed
    assert judged(free).must_bytes == max(0, 30 - free)
    assert judged(TOTAL, files_free=free).allowed is allowed
    assert judged(TOTAL, files_free=free).must_files == max(0, 30 - free)


def test_culling_goes_on_up_to_run() -> None:
    """What is missing to ``run``, once it has begun."""
    assert judged(60).bytes == 40
    assert judged(60).files == 0
    assert judged(TOTAL, files_free=60) == Verdict(0, 0, 0, 40)
    assert judged(90) == NOTHING


def test_a_filesystem_that_does_not_count_files_has_enough() -> None:
    """As btrfs, which says 0 of 0."""
    assert MARKS.judge(500, TOTAL, 0, 0, culling=True) == NOTHING


def test_percentages_of_little_are_rounded_up() -> None:
    """One block of ten is not below three per cent of them, none is."""
    assert MARKS.judge(1, 10, 0, 0, culling=False).allowed
    assert not MARKS.judge(0, 10, 0, 0, culling=False).allowed


def test_a_limit_has_hysteresis_too() -> None:
    """Culling begins where no more may be taken, and ends five per cent below."""
    limit = 128_000
    assert most(limit) == 127_000
    assert judge_limit(limit, 127_000, culling=False) == NOTHING
    over = judge_limit(limit, 127_001, culling=False)
    assert over == Verdict(1, 0, 6351, 0)
    assert judge_limit(limit, 122_000, culling=True).bytes == 1350
    assert judge_limit(limit, 120_650, culling=True) == NOTHING


def test_both_verdicts_count() -> None:
    """The stricter in each respect."""
    assert Verdict(1, 0, 9, 2).and_also(Verdict(3, 4, 5, 6)) == Verdict(3, 4, 9, 6)


@given(st.integers(0, 1 << 40), st.integers(0, 1 << 41), st.booleans())
def test_what_must_go_is_never_more_than_what_goes(limit: int, taken: int, culling: bool) -> None:
    """And when it is gone, there is room."""
    verdict = judge_limit(limit, taken, culling=culling)
    assert 0 <= verdict.must_bytes <= verdict.bytes or not verdict.must_bytes
    assert judge_limit(limit, taken - verdict.must_bytes, culling=True).allowed
    assert not judge_limit(limit, taken - verdict.bytes, culling=True).culling
