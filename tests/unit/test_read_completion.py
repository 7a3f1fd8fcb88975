"""The completion table of read subrequests, row by row."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netcache._core.read_completion import Outcome, Verdict, judge
from netcache._core.read_sources import Source

DOWN, READ, ZERO = Source.DOWNLOAD, Source.CACHE, Source.ZERO

ROWS = {
    "1 too much": (Outcome(DOWN, 10, 11), Verdict.TOO_MUCH),
    "1 too much, from the cache": (Outcome(READ, 10, 11), Verdict.TOO_MUCH),
    "1 too much, and a retry asked for": (
        Outcome(DOWN, 10, 11, need_retry=True),
        Verdict.TOO_MUCH,
    ),
    "2 error, retry asked for": (Outcome(DOWN, 10, 0, failed=True, need_retry=True), Verdict.RETRY),
    "2 error after all has come, retry asked for": (
        Outcome(DOWN, 10, 10, failed=True, need_retry=True),
        Verdict.FINE,
    ),
    "3 error, from the cache": (Outcome(READ, 10, 4, failed=True), Verdict.RETRY_FROM_SERVER),
    "4 error, from the server": (Outcome(DOWN, 10, 4, failed=True), Verdict.FAIL),
    "4 error after all has come": (Outcome(DOWN, 10, 10, failed=True), Verdict.FAIL),
    "5 complete": (Outcome(DOWN, 10, 10), Verdict.FINE),
    "5 complete, from the cache": (Outcome(READ, 10, 10), Verdict.FINE),
    "5 zeros": (Outcome(ZERO, 10, 10), Verdict.FINE),
    "6 short at the end": (Outcome(DOWN, 10, 4, hit_eof=True), Verdict.CLEAR),
    "6 nothing at the end": (Outcome(DOWN, 10, 0, hit_eof=True), Verdict.CLEAR),
    "6 short where the tail is zeros": (Outcome(DOWN, 10, 4, clear_tail=True), Verdict.CLEAR),
    "7 short, retry asked for": (Outcome(DOWN, 10, 0, need_retry=True), Verdict.RETRY),
    "8 short, with progress": (Outcome(DOWN, 10, 4), Verdict.RETRY),
    "8 short, with progress since the last attempt": (
        Outcome(DOWN, 10, 6, before=4),
        Verdict.RETRY,
    ),
    "9 short without progress, from the cache": (Outcome(READ, 10, 0), Verdict.RETRY_FROM_SERVER),
    "10 short without progress, from the server": (Outcome(DOWN, 10, 0), Verdict.NO_DATA),
    "10 no progress in this attempt": (Outcome(DOWN, 10, 4, before=4), Verdict.NO_DATA),
}


@pytest.mark.parametrize("row", ROWS)
def test_row(row: str) -> None:
    """Each row of the table."""
    outcome, verdict = ROWS[row]
    assert judge(outcome) is verdict


def test_errors_of_verdicts_without_one() -> None:
    """EIO for too much (T8), ENODATA for nothing."""
    assert Verdict.TOO_MUCH.errno == errno.EIO
    assert Verdict.NO_DATA.errno == errno.ENODATA
    assert Verdict.FAIL.errno == 0


def test_retries_and_failures_pause() -> None:
    """Only what is fine lets the issuing go on."""
    assert [v for v in Verdict if not v.pauses] == [Verdict.FINE, Verdict.CLEAR]
    assert all(v.fine + v.retries + v.fails == 1 for v in Verdict)


OUTCOMES = st.builds(
    Outcome,
    st.sampled_from(Source),
    st.integers(1, 8),
    st.integers(0, 9),
    before=st.integers(0, 4),
    failed=st.booleans(),
    need_retry=st.booleans(),
    hit_eof=st.booleans(),
    clear_tail=st.booleans(),
)


@given(OUTCOMES)
def test_what_lacks_is_never_called_fine_without_a_reason(outcome: Outcome) -> None:
    """Bytes that did not come are retried, cleared for a reason, or failed."""
    verdict = judge(outcome)
    if verdict is Verdict.FINE:
        assert outcome.transferred == outcome.length
    if verdict is Verdict.CLEAR:
        assert outcome.hit_eof or outcome.clear_tail
    if outcome.transferred > outcome.length:
        assert verdict.fails
    if verdict is Verdict.RETRY_FROM_SERVER:
        assert outcome.source is Source.CACHE
