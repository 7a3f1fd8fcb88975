"""Trees of small files: each comes with its head, and is kept and placed in one go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import netcache
from netcache._cachefiles.store import bind
from netcache._client.download import Downloader
from netcache._client.options import SMALL_FILES_MAX
from netcache._client.placing import HOPS_AFTER_SLOW, SLOW_S, Placer
from netcache._core.content import Content
from netcache._core.readplan import COMES_WHOLE_BYTES
from netcache._core.urls import parse
from netcache._netfs.inodes import key_of
from netcache._netfs.kept_files import KeptFiles
from netcache.backends.http_lane import ROW_MAX, Asked, Lane
from netcache_server import FaultRule
from tests.integration.conftest import NewClient
from tests.support.costs import counted
from tests.support.served import Served, random_bytes

KIB = 1024
SIZES = (1, 4 * KIB, 4 * KIB + 1, COMES_WHOLE_BYTES)


def tree(served: Served, sizes: tuple[int, ...] = SIZES) -> dict[str, bytes]:
    """Files of these sizes at the server."""
    files = {f"tree/{index}": random_bytes(size, index) for index, size in enumerate(sizes)}
    for name, data in files.items():
        served.put(name, data)
    served.forget()
    return files


def check(files: dict[str, bytes], out: Path) -> None:
    """The files are there, and nothing else."""
    there = {f"tree/{path.name}": path.read_bytes() for path in out.iterdir()}
    assert there == files


def asked(served: Served) -> list[str]:
    """The files that were asked for, in order of name."""
    return sorted(one["path"][1:] for one in served.requests() if not one["path"].endswith("/"))


def test_small_files_are_kept_whole_and_with_their_sums(
    served: Served, client: netcache.Client, tmp_path: Path
) -> None:
    """Each with one request; afterwards they are there without a server, and stand every check."""
    files = tree(served)
    report = client.sync(f"{served.url}tree/", tmp_path / "out")
    assert (report.copied, report.fetched_bytes) == (len(files), sum(SIZES))
    check(files, tmp_path / "out")
    assert asked(served) == sorted(files)
    stats = client.stats()
    assert stats["Misses"]["never"] == len(files)
    assert stats["DownOps"]["DL"] == stats["DownOps"]["ds"] == len(files)
    assert stats["CaWrOps"]["bytes"] == stats["DownOps"]["bytes"] == sum(SIZES)
    client.close()
    store = bind(tmp_path / "cache", verify="read")
    try:
        assert not list(store.verify())
        for name, data in files.items():
            found = store.lookup(key_of(parse(served.url + name)))
            assert found is not None
            assert (found.content, found.size) == (Content.ALL, len(data))
            buffer = bytearray(len(data))
            assert found.prove(0, len(data)).end >= len(data)
            assert (found.read_into(0, buffer), bytes(buffer)) == (len(data), data)
            found.close()
    finally:
        store.close()


@pytest.mark.parametrize("transfers", [1, 3])
def test_small_files_are_asked_for_in_rows(
    served: Served,
    new_client: NewClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    transfers: int,
) -> None:
    """On as many connections as there are transfers, each with as many in its row as may be."""
    files = tree(served, (KIB,) * (transfers * ROW_MAX * 4))
    rows: dict[Lane, int] = {}
    ask = Lane.ask

    def asked(lane: Lane, one: Asked) -> None:
        ask(lane, one)
        rows[lane] = max(rows.get(lane, 0), len(lane.row))

    monkeypatch.setattr(Lane, "ask", asked)
    client = new_client(transfers=transfers, processes=1)
    client.sync(f"{served.url}tree/", tmp_path / "out")
    check(files, tmp_path / "out")
    assert list(rows.values()) == [ROW_MAX] * transfers


class AtOnce:
    """How many calls of a method are under way at the same time, at most."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, owner: type, name: str) -> None:
        self.most = 0
        self._now = 0
        call = getattr(owner, name)

        async def counted_call(*args: Any) -> Any:
            self._now += 1
            self.most = max(self.most, self._now)
            try:
                return await call(*args)
            finally:
                self._now -= 1

        monkeypatch.setattr(owner, name, counted_call)


