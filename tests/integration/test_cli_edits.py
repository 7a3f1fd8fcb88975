"""``netcache recover`` and ``netcache conflicts``."""

from __future__ import annotations

from pathlib import Path

import pytest

from netcache_server import FaultRule
from tests.crash.test_journal import BIG, killed_writer
from tests.support.commands import Commands
from tests.support.served import Served, random_bytes


@pytest.fixture
def url(served: Served, netcache: Commands) -> str:
    """A resource that a killed program was editing."""
    url = served.put("big", BIG)
    killed_writer(netcache.cache, url)
    return url


def test_recover_uploads_and_says_so(url: str, served: Served, netcache: Commands) -> None:
    """Until then ``cache status`` tells of it; afterwards there is nothing."""
    (dirty,) = netcache("cache", "status", "--json").document["dirty"]
    assert dirty["url"] == url
    assert dirty["conflict"] == ""
    assert (served.root / "big").read_bytes() == BIG
    done = netcache("recover")
    assert done.code == 0
    assert f"{url}: " in done.text
    assert "uploaded" in done.text
    assert (served.root / "big").read_bytes()[5000:5005] == b"first"
    assert netcache("recover").text == "Nothing to recover.\n"
    assert netcache("cache", "status", "--json").document["dirty"] == []


def test_a_conflict_is_listed_saved_and_dropped(
    url: str, served: Served, netcache: Commands, tmp_path: Path
) -> None:
    """Exit 4; the other's bytes stay through all of it."""
    theirs = random_bytes(len(BIG), 3)
    served.put("big", theirs)
    done = netcache("recover", "--json")
    assert done.code == 4
    assert done.document[0]["code"] == 4
    (conflict,) = netcache("conflicts", "ls", "--json").document
    assert conflict["url"] == url
    assert conflict["conflict"]
    assert conflict["name"] in netcache("conflicts", "ls").text
    assert "1 conflict" in netcache("cache", "status").text
    saved = netcache("conflicts", "save", conflict["name"], tmp_path / "mine")
    assert saved.code == 0
    assert (tmp_path / "mine").read_bytes()[:5005] == BIG[:5000] + b"first"
    assert netcache("cache", "clear").code == 0
    assert netcache("conflicts", "drop", conflict["name"]).code == 0
    assert netcache("conflicts", "ls", "--json").document == []
    assert (served.root / "big").read_bytes() == theirs
    assert netcache("conflicts", "drop", conflict["name"]).code == 3


def test_a_conflict_can_be_pushed(url: str, served: Served, netcache: Commands) -> None:
    """Over what is there now: only the bytes that were changed."""
    theirs = random_bytes(len(BIG), 3)
    served.put("big", theirs)
    assert netcache("recover").code == 4
    (conflict,) = netcache("conflicts", "ls", "--json").document
    assert netcache("conflicts", "push", conflict["name"]).code == 0
    found = (served.root / "big").read_bytes()
    assert found[5000:5005] == b"first"
    assert found[:4096] == theirs[:4096]
    assert netcache("conflicts", "ls").text == ""


def test_without_a_server_the_edit_waits(url: str, served: Served, netcache: Commands) -> None:
    """Exit 5, and the edit is still there."""
    served.server.stop()
    assert netcache("recover", "--retries", "0").code == 5
    assert len(netcache("cache", "status", "--json").document["dirty"]) == 1


@pytest.mark.parametrize("quiet", [False, True])
@pytest.mark.parametrize("verb", ["get", "cat", "stat"])
def test_a_command_warns_of_an_edit_that_it_could_not_send(
    url: str, verb: str, quiet: bool, served: Served, netcache: Commands
) -> None:
    """With one line of ours, or with none, also where it asks for too little to import a log."""
    other = served.put("other", b"other")
    served.put("big", BIG[::-1])
    for latency_s in (1.0, 5.0, 20.0):
        # The edit is sent beside what is asked for; a command that is done first drops it.
        served.server.set_faults([FaultRule(path="/other", latency_s=latency_s)])
        ran = netcache(*["-q"] * quiet, verb, other)
        assert ran.code == 0
        if netcache("conflicts", "ls", "--json").document:
            break
        assert ran.err == ""
    else:
        pytest.fail("the edit is never sent")
    if quiet:
        assert ran.err == ""
    else:
        assert ran.error.startswith(f"netcache: warning: an edit of {url} was not uploaded: ")
