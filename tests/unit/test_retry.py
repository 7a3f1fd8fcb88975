"""When to try again, and after how long."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netcache._core.retry import TRANSIENT_STATUSES, Retries, RetryPolicy
from netcache.errors import RemoteTimeoutError, TransientError


def pauses(policy: RetryPolicy, errors: list[TransientError]) -> list[float]:
    """The pauses after each of ``errors``, until the attempts are used up."""
    retries = Retries(policy)
    found: list[float] = []
    for error in errors:
        try:
            found.append(retries.pause_s(error))
        except TransientError:
            break
    return found


def test_the_error_of_the_last_attempt_comes_out() -> None:
    """Not the first one, and not another."""
    retries = Retries(RetryPolicy(attempts=2, first_pause_s=0.0))
    retries.pause_s(TransientError("first"))
    last = TransientError("last")
    with pytest.raises(TransientError) as caught:
        retries.pause_s(last)
    assert caught.value is last


def test_pauses_double_up_to_the_ceiling() -> None:
    """Without luck the pauses are the ceilings themselves."""
    policy = RetryPolicy(attempts=7, first_pause_s=1.0, pause_s_max=5.0)
    assert pauses(policy, [TransientError("x")] * 9) == [1.0, 2.0, 4.0, 5.0, 5.0, 5.0]


def test_jitter_is_full() -> None:
    """The pause is drawn from the whole of [0, ceiling)."""
    numbers = iter([0.0, 0.5, 0.25])
    policy = RetryPolicy(attempts=9, first_pause_s=1.0, random=lambda: next(numbers))
    assert pauses(policy, [TransientError("x")] * 3) == [0.0, 1.0, 1.0]


def test_one_attempt_means_no_pause() -> None:
    """With a single attempt the first error is the last."""
    assert pauses(RetryPolicy(attempts=1), [TransientError("x")]) == []


def test_retry_after_is_not_undercut() -> None:
    """The server's wish counts when it is longer than our own pause, not when it is shorter."""
    policy = RetryPolicy(attempts=5, first_pause_s=1.0)
    errors = [TransientError("x", retry_after_s=7.0), TransientError("x", retry_after_s=0.5)]
    assert pauses(policy, errors) == [7.0, 2.0]


def test_retry_after_beyond_the_limit_gives_up_at_once() -> None:
    """Coming back too early helps nobody, and waiting an hour neither."""
    policy = RetryPolicy(retry_after_s_max=60.0)
    assert pauses(policy, [TransientError("x", retry_after_s=61.0)]) == []


def test_the_sum_of_pauses_is_bounded() -> None:
    """The last pause that would exceed the total is not begun."""
    policy = RetryPolicy(attempts=100, first_pause_s=4.0, pause_s_max=4.0, total_s_max=10.0)
    assert pauses(policy, [RemoteTimeoutError("x")] * 10) == [4.0, 4.0]


@given(
    attempts=st.integers(1, 50),
    fractions=st.lists(st.floats(0, 1, exclude_max=True), min_size=60, max_size=60),
    asked=st.lists(st.none() | st.floats(0, 90), min_size=60, max_size=60),
)
def test_bounds_hold_whatever_happens(
    attempts: int, fractions: list[float], asked: list[float | None]
) -> None:
    """Attempts, single pauses and their sum stay within the policy."""
    numbers = iter(fractions)
    policy = RetryPolicy(attempts=attempts, random=lambda: next(numbers))
    found = pauses(policy, [TransientError("x", retry_after_s=wish) for wish in asked])
    assert len(found) <= attempts - 1
    assert sum(found) <= policy.total_s_max
    for pause_s, wish in zip(found, asked, strict=False):
        assert (wish or 0.0) <= pause_s <= max(policy.pause_s_max, wish or 0.0)


def test_failures_that_will_not_pass_are_not_transient() -> None:
    """No retry for what the client did wrong or the server cannot do."""
    assert not TRANSIENT_STATUSES & {
        400,
        401,
        403,
        404,
        405,
        409,
        410,
        412,
        413,
        416,
        501,
        505,
        507,
    }
    assert {408, 425, 429, 500, 502, 503, 504} <= TRANSIENT_STATUSES
