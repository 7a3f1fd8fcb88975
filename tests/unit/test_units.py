"""Sizes and durations as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netcache._core.units import format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("4096", 4096),
        ("4096B", 4096),
        ("64KiB", 65536),
        ("64kib", 65536),
        ("64 KiB", 65536),
        ("1.5GiB", 3 << 29),
        ("10M", 10 << 20),
        ("10MB", 10_000_000),
        (".5k", 512),
        ("2T", 2 << 40),
        ("1P", 1 << 50),
        ("  7  ", 7),
    ],
)
def test_sizes_are_read(text: str, size: int) -> None:
    """Bare numbers are bytes, one letter and ...iB are binary, ...B is decimal."""
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", " ", "x", "KiB", "-1", "+1", "1e3", "1,5G", "0x10", "1 2", "٣"]
)
def test_what_is_no_size_is_refused(text: str) -> None:
    """The error shows the text and how a size is written."""
    with pytest.raises(ValueError, match="is not a size; write 4096, 64KiB") as caught:
        parse_size(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30", 30),
        ("0", 0),
        ("30s", 30),
        ("5m", 300),
        ("5min", 300),
        ("1h", 3600),
        ("1.5h", 5400),
        ("1h30m", 5400),
        ("500ms", 0.5),
        ("2d", 172800),
        ("1w", 604800),
    ],
)
def test_durations_are_read(text: str, seconds: float) -> None:
    """Bare numbers are seconds; units may follow one another."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "x", "m", "-5m", "1h30", "1y", "nan", "inf", "1e3"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """The error shows the text and how a duration is written."""
    with pytest.raises(ValueError, match="is not a duration; write 30"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (1024**2 - 1, "1.0 MiB"),
        (123 << 20, "123 MiB"),
        (1 << 30, "1.0 GiB"),
        (5000 << 50, "5000 PiB"),
    ],
)
def test_sizes_are_shown_short(size: int, text: str) -> None:
    """At most four digits and a binary unit."""
    assert format_size(size) == text


@given(st.integers(min_value=0, max_value=1 << 60))
def test_a_shown_size_reads_back_close_to_itself(size: int) -> None:
    """What is shown is within 5 % of the size."""
    assert abs(parse_size(format_size(size)) - size) <= 0.05 * size


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.25, "0.25s"),
        (10, "10s"),
        (59.4, "59s"),
        (60, "1m"),
        (312, "5m 12s"),
        (12000, "3h 20m"),
        (90000, "1d 1h"),
        (1e7, "115d 17h"),
    ],
)
def test_durations_are_shown_in_two_units(seconds: float, text: str) -> None:
    """The largest unit and the next one."""
    assert format_duration(seconds) == text
