"""Crews of the command line: however it ends, its hands end with it."""

from __future__ import annotations

import contextlib
import os
import signal

import psutil  # type: ignore[import-untyped]
import pytest

from netcache_server import FaultRule
from tests.support.commands import Commands
from tests.support.served import Served, random_bytes

LIMIT_S = 30
FILES = 500
SLOW_FROM = 300


@pytest.fixture
def tree(served: Served) -> str:
    """A tree whose last files take so long that nobody comes to its end."""
    for n in range(FILES):
        served.put(f"tree/{n:03}", random_bytes(100, n))
    served.server.set_faults(
        [FaultRule(path="/tree/?*", skip=SLOW_FROM, latency_s=0.2)],
    )
    return f"{served.url}tree/"


def hand_of(process: psutil.Process) -> psutil.Process:
    """The hand of a command, once it has one."""
    while True:
        for child in process.children():
            if any("crew" in arg for arg in child.cmdline()):
                return child
        assert process.status() != psutil.STATUS_ZOMBIE, "the command has ended"


def wait_for_end(hand: psutil.Process) -> None:
    """Return when it has ended; who inherits it may leave it a zombie for a while."""
    for _ in range(20 * LIMIT_S):
        with contextlib.suppress(psutil.TimeoutExpired):
            hand.wait(timeout=0.05)
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            if hand.status() == psutil.STATUS_ZOMBIE:
                return
    raise AssertionError("a hand outlives its command")


@pytest.mark.parametrize(
    ("number", "group"),
    [
        (signal.SIGINT, True),
        (signal.SIGINT, False),
        (signal.SIGTERM, False),
        (signal.SIGKILL, False),
    ],
)
def test_hands_end_with_the_command(
    served: Served, netcache: Commands, tree: str, number: signal.Signals, *, group: bool
) -> None:
    """Interrupted by the terminal or alone, ended or killed: nothing partial is left either."""
    with netcache.started("sync", "--processes=2", tree, "out", start_new_session=True) as process:
        hand = hand_of(psutil.Process(process.pid))
        while served.count() < SLOW_FROM + 20:
            assert process.poll() is None
        if group:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        _, err = process.communicate(timeout=LIMIT_S)
    wait_for_end(hand)
    assert process.returncode == (-9 if number is signal.SIGKILL else 130)
    assert err == b""
    out = {path.name: path.read_bytes() for path in (netcache.home / "out").iterdir()}
    assert SLOW_FROM <= len(out) < FILES
    assert out == {name: (served.root / "tree" / name).read_bytes() for name in out}


def test_the_command_line_uses_hands_by_itself_for_many_small_files(
    served: Served, netcache: Commands
) -> None:
    """One process and several print the same, and ask for the same."""
    for n in range(FILES):
        served.put(f"tree/{n:03}", random_bytes(100, n))
    found = []
    for processes in ("1", "2"):
        served.forget()
        ran = netcache(
            *("sync", "--json", f"{served.url}tree/", f"out{processes}"),
            NETCACHE_PROCESSES=processes,
            NETCACHE_CACHE_DIR=str(netcache.home / f"cache{processes}"),
        )
        paths = sorted(record["path"] for record in served.requests())
        found.append((ran.code, ran.document, ran.err, paths))
    assert found[0] == found[1]
    assert found[0][0] == 0
