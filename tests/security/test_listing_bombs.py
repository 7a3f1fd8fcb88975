"""Folder pages that are made to cost memory or time: what they cost is bounded by their bytes."""

from __future__ import annotations

import json
import logging
import subprocess
import sys

import pytest

from netcache.backends.http_html_index import read_index
from netcache.backends.http_listing import DROPPED_NAMES_TOLD, NAME_BYTES_MAX, parse_listing
from netcache.backends.json_array import ELEMENT_BYTES_MAX, elements_of
from netcache.errors import RemoteProtocolError

URL = "http://host.invalid/d/"
JSON = "application/json"
HEAD = b"<html><title>Index of /</title><body>"

BOMBS: dict[str, tuple[bytes, bytes]] = {
    # What the page begins with, and what it repeats.
    "many small objects": (b"[", b"{},"),
    "an object full of objects": (b'[{"name":"a","x":[', b"[],"),
    "brackets": (b"", b"["),
    "a name without end": (b'[{"name":"\xf0\x9f\x98\x80', b"a"),
    "a number without end": (b'[{"name":"a","size":', b"9"),
    "space": (b"[", b" "),
    "elements": (HEAD, b"<b>x</b>"),
    "paragraphs": (HEAD, b"<p>"),
    "deep elements": (HEAD, b"<div>"),
    "headings in headings": (HEAD, b"<h1>x"),
    "cells": (HEAD + b"<table><tr>", b"<td><a href=a>b</a>"),
    "an endless tag": (HEAD + b"<a ", b"x=1 "),
    "ends without beginnings": (HEAD, b"</b>"),
    "an endless comment": (HEAD + b"<!--", b"<!--"),
    "no index": (b"<html><body>", b"<a href=x>y</a>"),
}

_PARSE_ALL = """
import resource
from lxml import etree
from netcache.backends.http_listing import parse_listing
from netcache.errors import RemoteProtocolError
from tests.security.test_listing_bombs import BOMBS, HEAD

parse_listing("http://h.invalid/", "text/html", HEAD)
with open("/proc/self/statm") as file:
    have = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (have + (16 << 20),) * 2)
for name, (begin, again) in BOMBS.items():
    page = begin + again * ((1 << 20) // len(again))
    try:
        entries = len(parse_listing("http://h.invalid/", "", page))
    except RemoteProtocolError as error:
        assert "\\n" not in str(error) and len(str(error)) < 300, name
        entries = -1
    print(name, entries, sep=": ", flush=True)
"""


def test_bombs_are_read_in_little_memory() -> None:
    """Pages of 1 MiB with 16 MiB of address space to spare: each ends with entries or one line."""
    done = subprocess.run(
        [sys.executable, "-c", _PARSE_ALL], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = dict(line.rsplit(": ", 1) for line in done.stdout.splitlines())
    assert found.keys() == BOMBS.keys()
    harmless = {name for name, entries in found.items() if entries != "-1"}
    assert harmless == {"elements", "paragraphs", "cells"}


def test_many_attributes_end_the_reading() -> None:
    """A tag whose attributes would be compared each with each is no index's."""
    attributes = " ".join(f"x{number}=1" for number in range(65))
    page = HEAD + f"<a {attributes}>".encode()
    with pytest.raises(RemoteProtocolError, match="no index is built like this"):
        parse_listing(URL, "text/html", page)


def test_a_link_gets_the_text_behind_it_in_bounded_pieces() -> None:
    """Neither a link nor what follows it grows with the page."""
    page = HEAD + b'<a href="f">' + b"x" * 100_000 + b"</a>" + b"y" * 100_000
    (link,) = read_index(page, None)
    assert link.href == "f"
    assert 0 < len(link.text) <= 1024
    page = HEAD + b'<a href="' + b"x" * 40_000 + b'">z</a><a href="f">f</a>'
    assert [link.href for link in read_index(page, None)] == ["f"]


def test_names_that_are_dropped_are_told_in_few_short_lines(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A thousand bad names do not make a thousand lines of log, nor one long name a long one."""
    caplog.set_level(logging.INFO, "netcache")
    names = ["x" * (NAME_BYTES_MAX + 1), "x" * NAME_BYTES_MAX, *[".."] * 1000]
    page = json.dumps([{"name": name} for name in names]).encode()
    (entry,) = parse_listing(URL, JSON, page)
    assert entry.name == "x" * NAME_BYTES_MAX
    assert len(caplog.records) == DROPPED_NAMES_TOLD + 1
    assert "1001 names in all" in caplog.records[-1].getMessage()
    assert all(len(record.getMessage()) < 300 for record in caplog.records)


@pytest.mark.parametrize("around", ["", " ", "\n\t "])
def test_an_array_is_read_like_the_standard_reader_reads_it(around: str) -> None:
    """Also where elements, escapes and characters lie across the edges of the windows."""
    value = [{"name": "ä\u20ac\U0001f600" * length, "n": [1, {"x": None}]} for length in range(900)]
    text = json.dumps(value, ensure_ascii=False, separators=(f"{around},{around}", ":"))
    body = f"{around}{text}{around}".encode()
    assert len(body) > 10 * ELEMENT_BYTES_MAX
    assert list(elements_of(body)) == value


@pytest.mark.parametrize(
    "text",
    ["x", "[", "[1", "[1,", "[1,]", "[,1]", "[,]", "[1 2]", "[1]]", "[1],", "[1}", '["', "[1,,2]"],
)  # fmt: skip
def test_what_is_no_array_is_refused(text: str) -> None:
    """As the standard reader refuses it."""
    with pytest.raises(ValueError, match=r".+"):
        json.loads(text)
    with pytest.raises(ValueError, match=r".+"):
        list(elements_of(text.encode()))


def test_bytes_that_are_not_text_come_through() -> None:
    """They are surrogates, as in names of files; one at a window's edge, too."""
    body = b'["' + b"x" * (ELEMENT_BYTES_MAX - 9) + b'","\xff\xfe"]'
    assert list(elements_of(body))[1] == "\udcff\udcfe"
    assert list(elements_of(b"[]")) == []
