"""What appears on a terminal, and what must not appear in a pipe."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.commands import Commands
from tests.support.served import Served, random_bytes

DATA = random_bytes(3 << 20)
COLOUR = re.compile(rb"\x1b\[[0-9;]*[0-9]+[0-9;]*m")


def test_a_transfer_draws_a_bar_on_a_terminal(served: Served, netcache: Commands) -> None:
    """The name, the bytes, and the summary under it."""
    ran = netcache.on_terminal("get", served.put("data.bin", DATA))
    assert ran.code == 0
    assert b"data.bin" in ran.out
    assert b"3.0/3.0 MiB" in ran.out
    assert b"Done: 1 copied" in ran.out
    assert "━".encode() in ran.out


def test_a_tree_draws_a_total(served: Served, netcache: Commands) -> None:
    """One bar a file while it moves, and one for all."""
    for name in "abc":
        served.put(f"tree/{name}", DATA)
    ran = netcache.on_terminal("get", "-r", served.url + "tree")
    assert ran.code == 0
    assert b"total, 3 files" in ran.out


@pytest.mark.parametrize("flags", [["-q"], ["--json"]])
def test_no_bar_when_it_is_not_wanted(served: Served, netcache: Commands, flags: list[str]) -> None:
    """`-q` and `--json` draw nothing, also on a terminal."""
    ran = netcache.on_terminal("get", *flags, served.put("data.bin", DATA))
    assert ran.code == 0
    assert "━".encode() not in ran.out
    assert b"\x1b[" not in ran.out


def test_a_failed_transfer_leaves_its_error_and_no_bar(served: Served, netcache: Commands) -> None:
    """The last thing on the terminal is the line that says why."""
    ran = netcache.on_terminal("get", served.url + "nothing")
    assert ran.code == 3
    after_erasing = ran.out.rpartition(b"\x1b[2K")[2]
    assert after_erasing.removeprefix(b"\x1b[?25h\r").startswith(b"netcache: ")
    assert after_erasing.count(b"\n") == 1


def test_no_color_is_honoured(served: Served, netcache: Commands) -> None:
    """The bar stays, its colours do not."""
    url = served.put("data.bin", DATA)
    assert COLOUR.search(netcache.on_terminal("get", url, "one").out)
    ran = netcache.on_terminal("get", url, "two", NO_COLOR="1")
    assert ran.code == 0
    assert not re.search(rb"\x1b\[[0-9;]*3[0-9][;m]", ran.out)


def test_a_pipe_gets_no_bar_and_no_colours(served: Served, netcache: Commands) -> None:
    """Neither stdout nor stderr."""
    ran = netcache("get", served.put("data.bin", DATA))
    assert b"\x1b" not in ran.out
    assert ran.err == ""


def test_listings_on_a_terminal_are_tables_for_people(served: Served, netcache: Commands) -> None:
    """Short sizes; a header over the cached objects."""
    served.put("d/data.bin", DATA)
    assert b"3.0 MiB  20" in netcache.on_terminal("ls", "-l", served.url + "d").out
    netcache("warm", served.url + "d/data.bin")
    table = netcache.on_terminal("cache", "ls").out.split(b"\r\n")
    assert table[0].split()[:3] == [b"SIZE", b"CACHED", b"CONTENT"]
    assert table[1].split()[:4] == [b"3.0", b"MiB", b"3.0", b"MiB"]


@pytest.mark.parametrize("columns", [50, 120])
def test_the_map_fits_the_terminal(served: Served, netcache: Commands, columns: int) -> None:
    """The rows are as wide as the terminal, and no wider."""
    url = served.put("data.bin", DATA)
    netcache("warm", url, "--offset", "4KiB", "--count", "4KiB")
    lines = netcache.on_terminal("cache", "map", url, columns=columns).out.decode().split("\r\n")
    rows = [line for line in lines if "│" in line]
    assert max(len(row) for row in rows) == columns


def test_json_on_a_terminal_is_indented(served: Served, netcache: Commands) -> None:
    """Still one document."""
    assert b'{\r\n  "url"' in netcache.on_terminal("stat", "--json", served.put("a", b"1")).out


def test_a_missing_password_is_asked_for(tmp_path: Path, netcache: Commands) -> None:
    """On a terminal, without an echo; without one it is a usage error."""
    from tests.support.served import serve

    with serve(tmp_path / "www", user="u:secret") as served:
        url = served.put("a", b"content")
        ran = netcache.on_terminal(
            "--user", "u", "cat", url, answer=(b"Password of u: ", b"secret\n")
        )
        assert ran.code == 0
        assert b"secret" not in ran.out
        assert ran.out.endswith(b"content")
        ran = netcache("--user", "u", "cat", url)
        assert ran.code == 2
        assert "--user USER:PASSWORD" in ran.error
