"""Request targets as paths."""

from __future__ import annotations

import os

import pytest

from netcache_server.paths import BadPathError, parse_target, quote_segment


@pytest.mark.parametrize(
    ("target", "text", "folder"),
    [
        ("/", "/", True),
        ("/a", "/a", False),
        ("/a/b/", "/a/b/", True),
        ("//a///b", "/a/b", False),
        ("/a%20b?x=1#f", "/a b", False),
        ("http://host:1/a", "/a", False),
        ("HTTP://host", "/", True),
        ("/%C3%A4", "/ä", False),
        ("/..a/...", "/..a/...", False),
    ],
)
def test_target_becomes_a_path(target: str, text: str, folder: bool) -> None:
    """Segments are decoded, empty ones dropped; the last slash is remembered."""
    path = parse_target(target)
    assert (path.text, path.trailing_slash) == (text, folder)


@pytest.mark.parametrize(
    "target",
    ["", "a", "*", "/..", "/a/../b", "/%2e%2e/a", "/.%2E", "/.", "/a/.", "/a%2fb", "/a%2Fb",
     "/a%5cb", "/a\\b", "/a%00", "/%", "/%2", "/%zz", "/" + "a/" * 600],
)  # fmt: skip
def test_targets_that_are_refused(target: str) -> None:
    """Dot segments, separators and NUL in a segment, and bad escapes are not paths."""
    with pytest.raises(BadPathError):
        parse_target(target)


def test_bytes_that_are_not_utf8_survive() -> None:
    """A name of any bytes comes back as the same bytes."""
    path = parse_target("/%ff%fe")
    assert os.fsencode(path.segments[0]) == b"\xff\xfe"
    assert path.encoded == "/%FF%FE"


def test_a_path_sent_back_cannot_name_another_host() -> None:
    """A target with two leading slashes is not sent back as one."""
    assert parse_target("//evil.example/x").encoded == "/evil.example/x"
    assert quote_segment("a b?#%ä") == "a%20b%3F%23%25%C3%A4"


@pytest.mark.parametrize("target", ["/.netcache/faults", "/a/.netcache-part-1", "/.netcache"])
def test_names_of_the_server_are_reserved(target: str) -> None:
    """Files in progress and the server's own folder are not for clients."""
    assert parse_target(target).reserved
    assert not parse_target("/a/.netcache").reserved
