"""`get` of what is cached: copied beside one question, and all else as if that were not tried."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from pathlib import Path

import pytest

import netcache as library
from netcache._client import cached_copy
from netcache._client.cached_copy import STEP_BYTES, STEP_BYTES_MAX
from netcache._client.target import TargetFile
from netcache._core.urls import parse
from netcache_server import FaultRule
from tests.crash.test_journal import BIG, killed_writer
from tests.integration.test_cli_check_here import REFUSALS, asked
from tests.integration.test_cli_startup import imported_by
from tests.integration.test_copying_ahead import nameless_bytes
from tests.support.commands import Commands
from tests.support.damage import flip
from tests.support.served import Served, random_bytes, serve
from tests.support.stores import object_file

# Steps of all sizes, and blocks that are compared ahead.
DATA = random_bytes(2 * STEP_BYTES_MAX + STEP_BYTES + 12_345)
SMALL = random_bytes(300_000)
LIMIT_S = 30


@pytest.fixture
def out(netcache: Commands) -> Path:
    """A folder for downloads: nothing but them is ever in it."""
    folder = netcache.home / "out"
    folder.mkdir()
    return folder


def is_here(netcache: Commands, *args: object) -> bool:
    """Whether a command went without a loop."""
    return "asyncio" not in imported_by(netcache, *map(str, args))


def test_what_is_unchanged_is_copied_after_one_question(
    served: Served, netcache: Commands, out: Path
) -> None:
    """None within the time that `--validate` gives, and none offline."""
    for name, data in (("big", DATA), ("small", SMALL), ("one", b"x")):
        url, target = served.put(name, data), out / name
        netcache("warm", url)
        asked(served)
        for options, requests in (
            ((), [("HEAD", 304)]),
            (("--validate", "1h"), []),
            (("--offline",), []),
        ):
            ran = netcache(*options, "get", url, target)
            assert ran.text.startswith("Done: 1 copied, ")
            assert f" {len(data)} byte" in ran.text
            assert "0 of them from the server" in ran.text
            assert target.read_bytes() == data
            assert target.stat().st_mtime == (served.root / name).stat().st_mtime // 1
            assert asked(served) == requests
            target.unlink()
        assert is_here(netcache, "get", url, target)


def test_into_a_folder_and_over_a_file(served: Served, netcache: Commands, out: Path) -> None:
    """The names are those of the ordinary way; a link is replaced, not written through."""
    url = served.put("a", SMALL)
    netcache("warm", url)
    (out / "other").write_bytes(b"other")
    (out / "a").symlink_to("other")
    assert is_here(netcache, "get", url, out)
    assert (out / "a").read_bytes() == SMALL
    assert not (out / "a").is_symlink()
    assert (out / "other").read_bytes() == b"other"
    assert netcache("get", url).code == 0
    assert (netcache.home / "a").read_bytes() == SMALL


@pytest.mark.parametrize(("old", "new"), [(DATA, SMALL), (SMALL, DATA)])
def test_what_has_changed_is_fetched(
    served: Served, netcache: Commands, out: Path, old: bytes, new: bytes
) -> None:
    """Nothing of the old version is left, whether all of it was copied by then or not."""
    url = served.put("a", old)
    netcache("warm", url)
    served.put("a", new)
    asked(served)
    assert netcache("get", url, out / "a").code == 0
    assert (out / "a").read_bytes() == new
    assert os.listdir(out) == ["a"]
    assert asked(served)[0] == ("HEAD", 200)


def test_of_what_is_cached_in_part_the_rest_is_fetched(
    served: Served, netcache: Commands, out: Path
) -> None:
    """In the ordinary way, which asks once, for the rest."""
    url = served.put("a", DATA)
    netcache("warm", url, "--count", STEP_BYTES)
    asked(served)
    assert netcache("get", url, out / "a").code == 0
    assert (out / "a").read_bytes() == DATA
    assert asked(served) == [("GET", 206)]


@pytest.mark.parametrize("at", [1000, STEP_BYTES_MAX + 5000, len(DATA) - 1])
def test_what_is_damaged_is_fetched_again(
    served: Served, netcache: Commands, out: Path, at: int
) -> None:
    """Wherever it is: before the copy, where it is compared ahead, and at the end."""
    url = served.put("a", DATA)
    netcache("warm", url)
    flip(object_file(netcache.cache), 8 * at)
    ran = netcache("get", url, out / "a")
    assert (out / "a").read_bytes() == DATA
    assert ran.err.count("damaged") == 1
    assert os.listdir(out) == ["a"]


@pytest.mark.parametrize(("fault", "code"), REFUSALS)
def test_errors_are_told_as_ever(
    served: Served, netcache: Commands, out: Path, fault: FaultRule, code: int
) -> None:
    """And what was there stays, though the copy is complete by then."""
    url = served.put("a", SMALL)
    netcache("warm", url)
    (out / "a").write_bytes(b"before")
    served.server.set_faults([fault])
    ran = netcache("get", url, out / "a", "--retries", "0")
    assert ran.code == code
    assert url in ran.error
    assert (out / "a").read_bytes() == b"before"
    assert os.listdir(out) == ["a"]


def test_a_place_where_nothing_can_be_written_is_told_as_ever(
    served: Served, netcache: Commands, out: Path
) -> None:
    """The same line as for what is not cached."""
    url, cold = served.put("a", SMALL), served.put("b", SMALL)
    netcache("warm", url)
    told = [netcache("get", one, out / "none" / "file") for one in (url, cold)]
    assert told[0].code == told[1].code != 0
    assert told[0].error.replace(url, cold) == told[1].error


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_one_leaves_nothing(
    served: Served, netcache: Commands, out: Path, number: signal.Signals
) -> None:
    """While the answer is waited for, and everything has been copied."""
    url = served.put("a", DATA)
    netcache("warm", url)
    served.server.set_faults([FaultRule(latency_s=LIMIT_S, method=("HEAD",))])
    with netcache.started("get", url, str(out / "a")) as process:
        while nameless_bytes(out, process.pid) != [len(DATA)]:
            assert process.poll() is None
        process.send_signal(number)
        _, err = process.communicate(timeout=LIMIT_S)
    assert (process.returncode, err) == (130, b"")
    assert os.listdir(out) == []


def test_who_has_unsent_edits_makes_what_sends_them(
    served: Served, netcache: Commands, out: Path
) -> None:
    """As every command does that asks a server."""
    url, edited = served.put("a", SMALL), served.put("big", BIG)
    netcache("warm", url)
    killed_writer(netcache.cache, edited)
    assert "netcache._netfs.recovery" in imported_by(netcache, "get", url, str(out / "a"))


def test_credentials_go_with_it(tmp_path: Path, netcache: Commands, out: Path) -> None:
    """And are not in what is told."""
    with serve(tmp_path / "guarded", user="ann:secret") as served:
        url = served.put("a", SMALL)
        with_them = url.replace("http://", "http://ann:secret@")
        assert netcache("warm", with_them).code == 0
        asked(served)
        ran = netcache("get", with_them, out / "a")
        assert "secret" not in ran.text + ran.err
        assert asked(served) == [("HEAD", 304)]
        assert netcache("get", url, out / "b").code == 10
        assert os.listdir(out) == ["a"]


class WaitsSeen(threading.Condition):
    """Tells when somebody waits."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = threading.Event()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait, and tell."""
        self.seen.set()
        return super().wait(timeout)


