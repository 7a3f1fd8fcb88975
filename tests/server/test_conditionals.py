"""Preconditions as values (RFC 9110 13)."""

from __future__ import annotations

import pytest

from netcache_server.conditionals import (
    Conditions,
    Outcome,
    Validators,
    entity_tags,
    evaluate,
    http_date,
    parse_http_date,
    range_applies,
)

NOW = 1_800_000_000
DATE = http_date(NOW)
LATER = http_date(NOW + 10)
EARLIER = http_date(NOW - 10)
CURRENT = Validators('"a"', NOW)
WEAK = Validators('W/"a"', NOW)


def outcome(
    method: str = "GET", current: Validators | None = CURRENT, **conditions: str
) -> Outcome:
    """Evaluate the given conditions."""
    return evaluate(method, Conditions(**conditions), current)


def test_entity_tags_are_lists() -> None:
    """Tags with commas, spaces and bytes above ASCII are kept whole; reading stops at nonsense."""
    assert entity_tags('"a", W/"b" ,"c,d"') == ('"a"', 'W/"b"', '"c,d"')
    assert entity_tags('"\xe4"') == ('"\xe4"',)
    assert entity_tags('"a", b, "c"') == ('"a"',)
    assert entity_tags("a") == ()


@pytest.mark.parametrize("date", ["Sun, 06 Nov 1994 08:49:37 GMT", "06 Nov 1994 08:49:37 GMT"])
def test_dates_are_read(date: str) -> None:
    """A date is seconds since the epoch."""
    assert parse_http_date(date) == 784111777
    assert parse_http_date("yesterday") is None
    assert parse_http_date(None) is None


def test_if_match() -> None:
    """If-Match compares strongly, and fails where there is nothing."""
    assert outcome(if_match='"b", "a"') is Outcome.PROCEED
    assert outcome(if_match="*") is Outcome.PROCEED
    assert outcome(if_match='"b"') is Outcome.FAILED
    assert outcome(if_match='W/"a"') is Outcome.FAILED
    assert outcome(current=WEAK, if_match='W/"a"') is Outcome.FAILED
    assert outcome(current=None, if_match="*") is Outcome.FAILED


def test_if_none_match() -> None:
    """If-None-Match compares weakly: 304 for reads, 412 for writes."""
    assert outcome(if_none_match='W/"a"') is Outcome.NOT_MODIFIED
    assert outcome("HEAD", if_none_match='"a"') is Outcome.NOT_MODIFIED
    assert outcome("PUT", if_none_match='"a"') is Outcome.FAILED
    assert outcome("PUT", if_none_match="*") is Outcome.FAILED
    assert outcome("PUT", None, if_none_match="*") is Outcome.PROCEED
    assert outcome(if_none_match='"b"') is Outcome.PROCEED


def test_dates_as_conditions() -> None:
    """The conditions by date count whole seconds; one that cannot be read is none."""
    assert outcome(if_modified_since=DATE) is Outcome.NOT_MODIFIED
    assert outcome(if_modified_since=LATER) is Outcome.NOT_MODIFIED
    assert outcome(if_modified_since=EARLIER) is Outcome.PROCEED
    assert outcome(if_modified_since="soon") is Outcome.PROCEED
    assert outcome("PUT", if_modified_since=DATE) is Outcome.PROCEED
    assert outcome(if_unmodified_since=DATE) is Outcome.PROCEED
    assert outcome(if_unmodified_since=EARLIER) is Outcome.FAILED
    assert outcome(if_unmodified_since="soon") is Outcome.PROCEED


def test_precedence() -> None:
    """Tags go before dates, and If-Match before If-None-Match (13.2.2)."""
    assert outcome(if_match='"a"', if_unmodified_since=EARLIER) is Outcome.PROCEED
    assert outcome(if_none_match='"b"', if_modified_since=LATER) is Outcome.PROCEED
    assert outcome(if_match='"b"', if_none_match='"a"') is Outcome.FAILED
    assert outcome(if_match='"a"', if_none_match='"a"') is Outcome.NOT_MODIFIED


def test_if_range() -> None:
    """If-Range needs a strong tag, or the very date when it is old enough (13.1.5)."""

    def applies(value: str, current: Validators = CURRENT, now: float = NOW + 60) -> bool:
        return range_applies(Conditions(if_range=value), current, now)

    assert range_applies(Conditions(), CURRENT, NOW)
    assert applies('"a"')
    assert not applies('"b"')
    assert not applies('W/"a"', WEAK)
    assert not applies('"a"', WEAK)
    assert applies(DATE)
    assert not applies(LATER)
    assert not applies(EARLIER)
    assert not applies(DATE, now=NOW + 0.5)
    assert not applies("nonsense")
    assert not applies(DATE, Validators('"a"', None))
