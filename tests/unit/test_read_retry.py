"""How subrequests to be retried are cut anew."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from netcache._core.read_retry import (
    RetryPlan,
    RetryState,
    Slice,
    Stopped,
    plan_retry,
)

DONE, AGAIN, FAILED = RetryState.DONE, RetryState.AGAIN, RetryState.FAILED


def test_in_place_sends_each_again_from_where_it_stopped() -> None:
    """Rules 1 and 2: done ones are left alone."""
    plan = plan_retry(
        [Stopped(0, 10, 4, AGAIN), Stopped(10, 20, 10, DONE), Stopped(20, 30, 0, AGAIN, 1)],
        retries_max=5,
        in_place=True,
    )
    assert plan == RetryPlan((Slice(4, 10, 0, 1), Slice(20, 30, 2, 2)), (), ())


def test_in_place_stops_at_the_first_that_failed() -> None:
    """Rule 2: what lies behind it is given up."""
    plan = plan_retry(
        [Stopped(0, 10, 0, AGAIN), Stopped(10, 20, 0, FAILED), Stopped(20, 30, 0, AGAIN)],
        retries_max=5,
        in_place=True,
    )
    assert plan == RetryPlan((Slice(0, 10, 0, 1),), (), (2,))


def test_a_larger_limit_drops_the_superfluous() -> None:
    """Rule 3: fewer elements than before."""
    plan = plan_retry(
        [Stopped(0, 10, 4, AGAIN), Stopped(10, 20, 0, AGAIN), Stopped(20, 30, 0, AGAIN)],
        retries_max=5,
        in_place=False,
        largest=lambda start, end: 100,
    )
    assert plan == RetryPlan((Slice(4, 30, 0, 1),), (1, 2), ())


def test_the_same_limit_uses_as_many() -> None:
    """Rule 3: equally many elements."""
    plan = plan_retry(
        [Stopped(0, 10, 0, AGAIN, 2), Stopped(10, 20, 0, AGAIN)],
        retries_max=5,
        in_place=False,
        largest=lambda start, end: 10,
    )
    assert plan == RetryPlan((Slice(0, 10, 0, 3), Slice(10, 20, 1, 1)), (), ())


def test_a_smaller_limit_makes_further_ones() -> None:
    """Rule 3: more elements than before; the further ones start with a retry count of 1."""
    plan = plan_retry(
        [Stopped(0, 10, 0, AGAIN, 2)],
        retries_max=5,
        in_place=False,
        largest=lambda start, end: 4,
    )
    assert plan == RetryPlan(
        (Slice(0, 4, 0, 3), Slice(4, 8, None, 1), Slice(8, 10, None, 1)), (), ()
    )


def test_spans_end_at_boundaries_gaps_and_parts_that_have_come() -> None:
    """Rule 3: only what is contiguous is joined."""
    plan = plan_retry(
        [
            Stopped(0, 10, 0, AGAIN),
            Stopped(10, 20, 0, AGAIN, boundary=True),
            Stopped(20, 30, 5, AGAIN),
            Stopped(30, 40, 10, DONE),
            Stopped(40, 50, 0, AGAIN),
        ],
        retries_max=5,
        in_place=False,
        largest=lambda start, end: 100,
    )
    assert [(s.start, s.end) for s in plan.slices] == [(0, 10), (10, 20), (25, 30), (40, 50)]
    assert plan.dropped == ()


def test_one_that_failed_divides_and_stays() -> None:
    """Rule 4."""
    plan = plan_retry(
        [Stopped(0, 10, 0, AGAIN), Stopped(10, 20, 0, FAILED), Stopped(20, 30, 0, AGAIN)],
        retries_max=5,
        in_place=False,
        largest=lambda start, end: 100,
    )
    assert plan == RetryPlan((Slice(0, 10, 0, 1), Slice(20, 30, 2, 1)), (), ())


def test_the_number_of_attempts_is_bounded() -> None:
    """Rule 5: the bound that netfslib lacks."""
    plan = plan_retry(
        [Stopped(0, 10, 0, AGAIN, 3), Stopped(10, 20, 0, AGAIN)],
        retries_max=3,
        in_place=False,
        largest=None,
    )
    assert plan == RetryPlan((Slice(10, 20, 1, 1),), (), (0,))


def test_a_refused_negotiation_gives_up_everything_from_there_on() -> None:
    """Rule 5: earlier spans go on."""
    plan = plan_retry(
        [Stopped(0, 10, 0, AGAIN), Stopped(10, 20, 10, DONE), Stopped(20, 30, 0, AGAIN)],
        retries_max=5,
        in_place=False,
        largest=lambda start, end: 10 if start < 10 else 0,
    )
    assert plan == RetryPlan((Slice(0, 10, 0, 1),), (), (2,))


def test_t05_a_first_element_that_is_not_retryable() -> None:
    """T5: the pass begins with one that is done, or that has failed."""
    for state in (DONE, FAILED):
        plan = plan_retry(
            [Stopped(0, 10, 10, state), Stopped(10, 20, 3, AGAIN)],
            retries_max=5,
            in_place=False,
            largest=lambda start, end: 2,
        )
        assert [(s.start, s.end) for s in plan.slices] == [(13, 15), (15, 17), (17, 19), (19, 20)]
        assert plan.given_up == ()


def test_t05_a_pass_with_nothing_to_retry() -> None:
    """T5: an empty pass does nothing."""
    assert plan_retry([], retries_max=5, in_place=False) == RetryPlan((), (), ())
    done = [Stopped(0, 10, 10, DONE)]
    assert plan_retry(done, retries_max=5, in_place=False) == RetryPlan((), (), ())


STATES = st.lists(
    st.tuples(
        st.integers(1, 10), st.sampled_from(RetryState), st.integers(0, 9), st.integers(0, 4)
    ),
    max_size=8,
)


@given(STATES, st.booleans(), st.one_of(st.none(), st.integers(1, 12)))
def test_slices_cover_exactly_what_lacks(
    parts: list[tuple[int, RetryState, int, int]], boundary: bool, limit: int | None
) -> None:
    """Every byte that lacks is in one slice, or its subrequest is given up."""
    stopped, position = [], 0
    for length, state, come, retries in parts:
        transferred = length if state is DONE else min(come, length - 1)
        stopped.append(Stopped(position, position + length, transferred, state, retries, boundary))
        position += length
    largest = None if limit is None else (lambda start, end: limit)
    plan = plan_retry(stopped, retries_max=4, in_place=False, largest=largest)
    lacking = {
        byte
        for index, one in enumerate(stopped)
        if one.state is AGAIN and index not in plan.given_up
        for byte in range(one.start + one.transferred, one.end)
    }
    asked = [byte for part in plan.slices for byte in range(part.start, part.end)]
    assert sorted(asked) == sorted(lacking)
    assert all(part.start < part.end for part in plan.slices)
    assert all(one.end <= other.start for one, other in itertools.pairwise(plan.slices))
    assert all(stopped[index].retries >= 4 for index in plan.given_up)
    if limit is not None:
        assert all(part.end - part.start <= limit for part in plan.slices)
    reused = [part.reuses for part in plan.slices if part.reuses is not None]
    assert len(set(reused)) == len(reused)
    assert not set(reused) & set(plan.dropped)
