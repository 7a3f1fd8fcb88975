"""The ``validate`` policy: when a check is due."""

from __future__ import annotations

import pytest

from netcache._core.validity import Moment, may_be_stale, parse_stale, parse_validity
from netcache.errors import UsageError

OPEN, READ = Moment.OPEN, Moment.READ


@pytest.mark.parametrize(
    ("policy", "moment", "age", "due"),
    [
        ("open", OPEN, 0.0, True),
        ("open", READ, 9e9, False),
        ("always", OPEN, 0.0, True),
        ("always", READ, 0.0, True),
        ("never", OPEN, 9e9, False),
        ("never", READ, 9e9, False),
        ("5m", OPEN, 299.0, False),
        ("5m", OPEN, 300.0, True),
        ("5m", READ, 9e9, False),
        (60, OPEN, 59.0, False),
        (60, OPEN, 61.0, True),
        (0, OPEN, 0.0, True),
    ],
)
def test_a_check_is_due_as_the_policy_says(
    policy: str | float, moment: Moment, age: float, due: bool
) -> None:
    """Each policy asks at its own moments and ages."""
    checked = parse_validity(policy).check_due(moment, checked_s=1e6, now_s=1e6 + age)
    assert checked is due


def test_a_check_in_the_future_does_not_count() -> None:
    """A clock that was set back must not make old data look fresh."""
    assert parse_validity("5m").check_due(OPEN, checked_s=2e6, now_s=1e6)


@pytest.mark.parametrize("text", ["sometimes", "", "-5", -1, float("nan"), "5 parsecs"])
def test_nonsense_is_a_usage_error(text: str | float) -> None:
    """A policy that means nothing is refused, naming what there is."""
    with pytest.raises(UsageError, match=r"open, always, never|negative"):
        parse_validity(text)


@pytest.mark.parametrize(
    ("policy", "age_s", "shown"),
    [
        (None, 0, False),
        ("never", 0, False),
        ("always", 1e9, True),
        ("always", -1e9, True),
        (True, 1e9, True),
        ("1h", 3600, True),
        ("1h", 3601, False),
        ("1h", -1, False),
        (10, 9.5, True),
        (0, 0.1, False),
    ],
)
def test_what_may_be_shown_though_the_server_fails(
    policy: str | float | None, age_s: float, shown: bool
) -> None:
    """By the age of the last check; one in the future is no check."""
    assert may_be_stale(parse_stale(policy), checked_s=1e6, now_s=1e6 + age_s) is shown


@pytest.mark.parametrize("text", ["sometimes", "", "-5", -1, float("nan")])
def test_nonsense_is_no_stale_policy(text: str | float) -> None:
    """It is refused, naming what there is."""
    with pytest.raises(UsageError, match=r"never, always|negative"):
        parse_stale(text)
