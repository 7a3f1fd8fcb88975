"""What is printed: names, columns, summaries, errors."""

from __future__ import annotations

import errno
import logging
import os
import sys

import click
import pytest

from netcache._client.report import ItemError, Report
from netcache.errors import NotFoundError
from netcache.spi import ResourceInfo
from netcache_cli.failing import Failure, describe
from netcache_cli.listing import info_as_json, listing_lines
from netcache_cli.logs import LogFormatter
from netcache_cli.summary import summary_line
from netcache_cli.text import columns, format_time, printable

FILE = ResourceInfo("http://h/d/a.txt", "a.txt", "file", 1536, 1_700_000_000.0, '"x"')
FOLDER = ResourceInfo("http://h/d/sub/", "sub", "directory", None, None, None)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain name.txt", "plain name.txt"),
        ("größe·文", "größe·文"),
        ("a\nb", "a\\nb"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("right\u202eleft", "right\\u202eleft"),
        ("raw\udcff", "raw\udcff"),
    ],
)
def test_names_cannot_move_the_cursor(name: str, shown: str) -> None:
    """Control characters are escaped; undecodable bytes go through as they are."""
    assert printable(name) == shown


def test_a_listing_shows_names_and_marks_folders() -> None:
    """Without `-l` there is nothing else."""
    assert listing_lines([FILE, FOLDER], long=False, on_terminal=False) == ["a.txt", "sub/"]


def test_a_long_listing_in_a_pipe_has_fixed_columns() -> None:
    """Exact sizes, UTC times, no tabs, the name last."""
    assert listing_lines([FILE, FOLDER], long=True, on_terminal=False) == [
        "file                 1536 2023-11-14T22:13:20Z a.txt",
        "directory               - -                    sub/",
    ]


def test_a_long_listing_on_a_terminal_is_made_for_reading() -> None:
    """Short sizes, columns as wide as they need to be."""
    first, second = listing_lines([FILE, FOLDER], long=True, on_terminal=True)
    assert first.startswith("1.5 KiB  2023-11-1")
    assert first.endswith("  a.txt")
    assert second.split() == ["-", "-", "sub/"]


def test_a_resource_as_json() -> None:
    """The documented keys, whole seconds as integers, null for what is unknown."""
    assert info_as_json(FILE) == {
        "url": "http://h/d/a.txt",
        "type": "file",
        "size": 1536,
        "mtime": 1_700_000_000,
        "etag": '"x"',
    }
    assert info_as_json(FOLDER)["mtime"] is None
    assert info_as_json(FILE._replace(mtime_s=1.5))["mtime"] == 1.5


def test_times_out_of_range_are_unknown() -> None:
    """A server may send any number."""
    assert format_time(1e300, exact=True) == "-"
    assert format_time(None, exact=False) == "-"


def test_columns_are_aligned() -> None:
    """Left by default, and no spaces at the ends of lines."""
    assert columns([("1", "a", "x"), ("22", "bb", "")], right=frozenset({0})) == [
        " 1  a   x",
        "22  bb",
    ]
    assert columns([]) == []


def report(copied: int = 0, deleted: int = 0, failed: int = 0, size: int = 0) -> Report:
    """A report with these figures."""
    made = Report()
    made.copied, made.deleted, made.bytes = copied, deleted, size
    made.unchanged = 3
    made.errors = [ItemError("x", "why", 5)] * failed
    return made


def test_the_summary_has_all_figures() -> None:
    """Copied, unchanged, deleted, failed, bytes."""
    line = summary_line(report(1, 2, 4, 5000), fetched=False)
    assert line == "Done: 1 copied, 3 unchanged, 2 deleted, 4 failed, 5000 bytes (4.9 KiB)"


def test_the_summary_says_plainly_that_there_was_nothing_to_do() -> None:
    """Whoever looks for a sign of life finds a sentence."""
    assert summary_line(report(), fetched=True).startswith("Nothing to transfer: 0 copied, 3 unch")


def test_the_summary_tells_what_came_from_the_cache() -> None:
    """For transfers towards us, the bytes that the server sent."""
    made = report(1, size=5000)
    made.fetched_bytes = 10
    assert summary_line(made, fetched=True).endswith(
        "5000 bytes (4.9 KiB), 10 of them from the server"
    )
    assert "server" not in summary_line(made, fetched=False)


def test_the_summary_of_a_dry_run_says_would() -> None:
    """It must not read like something done."""
    assert summary_line(report(1, size=5), fetched=True, dry_run=True).startswith(
        "Would be: 1 copied"
    )


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (
            NotFoundError("read of http://h/x failed: 404", url="http://h/x"),
            Failure("read of http://h/x failed: 404", 3, "http://h/x"),
        ),
        (
            FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "here\nthere"),
            Failure("no such file or directory: here there", 3),
        ),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), Failure("no space left on device", 11)),
        (OSError(errno.EDQUOT, "quota"), Failure("quota", 11)),
        (
            PermissionError(errno.EACCES, "Permission denied", "f"),
            Failure("permission denied: f", 1),
        ),
        (click.UsageError("Bad thing."), Failure("bad thing", 2)),
        (
            KeyError("x"),
            Failure("internal error: KeyError: 'x' (-vv shows where; please report it)", 1),
        ),
    ],
)
def test_errors_become_one_line_and_a_code(error: Exception, failure: Failure) -> None:
    """Ours, the system's, click's, and those that ought not to happen."""
    told = describe(error)
    assert "\n" not in told.message
    assert told.code == failure.code
    assert told.url == failure.url
    if "here" not in failure.message:
        assert told.message == failure.message


def test_the_log_is_printable() -> None:
    """Names and messages of a server do not move the cursor, in records nor in their tracebacks."""
    try:
        raise ValueError("\x1b[31mred\x9b")
    except ValueError:
        info = sys.exc_info()
    record = logging.LogRecord("netcache", 30, "x", 1, "listing of %s\r", ("\x1b]0;t\x07",), info)
    told = LogFormatter("%(levelname)s %(message)s").format(record)
    assert told.startswith("WARNING listing of \\x1b]0;t\\x07\\r\nTraceback")
    assert told.endswith("ValueError: \\x1b[31mred\\x9b")
    assert told.replace("\n", "").isprintable()
