"""Byte ranges as values (RFC 9110 14)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netcache_server.ranges import (
    MAX_RANGES,
    BadRangeError,
    Span,
    UnsatisfiableRangeError,
    UpdateRange,
    parse_content_range,
    parse_range,
    parse_update_range,
)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", [(0, 1)]),
        ("bytes=0-", [(0, 10)]),
        ("bytes=5-100", [(5, 10)]),
        ("bytes=-3", [(7, 10)]),
        ("bytes=-30", [(0, 10)]),
        ("Bytes = 2-3", [(2, 4)]),
        ("bytes=8-9, 0-1", [(8, 10), (0, 2)]),
        ("bytes=0-1, ,4-5", [(0, 2), (4, 6)]),
        ("bytes=0-3,2-5", [(0, 6)]),
        ("bytes=0-1,2-3", [(0, 4)]),
        ("bytes=0-1,4-5,1-4", [(0, 6)]),
        ("bytes=0-1,50-60", [(0, 2)]),
        ("bytes=50-,-1", [(9, 10)]),
    ],
)
def test_range_selects(header: str, expected: list[tuple[int, int]]) -> None:
    """A satisfiable header gives its spans, joined where they overlap or touch."""
    assert parse_range(header, 10) == tuple(Span(*pair) for pair in expected)


@pytest.mark.parametrize(
    "header",
    ["", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=5-2", "items=0-1", "bytes=0-1,x",
     "bytes=1", "bytes=--1", "bytes=0-1-2", "bytes=+1-2", "bytes=" + ",".join(["0-0"] * 65)],
)  # fmt: skip
def test_range_that_is_not_understood_is_ignored(header: str) -> None:
    """A header with bad syntax, another unit or too many ranges does not count."""
    assert parse_range(header, 10) is None


@pytest.mark.parametrize(("header", "size"), [
    ("bytes=10-", 10), ("bytes=10-20", 10), ("bytes=-0", 10), ("bytes=0-0", 0), ("bytes=-5", 0),
])  # fmt: skip
def test_range_behind_the_end_is_unsatisfiable(header: str, size: int) -> None:
    """What selects no byte is refused."""
    with pytest.raises(UnsatisfiableRangeError):
        parse_range(header, size)


@given(
    size=st.integers(1, 40),
    pairs=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 10)), min_size=1, max_size=8),
)
def test_range_selects_exactly_the_bytes_asked_for(size: int, pairs: list[tuple[int, int]]) -> None:
    """Spans cover just the bytes that were asked for, each once."""
    header = "bytes=" + ",".join(f"{start}-{start + more}" for start, more in pairs)
    wanted = {byte for start, more in pairs for byte in range(start, start + more + 1)}
    wanted &= set(range(size))
    try:
        spans = parse_range(header, size)
    except UnsatisfiableRangeError:
        assert not wanted
        return
    assert spans is not None
    covered = [byte for span in spans for byte in range(span.start, span.end)]
    assert sorted(covered) == sorted(wanted)
    assert len(spans) <= MAX_RANGES


def test_content_range_of_a_request() -> None:
    """A request's Content-Range gives its span and its total."""
    assert parse_content_range("bytes 2-5/10") == (Span(2, 6), 10)
    assert parse_content_range("bytes 2-5/*") == (Span(2, 6), None)


@pytest.mark.parametrize("header", ["bytes 5-2/10", "bytes 0-10/10", "bytes */10", "bytes=0-1/2"])
def test_bad_content_range_is_refused(header: str) -> None:
    """A Content-Range that contradicts itself means nothing."""
    with pytest.raises(BadRangeError):
        parse_content_range(header)


def test_update_range() -> None:
    """The ranges of a partial update: closed, open, append."""
    assert parse_update_range("bytes=2-5") == UpdateRange(2, 6)
    assert parse_update_range("bytes=2-") == UpdateRange(2, None)
    assert parse_update_range("append") == UpdateRange(None, None)
    for bad in ("bytes=-5", "bytes=5-2", "5-6", "", "bytes=a-"):
        with pytest.raises(BadRangeError):
            parse_update_range(bad)
