"""Crews: other processes bring the small files of a tree, and nothing else is changed by that."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import sys
from base64 import b64encode
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

import netcache
from netcache._client.crew.conditions import PROCESSES_MAX, processes_of, why_alone
from netcache._client.options import ClientOptions
from netcache._client.report import ItemError
from netcache._core.progress import ProgressEvent
from netcache._core.readplan import COMES_WHOLE_BYTES
from netcache.backends.memory import MemoryBackend
from netcache_server import FaultRule
from netcache_server.auth import Gate
from netcache_server.reply import HttpProblem
from tests.integration.conftest import NewClient
from tests.support.crews import CrewWatch, children, content, crew, fill, no_hand_is_left, tree
from tests.support.served import Served, random_bytes, serve
from tests.support.treecheck import names_below

__all__ = ["crew", "no_hand_is_left", "tree"]


def test_two_processes_bring_what_one_brings_and_count_it_the_same(
    served: Served, tree: dict[str, bytes], crew: CrewWatch, new_client: NewClient, tmp_path: Path
) -> None:
    """Bytes, times, reports, requests, progress of each file, counters and saved counters."""
    found: list[list[Any]] = []
    for processes in (1, 2):
        events: list[ProgressEvent] = []
        served.forget()
        client = new_client(processes=processes, cache_dir=tmp_path / f"cache{processes}")
        out = tmp_path / f"out{processes}"
        report = client.sync(f"{served.url}tree/", out, progress=events.append)
        client.close()
        saved = client.stats()
        told = sorted(event for event in events if event.kind != "plan")
        asked = sorted(record["path"] for record in served.requests())
        kept = {name: saved[name] for name in ("DownOps", "CaWrOps", "Misses", "Acquire", "IO")}
        found.append([report.as_json(), content(out), told, asked, kept])
        with netcache.Client(cache_dir=tmp_path / f"cache{processes}") as after:
            assert after.cache.stats()["DownOps"] == saved["DownOps"]
    assert found[0] == found[1]
    assert {name: data for name, (data, _) in found[0][1].items()} == tree
    assert [hand.ordered > 0 for hand in crew.hands] == [True]
    assert 0 < crew.ordered < len(tree)


def test_what_hands_have_brought_is_in_the_cache(
    served: Served, tree: dict[str, bytes], crew: CrewWatch, new_client: NewClient, tmp_path: Path
) -> None:
    """A second copy asks for nothing but the listings, and an offline one not for those."""
    client = new_client(processes=2)
    client.get(f"{served.url}tree/", tmp_path / "out", recursive=True)
    assert crew.ordered
    with new_client(offline=True) as offline:
        offline.sync(f"{served.url}tree/", tmp_path / "again")
    assert content(tmp_path / "again") == content(tmp_path / "out")
    assert not (served.root / "tree" / "0" / "0").samefile(tmp_path / "out" / "0" / "0")


def lose(folder: Path) -> None:
    """Remove a folder, if it is there."""
    with contextlib.suppress(FileNotFoundError):
        folder.rmdir()


def test_errors_are_told_as_by_one_process(
    served: Served, tree: dict[str, bytes], crew: CrewWatch, new_client: NewClient, tmp_path: Path
) -> None:
    """Of the server and of the disk: names, messages, codes, and the counts beside them."""
    served.server.set_faults(
        [FaultRule(path="/tree/1/?*", status=404), FaultRule(path="/tree/2/?*", status=403)]
    )
    found: list[tuple[list[ItemError], int, list[str]]] = []
    for processes in (1, 2):
        out = tmp_path / "out"
        crew.before_file = lambda: lose(tmp_path / "out" / "0")
        client = new_client(processes=processes, cache_dir=tmp_path / f"cache{processes}")
        report = client.sync(f"{served.url}tree/", out)
        found.append((report.errors, report.copied, names_below(out)))
        shutil.rmtree(out)
    assert found[0] == found[1]
    errors, copied, names = found[0]
    assert (copied, names) == (0, ["1", "2"])
    assert {error.code for error in errors if error.name.startswith("0/")} == {3}
    assert len(errors) == len(tree)
    assert crew.ordered


def test_a_cancelled_run_ends_its_hands_before_it_returns(
    served: Served, tree: dict[str, bytes], crew: CrewWatch, tmp_path: Path
) -> None:
    """In the middle of their work, of which nothing partial is left."""
    served.server.set_faults([FaultRule(path="/tree/*/?*", skip=10, latency_s=60)])
    counts: dict[str, int] = {}

    async def cancelled() -> None:
        at_work = asyncio.Event()
        crew.before_file = lambda: at_work.set() if crew.ordered >= 2 else None
        async with netcache.AsyncClient(cache_dir=tmp_path / "cache", processes=2) as client:
            running = asyncio.create_task(client.sync(f"{served.url}tree/", tmp_path / "out"))
            await at_work.wait()
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            assert children() == []
            counts.update((await client.stats())["DownOps"])

    asyncio.run(cancelled())
    assert [hand.is_gone for hand in crew.hands] == [True]
    there = {name: data for name, (data, _) in content(tmp_path / "out").items()}
    assert there.items() <= tree.items()
    assert counts["DL"] == counts["ds"] >= len(there)


@pytest.mark.parametrize("program", ["#!/bin/sh\nexit 3\n", None], ids=["fails", "is_not_there"])
def test_a_hand_that_cannot_start_is_not_missed(
    served: Served,
    tree: dict[str, bytes],
    crew: CrewWatch,
    new_client: NewClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    program: str | None,
) -> None:
    """Its program fails, or there is none; this process has all the lanes."""
    python = tmp_path / "python3"
    if program is not None:
        python.write_text(program)
        python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    report = new_client(processes=3, transfers=6).sync(f"{served.url}tree/", tmp_path / "out")
    assert (report.copied, report.errors) == (len(tree), [])
    assert len(crew.hands) == 2
    assert crew.ordered == 0
    assert crew.limits == [], "nothing is lent to those that are not there"


def at_once(records: list[dict[str, Any]]) -> int:
    """How many requests were under way at the same time, at most."""
    moments: list[tuple[float, int]] = []
    for record in records:
        begun = datetime.fromisoformat(record["time"]).timestamp()
        # The log tells the beginning to a millisecond.
        moments += [(begun + 0.001, 1), (begun + record["duration_ms"] / 1000, -1)]
    count = most = 0
    for _, step in sorted(moments):
        count += step
        most = max(most, count)
    return most


@pytest.mark.parametrize("processes", [2, 3, 4])
def test_no_more_is_under_way_than_transfers(
    served: Served,
    tree: dict[str, bytes],
    crew: CrewWatch,
    new_client: NewClient,
    tmp_path: Path,
    processes: int,
) -> None:
    """Large files over all processes, and of small ones what the server has at a time."""
    large = {f"large/{n}": random_bytes(COMES_WHOLE_BYTES + 1 + n, n) for n in range(16)}
    for name, data in large.items():
        served.put(f"tree/{name}", data)
    served.server.set_faults([FaultRule(method=("GET",), path="/tree/*/*?", latency_s=0.02)])
    report = new_client(processes=processes, transfers=4).sync(f"{served.url}tree/", tmp_path / "o")
    assert report.copied == len(tree) + len(large)
    records = [record for record in served.requests("GET") if not record["path"].endswith("/")]
    assert at_once([each for each in records if "large" in each["path"]]) == 4
    # The first of each process, before it has lanes, may go beside those of the others.
    small = sorted((each for each in records if "large" not in each["path"]), key=by_time)
    assert at_once(small[8:]) <= 4
    assert all(hand.ordered for hand in crew.hands)


def by_time(record: dict[str, Any]) -> str:
    """When a request came."""
    return str(record["time"])


def test_secrets_go_to_hands_by_the_pipe_alone(
    crew: CrewWatch, new_client: NewClient, tmp_path: Path
) -> None:
    """They are in no argument and no environment, and the hands have them."""
    seen: list[str] = []

    def look() -> None:
        for child in children() if not seen else ():
            seen.extend([*child.cmdline(), *child.environ().values()])

    crew.before_file = look
    with serve(tmp_path / "www", user="anna:hush-hush") as served:
        files = fill(served)
        url = served.url.replace("//", "//anna:hush-hush@")
        client = new_client(processes=2, headers={"X-Key": "more-hush"})
        report = client.sync(f"{url}tree/", tmp_path / "out")
    assert (report.copied, report.errors) == (len(files), [])
    assert crew.ordered
    assert seen
    assert not [text for text in seen if "hush" in text]


def test_hands_learn_of_credentials_that_change_while_they_work(
    crew: CrewWatch, new_client: NewClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the requests of this process do: another thread may open a URL that bears them."""
    before, after = (f"Basic {b64encode(f'anna:{word}'.encode()).decode()}" for word in ("a", "b"))
    wanted = [before]

    def require(gate: Gate, authorization: str | None) -> None:
        if authorization != wanted[-1]:
            raise HttpProblem(401)

    def change() -> None:
        if len(wanted) == 1:
            client.open(url.replace("anna:a", "anna:b")).close()
            wanted.append(after)

    monkeypatch.setattr(Gate, "require", require)
    crew.before_file = change
    with serve(tmp_path / "www", user="anna:a") as served:
        files = fill(served)
        url = served.url.replace("//", "//anna:a@") + "tree/"
        client = new_client(processes=2)
        report = client.sync(url, tmp_path / "out")
    assert (report.copied, report.errors) == (len(files), [])
    assert wanted == [before, after]
    assert crew.ordered


