"""Hands that are lost in the middle of their work: the run is whole all the same."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

import netcache
from netcache._core.progress import ProgressEvent
from netcache_server import FaultRule
from tests.integration.conftest import NewClient
from tests.support.crews import CrewWatch, content, crew, no_hand_is_left, tree
from tests.support.served import Served

__all__ = ["crew", "no_hand_is_left", "tree"]


def test_a_hand_that_is_killed_leaves_its_files_to_this_process(
    served: Served, tree: dict[str, bytes], crew: CrewWatch, new_client: NewClient, tmp_path: Path
) -> None:
    """The run is whole, nothing lies about, and nobody is told."""
    crew.kill_at = 3
    warnings: list[str] = []
    client = new_client(processes=2, on_warning=warnings.append)
    report = client.sync(f"{served.url}tree/", tmp_path / "out")
    assert (report.copied, report.errors, warnings) == (len(tree), [], [])
    assert {name: data for name, (data, _) in content(tmp_path / "out").items()} == tree
    assert crew.ordered >= 3
    assert crew.hands[0].is_gone


def test_a_hand_that_is_killed_gives_its_share_back(
    served: Served, tree: dict[str, bytes], crew: CrewWatch, new_client: NewClient, tmp_path: Path
) -> None:
    """At once, and not at the end of the run: what is left is this process's alone."""
    crew.kill_at = 3
    kept_to: list[int] = []
    crew.before_file = lambda: kept_to.append(crew.limits[-1])
    new_client(processes=2, transfers=6).sync(f"{served.url}tree/", tmp_path / "out")
    assert crew.limits == [3, 6]
    assert kept_to[0] == 3
    assert kept_to[-1] == 6


def test_of_two_runs_each_gives_back_its_own_share(
    served: Served, tree: dict[str, bytes], crew: CrewWatch, tmp_path: Path
) -> None:
    """The first that ended gave this process back what the hand of the other had."""

    async def both() -> list[int]:
        options = {"cache_dir": tmp_path / "cache", "processes": 2, "transfers": 6}
        async with netcache.AsyncClient(**options) as client:  # type: ignore[arg-type]
            runs = [client.sync(f"{served.url}tree/", tmp_path / out) for out in ("a", "b")]
            return [report.copied for report in await asyncio.gather(*runs)]

    assert asyncio.run(both()) == [len(tree)] * 2
    assert len(crew.hands) == 2
    assert crew.limits == [3, 1, 3, 6]


def test_all_hands_may_be_killed(
    served: Served, tree: dict[str, bytes], crew: CrewWatch, new_client: NewClient, tmp_path: Path
) -> None:
    """Whatever comes back is not given to the next of them."""
    crew.kill_at = 1
    report = new_client(processes=4).sync(f"{served.url}tree/", tmp_path / "out")
    assert (report.copied, report.errors) == (len(tree), [])
    assert [hand.is_gone for hand in crew.hands] == [True] * 3


@pytest.mark.parametrize("processes", [2, 3])
def test_a_hand_that_is_stopped_is_given_up_within_the_timeout(
    served: Served,
    tree: dict[str, bytes],
    crew: CrewWatch,
    new_client: NewClient,
    tmp_path: Path,
    processes: int,
) -> None:
    """It never ends by itself: the run waited for what it had for ever."""
    crew.kill_at, crew.kill_by = 2, signal.SIGSTOP
    events: list[ProgressEvent] = []
    client = new_client(processes=processes, timeout=1.0)
    report = client.sync(f"{served.url}tree/", tmp_path / "out", progress=events.append)
    assert (report.copied, report.errors) == (len(tree), [])
    assert {name: data for name, (data, _) in content(tmp_path / "out").items()} == tree
    # Each once: what came back is done here, and told then.
    done = [event.name for event in events if event.kind == "done"]
    assert sorted(done) == sorted(tree)
    assert set(crew.given_up) == set(crew.hands)
    assert len(crew.given_up) == processes - 1


def test_a_hand_that_waits_for_a_slow_server_is_not_given_up(
    served: Served, tree: dict[str, bytes], crew: CrewWatch, new_client: NewClient, tmp_path: Path
) -> None:
    """It has no answers for longer than the timeout, and says that it is alive."""
    served.server.set_faults([FaultRule(path="/tree/*/?*", latency_s=4.0, count=2)])
    client = new_client(processes=2, transfers=2, timeout=3.0)
    report = client.sync(f"{served.url}tree/", tmp_path / "out")
    assert (report.copied, report.errors) == (len(tree), [])
    assert crew.ordered
    assert crew.given_up == []
