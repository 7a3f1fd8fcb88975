"""Changed or not: the comparison of two files."""

from __future__ import annotations

from typing import Literal

import pytest

from netcache._client.trees.compare import Rule, Verdict, judge
from netcache._client.trees.entries import Entry, remote_entry
from netcache._core.urls import why_not_local
from netcache.spi import ResourceInfo

DOWN = Rule("time", upload=False, origin_keeps_mtime=False)
UP = Rule("time", upload=True, origin_keeps_mtime=False)
UP_KEEPING = Rule("time", upload=True, origin_keeps_mtime=True)


def file(size: int | None, mtime_s: int | None) -> Entry:
    """A file's entry."""
    return Entry("f", "file", size, mtime_s)


@pytest.mark.parametrize("rule", [DOWN, UP, UP_KEEPING])
def test_another_size_is_a_change(rule: Rule) -> None:
    """Whatever the times say."""
    assert judge(file(1, 10), file(2, 10), rule) is Verdict.DIFFERENT


@pytest.mark.parametrize("rule", [DOWN, UP, UP_KEEPING])
def test_equal_sizes_and_seconds_are_no_change(rule: Rule) -> None:
    """Both directions take equal figures for the same file."""
    assert judge(file(1, 10), file(1, 10), rule) is Verdict.SAME


def test_a_download_sees_any_other_time() -> None:
    """Older or newer: an edit that keeps the size is seen."""
    assert judge(file(1, 9), file(1, 10), DOWN) is Verdict.DIFFERENT
    assert judge(file(1, 11), file(1, 10), DOWN) is Verdict.DIFFERENT


def test_an_upload_takes_the_servers_stamp_for_the_time_of_upload() -> None:
    """Older locally than at the server: that upload was of this state."""
    assert judge(file(1, 9), file(1, 10), UP) is Verdict.SAME
    assert judge(file(1, 11), file(1, 10), UP) is Verdict.DIFFERENT


def test_an_upload_to_an_origin_that_keeps_times_is_strict() -> None:
    """An older file of the same size that was put in place is seen there."""
    assert judge(file(1, 9), file(1, 10), UP_KEEPING) is Verdict.DIFFERENT


@pytest.mark.parametrize("rule", [DOWN, UP])
@pytest.mark.parametrize("remote", [file(None, None), file(None, 10), file(1, None)])
def test_figures_that_a_listing_lacks_are_asked_for(rule: Rule, remote: Entry) -> None:
    """And when the server does not tell them either, the file counts as changed."""
    assert judge(file(2, 10), file(1, None), rule) is Verdict.DIFFERENT
    assert judge(file(1, 10), remote, rule) is Verdict.ASK_SERVER
    assert judge(file(1, 10), remote, rule, is_exact=True) is Verdict.DIFFERENT


def test_size_only_looks_at_sizes_only() -> None:
    """Times are of no account."""
    rule = Rule("size", upload=False, origin_keeps_mtime=False)
    assert judge(file(1, 9), file(1, None), rule) is Verdict.SAME
    assert judge(file(1, 9), file(2, 9), rule) is Verdict.DIFFERENT
    assert judge(file(1, 9), file(None, 9), rule) is Verdict.ASK_SERVER


def test_checksums_are_compared_when_sizes_are_equal() -> None:
    """Another size needs no digest."""
    rule = Rule("digest", upload=False, origin_keeps_mtime=False)
    assert judge(file(1, 9), file(1, 9), rule) is Verdict.ASK_DIGESTS
    assert judge(file(1, 9), file(2, 9), rule) is Verdict.DIFFERENT


@pytest.mark.parametrize("kind", ["link", "special", "broken"])
def test_what_is_no_file_is_replaced(kind: Literal["link", "special", "broken"]) -> None:
    """A link in the destination is never taken for the file."""
    local = Entry("f", kind, 1, 10)
    assert judge(local, file(1, 10), DOWN) is Verdict.DIFFERENT


def test_remote_times_are_rounded_down() -> None:
    """Also before 1970."""
    info = ResourceInfo("http://h/f", "f", "file", 1, 119.9, None)
    assert remote_entry(info) == Entry("f", "file", 1, 119, info)
    assert remote_entry(info._replace(mtime_s=-0.5)).mtime_s == -1


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "/", "a\0b", "x" * 256, "ü" * 128, "\ud800"]
)
def test_names_that_cannot_be_local_are_told(name: str) -> None:
    """Separators, NUL, dots, too many bytes, what cannot be encoded."""
    assert why_not_local(name)


@pytest.mark.parametrize("name", ["x" * 255, "ü" * 127, "...", "-rf", "a\nb", "\udcff", " ", "%2F"])
def test_strange_names_that_can_be_local_are_taken(name: str) -> None:
    """Whatever the filesystem takes."""
    assert why_not_local(name) is None
