"""Ctrl-C, SIGTERM, kill -9 and closed pipes."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import Commands
from tests.support.served import Served, random_bytes

MIB = 1 << 20
DATA = random_bytes(8 * MIB)
LIMIT_S = 30


def wait_for_cached(netcache: Commands, url: str, wanted: int) -> int:
    """Run `cache map` until so much of `url` is cached; returns how much."""
    for _ in range(200):
        ran = netcache("cache", "map", "--json", url)
        if ran.code == 0 and ran.document["cached_bytes"] >= wanted:
            return int(ran.document["cached_bytes"])
    raise AssertionError("the transfer makes no progress")


def names(folder: Path) -> set[str]:
    """What lies in the folder, hidden or not."""
    return {path.name for path in folder.iterdir()} - {"www", "cache"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_get_leaves_nothing_partial_and_goes_on_later(
    served: Served, netcache: Commands, number: signal.Signals
) -> None:
    """Exit code 130, no line too many, and what was cached is not fetched twice."""
    url = served.put("data.bin", DATA)
    with netcache.started("get", url, "--bwlimit", "4M") as process:
        wait_for_cached(netcache, url, 2 * MIB)
        process.send_signal(number)
        _, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 130
    assert err == b""
    assert names(netcache.home) == set()
    cached = wait_for_cached(netcache, url, 0)
    served.forget()
    assert netcache("get", url).code == 0
    assert (netcache.home / "data.bin").read_bytes() == DATA
    fetched = sum(r["bytes_sent"] for r in served.requests("GET") if not r["error"])
    assert fetched <= len(DATA) - cached


def test_a_killed_get_leaves_nothing_partial_and_goes_on_later(
    served: Served, netcache: Commands
) -> None:
    """SIGKILL gives no time to clean up, and needs none."""
    url = served.put("data.bin", DATA)
    with netcache.started("get", url, "--bwlimit", "4M") as process:
        wait_for_cached(netcache, url, 2 * MIB)
        process.kill()
        process.wait(LIMIT_S)
    assert names(netcache.home) == set()
    cached = wait_for_cached(netcache, url, 2 * MIB)
    served.forget()
    assert netcache("get", url).code == 0
    assert (netcache.home / "data.bin").read_bytes() == DATA
    fetched = sum(r["bytes_sent"] for r in served.requests("GET") if not r["error"])
    assert fetched <= len(DATA) - cached


def test_an_interrupted_put_of_stdin_publishes_nothing(served: Served, netcache: Commands) -> None:
    """Also while it waits for more: the other end of the pipe stays open."""
    url = served.url + "data.bin"
    with netcache.started("-vv", "put", "-", url, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(DATA)
        process.stdin.flush()
        process.send_signal(signal.SIGINT)
        assert process.wait(LIMIT_S) == 130
    assert names(served.root) == set()


def test_an_interrupted_sync_leaves_nothing_partial(served: Served, netcache: Commands) -> None:
    """Every file under its name is whole; the next run brings the rest."""
    for name in "abcd":
        served.put(f"t/{name}", DATA)
    with netcache.started("sync", served.url + "t", "copy", "--bwlimit", "8M") as process:
        wait_for_cached(netcache, served.url + "t/a", 1 * MIB)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=LIMIT_S)
    assert process.returncode == 130
    copy = netcache.home / "copy"
    assert names(copy) <= set("abcd") if copy.exists() else True
    assert all(
        (copy / name).read_bytes() == DATA for name in (names(copy) if copy.exists() else ())
    )
    assert netcache("sync", served.url + "t", "copy").code == 0
    assert names(copy) == set("abcd")


def piped_to_head(netcache: Commands, *args: str, **options: Any) -> tuple[int, bytes]:
    """Run it into a pipe whose reader takes ten bytes and goes; returns code and stderr."""
    with netcache.started(*args) as process:
        assert process.stdout is not None
        os.read(process.stdout.fileno(), 10)
        process.stdout.close()
        assert process.stderr is not None
        err = process.stderr.read()
        return process.wait(LIMIT_S), err


def test_a_closed_pipe_ends_it_quietly(served: Served, netcache: Commands) -> None:
    """`| head` has had enough: no message, no traceback, exit code 0."""
    url = served.put("data.bin", DATA)
    assert piped_to_head(netcache, "cat", url) == (0, b"")
    assert piped_to_head(netcache, "get", url, "-") == (0, b"")
    for at in range(300):
        served.put(f"many/{'x' * 200}{at}", b"")
    assert piped_to_head(netcache, "ls", "-l", served.url + "many") == (0, b"")
