"""Commands that tests fork behave as commands that are started."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.command_forks import ROOT, Forks, forks_for, read_at_start
from tests.support.commands import Commands
from tests.support.samples import ALL
from tests.support.served import Served, random_bytes

pytestmark = pytest.mark.skipif(ALL, reason="NETCACHE_TEST_ALL=1: no command is forked")
DATA = random_bytes(300_000, 1)
NOTHING: Mapping[str, str] = {}


Ended = tuple[int, bytes, bytes]


def forked(
    netcache: Commands, *args: str, stdin: bytes = b"", environ: Mapping[str, str] = NOTHING
) -> Ended:
    """How it ends as a fork."""
    variables = {**netcache.environ, **environ}
    forks = forks_for(netcache.environ, variables, stdin)
    assert forks
    done = forks.run(args, stdin=stdin, cwd=netcache.home, environ=variables, timeout_s=60)
    return done.returncode, done.stdout, done.stderr


def started(netcache: Commands, *args: str, environ: Mapping[str, str] = NOTHING) -> Ended:
    """How it ends as a process that is started."""
    done = subprocess.run(
        netcache.line(*args),
        input=b"",
        capture_output=True,
        cwd=netcache.home,
        env={**netcache.environ, **environ},
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("args", "environ"),
    [
        (["--version"], {}),
        (["cat", "{url}a", "--offset", "5"], {}),
        (["cat", "{url}a", "--offset", "5"], {"NETCACHE_VALIDATE": "never"}),
        (["cat", "{url}none"], {}),
        (["cat", "no url"], {"NETCACHE_JSON": "1"}),
        (["put", "relative", "{url}new"], {}),
        (["put", "\udcff\n", "{url}new"], {}),
        (["sync", "--dry-run", "{url}", "out"], {"NETCACHE_JSON": "1"}),
        (["no-such-verb"], {}),
    ],
)
def test_a_fork_ends_as_a_process_that_was_started(
    served: Served, netcache: Commands, args: list[str], environ: dict[str, str]
) -> None:
    """The same code, the same bytes on both streams, in the same folder."""
    served.put("a", DATA)
    (netcache.home / "relative").write_bytes(b"content")
    words = [arg.format(url=served.url) for arg in args]
    assert forked(netcache, *words, environ=environ) == started(netcache, *words, environ=environ)


def test_a_fork_reads_its_input(served: Served, netcache: Commands) -> None:
    """To its end."""
    assert forked(netcache, "put", "-", served.url + "b", stdin=DATA[:60_000])[0] == 0
    assert (served.root / "b").read_bytes() == DATA[:60_000]


def test_nothing_that_commands_ask_for_is_imported_before() -> None:
    """Without asyncio in the process they take another way where nothing has to be fetched."""
    code = "{}from tests.support.command_stem import import_first; import_first()"
    for before, expected in (("", 0), ("import asyncio; ", 1)):
        done = subprocess.run(
            [sys.executable, "-c", code.format(before)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == expected, done.stderr
        assert ("asyncio" in done.stderr) == bool(expected)


def test_what_counts_at_the_start_has_a_process_started(netcache: Commands) -> None:
    """So does an input that no pipe holds."""
    usual = netcache.environ
    assert forks_for(usual, usual | {"NETCACHE_JSON": "1"}, b"")
    assert not forks_for(usual, usual | {"PYTHONIOENCODING": "ascii"}, b"")
    assert not forks_for(usual, usual | {"LC_ALL": "C"}, b"")
    assert not forks_for(usual, usual, bytes(1 << 20))


def test_a_fork_that_takes_too_long_is_killed(netcache: Commands, tmp_path: Path) -> None:
    """And the next one runs."""
    forks = Forks(read_at_start(netcache.environ))
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            forks.run(
                ["serve", os.fspath(tmp_path)],
                stdin=b"",
                cwd=tmp_path,
                environ=netcache.environ,
                timeout_s=1.0,
            )
        done = forks.run(
            ["--version"], stdin=b"", cwd=tmp_path, environ=netcache.environ, timeout_s=60
        )
        assert done.stdout.startswith(b"netcache ")
    finally:
        forks.close()