class HeldTarget(TargetFile):
    """Takes its first piece when it is told to go on."""

    def __init__(self, path: str, going_on: threading.Event) -> None:
        super().__init__(path)
        self._going_on = going_on

    def take_from(self, source: int, start: int, end: int) -> None:
        """Copy, once that is allowed."""
        self._going_on.wait()
        super().take_from(source, start, end)


def test_what_is_compared_ahead_is_near_to_the_copy(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However slow the copy is: what is compared far ahead would have to be read twice."""
    monkeypatch.setattr(cached_copy, "STEP_BYTES_MAX", STEP_BYTES)
    monkeypatch.setattr(cached_copy, "AHEAD_BYTES_MAX", near := 2 * STEP_BYTES)
    url = served.put("a", DATA)
    with library.Client(cache_dir=tmp_path / "cache") as client:
        client.warm(url)
    with library.Client(cache_dir=tmp_path / "cache") as client:
        inode = client._core.inodes.find(parse(url))
        assert inode is not None
        client._core.inodes.acquire(inode)
        moved, going_on = WaitsSeen(), threading.Event()
        copy = cached_copy.CachedCopy(inode, HeldTarget(str(tmp_path / "out"), going_on))
        copy._moved = moved
        compared: list[int] = []
        locate = inode.locate

        def noted(start: int, end: int) -> bool:
            if threading.current_thread() is comparing:
                compared.append(start - copy.position)
            return locate(start, end)

        monkeypatch.setattr(type(inode), "locate", lambda _, start, end: noted(start, end))
        copying = threading.Thread(target=copy.run)
        comparing = threading.Thread(target=copy.compare_ahead)
        copying.start()
        comparing.start()
        try:
            while not moved.seen.wait(0.01) and comparing.is_alive():
                continue
            assert compared == list(range(STEP_BYTES, near + 1, STEP_BYTES))
        finally:
            going_on.set()
            copying.join()
            comparing.join()
        assert copy.position == len(DATA)
        assert max(compared) <= near
        client._core.inodes.release(inode)


def test_it_counts_what_the_ordinary_way_counts(
    served: Served, netcache: Commands, tmp_path: Path
) -> None:
    """The ordinary way is that of this process, which has a loop."""
    url = served.put("a", DATA)
    netcache("warm", url)
    before = counted(netcache)
    netcache("get", url, tmp_path / "one")
    between = counted(netcache)
    with library.Client(cache_dir=netcache.cache) as client:
        report = client.get(url, tmp_path / "two")
    after = counted(netcache)
    assert between - before == after - between
    assert (between - before)["Updates n"] == 1
    assert (report.copied, report.bytes, report.fetched_bytes) == (1, len(DATA), 0)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes() == DATA


def counted(netcache: Commands) -> Counter[str]:
    """All counters of the cache."""
    groups = netcache("stats", "--json").document
    return Counter(
        {f"{group} {name}": count for group in groups for name, count in groups[group].items()}
    )
