"""`netcache cache verify [--repair]`, and damage as the other commands meet it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.commands import Commands
from tests.support.damage import flip, stray_tables, tables
from tests.support.served import Served, random_bytes
from tests.support.stores import object_file

KIB, MIB = 1024, 1 << 20
BLOCK = 4 * KIB
DATA = random_bytes(2 * MIB + 1234)


@pytest.fixture
def netcache(tmp_path: Path) -> Commands:
    """The command, with a cache of its own."""
    return Commands(tmp_path)


def test_verify_and_repair(served: Served, netcache: Commands) -> None:
    """The command finds damage, forgets it, and nothing else; the rest stays cached."""
    url = served.put("data", DATA)
    assert netcache("warm", url).code == 0
    assert netcache("cache", "verify").text == "nothing is wrong\n"
    path = object_file(netcache.cache)
    for place in (5 * BLOCK, 6 * BLOCK, MIB):
        flip(path, 8 * place)
    ran = netcache("cache", "verify", "--json")
    assert ran.code == 7
    assert [problem["why"] for problem in ran.document["problems"]] == [
        f"damaged at [{5 * BLOCK}, {7 * BLOCK})",
        f"damaged at [{MIB}, {MIB + BLOCK})",
    ]
    assert not any(problem["repaired"] for problem in ran.document["problems"])
    assert netcache("cache", "verify", url).code == 7, "a look changes nothing"
    ran = netcache("cache", "verify", "--repair", "--json")
    assert ran.code == 0
    assert all(problem["repaired"] for problem in ran.document["problems"])
    assert netcache("cache", "verify").text == "nothing is wrong\n"
    assert netcache("cache", "map", url, "--json").document["cached_bytes"] == (
        len(DATA) - 3 * BLOCK
    )
    served.forget()
    assert netcache("cat", url).out == DATA
    assert served.body_bytes() == 3 * BLOCK


def test_what_a_killed_upload_leaves_is_no_damage(served: Served, netcache: Commands) -> None:
    """A table of sums without its file; repair takes it away."""
    # Sums are put aside for the first time after 32 MiB; seconds later it would be complete.
    (netcache.home / "source").write_bytes(random_bytes(64 * MIB))
    with netcache.started("put", "source", served.url + "data", "--bwlimit", "8M") as process:
        while not tables(netcache.cache):
            assert process.poll() is None
        process.kill()
        process.wait(60)
    assert len(stray_tables(netcache.cache)) == 1
    assert netcache("cache", "verify").text == "nothing is wrong\n"
    assert netcache("cache", "verify", "--repair").text == "nothing is wrong\n"
    assert tables(netcache.cache) == []


def test_repair_of_what_is_not_believed_at_all(served: Served, netcache: Commands) -> None:
    """An object whose file was cut goes as a whole."""
    url = served.put("data", DATA)
    netcache("warm", url)
    os.truncate(object_file(netcache.cache), 10)
    assert netcache("cache", "verify").code == 7
    ran = netcache("cache", "verify", "--repair")
    assert ran.code == 0
    assert "(repaired)" in ran.text
    assert netcache("cache", "verify").text == "nothing is wrong\n"
    assert netcache("cat", url).out == DATA


def test_damage_offline_on_the_command_line(served: Served, netcache: Commands) -> None:
    """Exit code 7, one line, no wrong byte."""
    url = served.put("data", DATA)
    netcache("warm", url)
    flip(object_file(netcache.cache), 0)
    ran = netcache("--offline", "cat", url)
    assert ran.code == 7
    assert ran.out == b""


def test_a_lost_table_of_sums(served: Served, netcache: Commands) -> None:
    """Without it nothing of the object can be told: it goes as a whole."""
    url = served.put("data", DATA)
    netcache("warm", url)
    (table,) = tables(netcache.cache)
    table.unlink()
    ran = netcache("cache", "verify")
    assert ran.code == 7
    assert "sums" in ran.text
    assert netcache("cache", "verify", "--repair").code == 0
    assert netcache("cat", url).out == DATA


def test_an_older_format_is_fetched_again(served: Served, netcache: Commands) -> None:
    """Objects of format 1 are no objects of ours; nothing has to be done about it."""
    url = served.put("data", DATA)
    netcache("warm", url)
    path, name = object_file(netcache.cache), "user.CacheFiles.cache"
    label = bytearray(os.getxattr(path, name))
    label[18] = 1
    os.setxattr(path, name, bytes(label))
    (netcache.cache / "format").write_bytes(b"1\n")
    served.forget()
    assert netcache("cat", url).out == DATA
    assert served.body_bytes() == len(DATA)
    assert (netcache.cache / "format").read_bytes() == b"2\n"
    assert netcache("cache", "verify").text == "nothing is wrong\n"