def test_hands_know_the_modules_of_this_process(
    served: Served,
    tree: dict[str, bytes],
    crew: CrewWatch,
    new_client: NewClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Wherever it found them: its environment does not tell."""
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "netcache").mkdir()
    (tmp_path / "netcache" / "__init__.py").write_text("raise SystemExit('the wrong one')")
    new_client(processes=2).sync(f"{served.url}tree/", tmp_path / "out")
    assert crew.ordered


@pytest.mark.parametrize(
    "options",
    [
        {"processes": 1},
        {"transfers": 1},
        {"bwlimit": "1G"},
    ],
    ids=str,
)
def test_no_hand_is_started_where_none_can_help(
    served: Served,
    tree: dict[str, bytes],
    crew: CrewWatch,
    new_client: NewClient,
    tmp_path: Path,
    options: dict[str, Any],
) -> None:
    """The tree arrives all the same."""
    report = new_client(**{"processes": 4, **options}).sync(f"{served.url}tree/", tmp_path / "out")
    assert report.copied == len(tree)
    assert crew.hands == []


def test_a_dry_run_and_a_short_run_start_no_hand(
    served: Served,
    tree: dict[str, bytes],
    crew: CrewWatch,
    new_client: NewClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first brings nothing, the second has one file too few."""
    client = new_client(processes=2)
    report = client.sync(f"{served.url}tree/", tmp_path / "out", dry_run=True)
    assert report.copied == len(tree)
    monkeypatch.setattr("netcache._client.remote.Remote.hands_from", len(tree) + 1)
    assert client.sync(f"{served.url}tree/", tmp_path / "out").copied == len(tree)
    assert crew.hands == []


def options_of(client: netcache.Client) -> ClientOptions:
    """The checked options of a client."""
    return client._core.options


def test_as_many_processes_as_cores_where_the_system_tells_only_their_number(
    new_client: NewClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """macOS does not tell which cores a process may use."""
    usual = options_of(new_client(transfers=64))
    monkeypatch.delattr(os, "sched_getaffinity")
    for count, processes in ((2, 2), (64, PROCESSES_MAX), (None, 1)):
        monkeypatch.setattr(os, "cpu_count", lambda count=count: count)
        assert processes_of(usual) == processes


def test_conditions_under_which_this_process_is_alone(
    new_client: NewClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each has its reason; without any there are as many processes as cores and transfers."""
    cores = len(os.sched_getaffinity(0))
    usual = options_of(new_client(transfers=64))
    assert why_alone(usual) is None
    assert processes_of(usual) == min(PROCESSES_MAX, cores)
    assert processes_of(options_of(new_client(processes=9, transfers=3))) == 3
    others: list[dict[str, Any]] = [{"backend": MemoryBackend}, {"bwlimit": 10}, {"offline": True}]
    reasons = {why_alone(options_of(new_client(**each))) for each in others}
    for name, value in (("executable", ""), ("executable", "/bin/app"), ("frozen", True)):
        with monkeypatch.context() as patched:
            patched.setattr(sys, name, value, raising=False)
            reasons.add(why_alone(usual))
            assert processes_of(usual) == 1
    with caplog.at_level(logging.DEBUG, "netcache.events"):
        reasons.add(why_alone(usual))
    assert why_alone(usual) is None
    assert None not in reasons
    assert len(reasons) == 6