def test_small_files_without_a_cache_are_no_more_at_a_time_than_transfers(
    served: Served, new_client: NewClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They go the ordinary way, each with descriptors and a connection of its own."""
    files = tree(served, (KIB,) * 100)
    ordinary = AtOnce(monkeypatch, Downloader, "_bring")
    client = new_client(transfers=3, processes=1, use_cache=False)
    client.sync(f"{served.url}tree/", tmp_path / "out")
    check(files, tmp_path / "out")
    assert ordinary.most == 3


def test_few_small_files_are_open_while_they_are_checked(
    served: Served, new_client: NewClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has its object open until the server has answered: 1,024 were, with 64 transfers."""
    tree(served, (10,) * 300)
    client = new_client(transfers=64, processes=1)
    client.sync(f"{served.url}tree/", tmp_path / "out")
    files = tree(served, (20,) * 300)
    kept = AtOnce(monkeypatch, KeptFiles, "bring")
    client.sync(f"{served.url}tree/", tmp_path / "out")
    check(files, tmp_path / "out")
    assert 64 < kept.most <= SMALL_FILES_MAX


def test_what_is_read_of_a_small_file_can_be_explained(
    served: Served, client: netcache.Client, tmp_path: Path
) -> None:
    """A file that was dropped says so when a tree brings it again."""
    tree(served, (KIB,))
    client.sync(f"{served.url}tree/", tmp_path / "out")
    client.cache.drop(f"{served.url}tree/0")
    client.sync(f"{served.url}tree/", tmp_path / "again")
    reads = client.why(f"{served.url}tree/0").reads
    assert [(one.start, one.end, one.cause and one.cause.value) for one in reads] == [
        (0, KIB, "never fetched"),
        (0, KIB, "dropped"),
    ]


def test_two_that_share_a_cache_ask_for_each_file_once(served: Served, tmp_path: Path) -> None:
    """As two processes do: each has its own descriptors, and locks."""
    files = tree(served, (KIB,) * 40)

    async def both() -> None:
        async with (
            netcache.AsyncClient(cache_dir=tmp_path / "cache") as one,
            netcache.AsyncClient(cache_dir=tmp_path / "cache") as other,
        ):
            await asyncio.gather(
                one.sync(f"{served.url}tree/", tmp_path / "one"),
                other.sync(f"{served.url}tree/", tmp_path / "other"),
            )

    asyncio.run(both())
    check(files, tmp_path / "one")
    check(files, tmp_path / "other")
    bodies = [
        one for one in served.requests("GET") if one["bytes_sent"] and one["path"] != "/tree/"
    ]
    assert len(bodies) == len(files)


@pytest.mark.parametrize(
    "rule",
    [
        FaultRule(path="*/1", cut_after=100, count=1),
        FaultRule(path="*/1", body="short", count=1),
        FaultRule(path="*/1", validator="weak"),
        FaultRule(path="*/1", validator="none"),
        FaultRule(path="*/1", status=503, count=1),
        FaultRule(path="*/1", refuse=True, count=1),
    ],
    ids=["cut", "short", "weak", "no validator", "refused", "reset"],
)
def test_a_small_file_whose_answer_is_not_simple_arrives_all_the_same(
    served: Served, new_client: NewClient, tmp_path: Path, rule: FaultRule
) -> None:
    """Broken off, of no version to be told from others, refused at first."""
    files = tree(served)
    served.server.set_faults([rule])
    report = new_client(retries=2).sync(f"{served.url}tree/", tmp_path / "out")
    assert (report.copied, report.errors) == (len(files), [])
    check(files, tmp_path / "out")


def test_a_file_that_is_gone_is_asked_for_once(
    served: Served, client: netcache.Client, tmp_path: Path
) -> None:
    """And is an error of its own."""
    tree(served)
    served.server.set_faults([FaultRule(path="*/2", status=404)])
    report = client.sync(f"{served.url}tree/", tmp_path / "out")
    assert [error.name for error in report.errors] == ["2"]
    assert asked(served).count("tree/2") == 1
    assert not (tmp_path / "out" / "2").exists()


def test_a_file_that_has_grown_since_it_was_listed_is_fetched_once(
    served: Served, tmp_path: Path
) -> None:
    """Its reply is followed as that of a large file is."""
    url, grown = served.put("data", b"small"), random_bytes(COMES_WHOLE_BYTES + 1)

    async def get() -> tuple[int, int]:
        async with netcache.AsyncClient(cache_dir=tmp_path / "cache") as client:
            remote = client._core.remote()
            info = await remote.stat(url)
            served.put("data", grown)
            served.forget()
            result = await remote.get_file(info, str(tmp_path / "out"), lambda _: None)
            return result.size, result.fetched_bytes

    assert asyncio.run(get()) == (len(grown), len(grown))
    assert (tmp_path / "out").read_bytes() == grown
    assert served.count() == 1


def test_small_files_arrive_though_the_cache_takes_none(
    served: Served, new_client: NewClient, tmp_path: Path
) -> None:
    """It is too small for them, and that is counted."""
    files = tree(served, (40 * KIB,) * 5)
    client = new_client(cache_size=16 * KIB)
    report = client.sync(f"{served.url}tree/", tmp_path / "out")
    assert (report.copied, report.errors) == (len(files), [])
    check(files, tmp_path / "out")
    assert client.stats()["NoSpace"]["ncr"] == len(files)
    assert client.stats()["Misses"]["cache"] == len(files)


def test_a_small_file_that_cannot_be_placed_is_an_error_and_leaves_nothing(
    served: Served, client: netcache.Client, tmp_path: Path
) -> None:
    """A folder has taken its name since the tree was looked at; no other name is left behind."""
    tree(served, (KIB,))

    async def get() -> None:
        async with netcache.AsyncClient(cache_dir=tmp_path / "cache") as client:
            remote = client._core.remote()
            info = await remote.stat(f"{served.url}tree/0")
            (tmp_path / "out" / "0").mkdir(parents=True)
            with pytest.raises(IsADirectoryError):
                await remote.get_file(info, str(tmp_path / "out" / "0"), lambda _: None)

    asyncio.run(get())
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["0"]


def takes(seconds: float) -> Callable[[], float]:
    """A clock by which every file takes so long."""
    now_s = 0.0

    def now() -> float:
        nonlocal now_s
        now_s += seconds
        return now_s

    return now


def test_a_disk_that_keeps_the_loop_waiting_is_left_to_threads_for_a_while(tmp_path: Path) -> None:
    """A quick one never is."""

    async def hops(seconds: float, count: int) -> int:
        placer = Placer(takes(seconds))
        with counted() as costs:
            for index in range(count):
                await placer.place(str(tmp_path / str(index)), b"data", None)
        return costs.functions["run_in_executor"]

    assert asyncio.run(hops(SLOW_S / 2, 50)) == 0
    # One is tried before, and one after.
    assert asyncio.run(hops(100 * SLOW_S, HOPS_AFTER_SLOW + 11)) == HOPS_AFTER_SLOW + 9
    assert (tmp_path / "7").read_bytes() == b"data"
