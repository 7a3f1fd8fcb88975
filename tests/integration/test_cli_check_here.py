"""`cat` of what is cached: one question without a loop, and all else as if there were none."""

from __future__ import annotations

from pathlib import Path

import pytest

from netcache_server import FaultRule
from tests.crash.test_journal import BIG, killed_writer
from tests.integration.test_cli_startup import imported_by
from tests.support.commands import Commands
from tests.support.damage import flip
from tests.support.served import Served, random_bytes, serve
from tests.support.stores import object_file

DATA = random_bytes(300_000)

REFUSALS = [(FaultRule(status=404), 3), (FaultRule(status=401), 10), (FaultRule(refuse=True), 5)]
"""What a server may say instead of an answer, and the exit codes."""


def asked(served: Served) -> list[tuple[str, int]]:
    """Methods and statuses since this was last asked."""
    requests = [(one["method"], one["status"]) for one in served.requests()]
    served.forget()
    return requests


def test_what_is_unchanged_is_shown_after_one_question(served: Served, netcache: Commands) -> None:
    """Which counts as a check: within the time that `--validate` gives nothing is asked."""
    url = served.put("a", DATA)
    netcache("warm", url)
    asked(served)
    for args, part in (
        ((url,), DATA),
        ((url, "--offset", "5000", "--count", "1000"), DATA[5000:6000]),
        ((url, "--offset", "299990"), DATA[299_990:]),
    ):
        assert netcache("cat", *args).out == part
        assert asked(served) == [("HEAD", 304)]
    assert netcache("cat", url, "--validate", "1h").out == DATA
    assert asked(served) == []
    assert netcache("stats", "--json").document["Updates"]["n"] >= 3


def test_what_has_changed_is_fetched(served: Served, netcache: Commands) -> None:
    """The old bytes are not shown; to have asked once more is all that it costs."""
    url = served.put("a", DATA)
    netcache("warm", url)
    served.put("a", DATA[::-1])
    asked(served)
    assert netcache("cat", url).out == DATA[::-1]
    assert asked(served) == [("HEAD", 200), ("HEAD", 200), ("GET", 200)]


def test_of_what_is_cached_in_part_the_rest_is_fetched_with_the_check(
    served: Served, netcache: Commands
) -> None:
    """One request as ever, for there is something to fetch."""
    url = served.put("a", DATA)
    assert netcache("cat", url, "--count", "10").out == DATA[:10]
    asked(served)
    assert netcache("cat", url, "--offset", "100000", "--count", "10").out == DATA[100_000:100_010]
    assert asked(served) == [("GET", 206)]
    assert netcache("cat", url, "--count", "10").out == DATA[:10]
    assert asked(served) == [("HEAD", 304)]


@pytest.mark.parametrize(("fault", "code"), REFUSALS)
def test_errors_are_told_as_ever(
    served: Served, netcache: Commands, fault: FaultRule, code: int
) -> None:
    """With the line and the exit code of the ordinary way."""
    url = served.put("a", DATA)
    netcache("warm", url)
    served.server.set_faults([fault])
    ran = netcache("cat", url, "--retries", "0")
    assert (ran.code, ran.out) == (code, b"")
    assert url in ran.error


def test_a_fault_of_one_answer_is_no_failure(served: Served, netcache: Commands) -> None:
    """It is asked again."""
    url = served.put("a", DATA)
    netcache("warm", url)
    served.server.set_faults([FaultRule(status=503, count=1)])
    asked(served)
    assert netcache("cat", url).out == DATA
    assert asked(served) == [("HEAD", 503), ("HEAD", 304)]


def test_what_is_damaged_is_not_shown(served: Served, netcache: Commands) -> None:
    """The check says nothing of the bytes; they are compared, and fetched again."""
    url = served.put("a", DATA)
    netcache("warm", url)
    flip(object_file(netcache.cache), 8 * 100_000)
    ran = netcache("cat", url)
    assert ran.out == DATA
    assert "damaged" in ran.err


def test_who_has_unsent_edits_makes_what_sends_them(served: Served, netcache: Commands) -> None:
    """As every command does that asks a server."""
    url, edited = served.put("a", b"text " * 1000), served.put("big", BIG)
    netcache("warm", url)
    assert "asyncio" not in imported_by(netcache, "cat", url)
    killed_writer(netcache.cache, edited)
    assert "netcache._netfs.recovery" in imported_by(netcache, "cat", url)


def test_the_log_tells_of_the_question(served: Served, netcache: Commands) -> None:
    """Where there is one."""
    url = served.put("a", DATA)
    netcache("warm", url)
    assert f"HEAD {url}: 304" in netcache("-vv", "cat", url).err


def test_credentials_go_with_it(tmp_path: Path, netcache: Commands) -> None:
    """Those of the URL, and those of the options."""
    with serve(tmp_path / "guarded", user="ann:secret") as served:
        url = served.put("a", DATA)
        with_them = url.replace("http://", "http://ann:secret@")
        assert netcache("warm", with_them).code == 0
        for args in ((with_them,), ("--user", "ann:secret", url)):
            asked(served)
            assert netcache("cat", *args).out == DATA
            assert asked(served) == [("HEAD", 304)]
        assert netcache("cat", url).code == 10
