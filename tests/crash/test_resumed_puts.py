"""`netcache put` that is killed half-way: the same command again sends only what is missing."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

import netcache
from netcache.spi import RESUMABLE_BYTES_MIN
from netcache_server import FaultRule
from tests.support.commands import Commands, Ran
from tests.support.served import Served, random_bytes, serve

MIB = 1 << 20
SIZE = RESUMABLE_BYTES_MIN + 8 * MIB + 99
DATA = random_bytes(SIZE, 11)
HIDDEN = ".netcache-part-uploads"
SLOWLY = FaultRule(method=("PATCH", "PUT"), upload_bandwidth=60 * MIB)


class Put:
    """One upload of a file, by one process after another."""

    def __init__(self, commands: Commands, served: Served) -> None:
        self.commands = commands
        self.served = served
        self.source = commands.home / "source"
        self.source.write_bytes(DATA)
        self.url = served.url + "up/data"

    @property
    def target(self) -> Path:
        """What the server has in the end."""
        return self.served.root / "up/data"

    def arrived(self) -> int:
        """How much lies at the server of uploads that are not complete."""
        folder = self.served.root / HIDDEN
        sizes = [path.stat().st_size for path in folder.glob("*") if not path.suffix]
        return max(sizes, default=0)

    def stop_at(
        self, count: int, sign: signal.Signals = signal.SIGKILL, command: Sequence[object] = ()
    ) -> int:
        """Run it until the server has ``count`` bytes; returns what it then has, in the end."""
        self.served.forget()
        self.served.server.set_faults([SLOWLY])
        with self.commands.started(*(command or ("put", self.source, self.url))) as process:
            while process.poll() is None and self.arrived() < count:
                os.sched_yield()
            process.send_signal(sign)
            process.wait(30)
        # What had left the dead process is still on its way.
        while not self.served.count("PATCH"):
            os.sched_yield()
        self.served.server.set_faults(None)
        return self.arrived()

    def run(self, *options: str) -> Ran:
        """Run it to its end."""
        self.served.forget()
        return self.commands(*options, "put", self.source, self.url)

    def received(self) -> int:
        """What bodies the server has received since."""
        return sum(record["bytes_received"] for record in self.served.requests())

    def records(self) -> list[str]:
        """What is kept for later."""
        folder = self.commands.cache / "resumable"
        return os.listdir(folder) if folder.exists() else []


@pytest.fixture
def put(tmp_path: Path) -> Iterator[Put]:
    """A server, and a file to be uploaded."""
    with serve(tmp_path / "www") as served:
        yield Put(Commands(tmp_path), served)


@pytest.mark.parametrize("seed", range(3))
def test_killed_again_and_again_every_byte_is_sent_about_once(put: Put, seed: int) -> None:
    """What has arrived stays, whatever happened to the process; the end is the whole, cached."""
    rng = random.Random(seed)
    before = 0
    for place in sorted(rng.randrange(MIB, SIZE - 4 * MIB) for _ in range(2)):
        have = put.stop_at(max(place, before + 1))
        assert before <= have < SIZE, f"seed {seed}"
        assert not put.target.exists()
        before = have
    ran = put.run("--json")
    assert (ran.code, ran.err) == (0, ""), f"seed {seed}"
    assert put.target.read_bytes() == DATA, f"seed {seed}"
    assert put.received() == ran.document["sent_bytes"] == SIZE - before, f"seed {seed}"
    assert ran.document["bytes"] == SIZE
    assert (put.records(), (put.served.root / HIDDEN).exists()) == ([], False)
    put.served.forget()
    with netcache.Client(cache_dir=put.commands.cache) as client, client.open(put.url) as file:
        assert file.read() == DATA, f"seed {seed}"
    assert put.served.body_bytes() == 0


def test_interrupted_by_the_user(put: Put) -> None:
    """Ctrl-C, and the same command; it says how much it has sent."""
    have = put.stop_at(8 * MIB, signal.SIGINT)
    ran = put.run("-v")
    assert ran.code == 0
    assert f"goes on at byte {have} of {SIZE}" in ran.err
    assert f"{put.received()} of them sent now" in ran.text
    assert put.received() == SIZE - have
    assert put.target.read_bytes() == DATA


def test_another_version_that_came_meanwhile_is_a_conflict(put: Put) -> None:
    """P7: nobody has seen it, so it stays; after that the user may put again."""
    put.target.parent.mkdir()
    put.target.write_bytes(b"first")
    put.stop_at(8 * MIB)
    put.served.put("up/data", b"of somebody else")
    ran = put.run()
    assert ran.code == 4
    assert "no longer the version that was expected" in ran.error
    assert put.target.read_bytes() == b"of somebody else"
    assert (put.records(), (put.served.root / HIDDEN).exists()) == ([], False)
    assert put.run().code == 0
    assert put.received() == SIZE
    assert put.target.read_bytes() == DATA


def test_a_source_that_changed_meanwhile_is_sent_whole(put: Put) -> None:
    """What lies at the server of the version before is forgotten."""
    put.stop_at(8 * MIB)
    put.source.write_bytes(DATA[::-1])
    assert put.run().code == 0
    assert put.received() == SIZE
    assert put.target.read_bytes() == DATA[::-1]
    assert (put.records(), (put.served.root / HIDDEN).exists()) == ([], False)


def test_a_process_that_runs_keeps_its_upload_to_itself(put: Put) -> None:
    """A second one sends everything, and publishes nothing of the other's."""
    put.served.server.set_faults([SLOWLY])
    with put.commands.started("put", put.source, put.url) as first:
        while first.poll() is None and put.arrived() < 4 * MIB:
            os.sched_yield()
        first.send_signal(signal.SIGSTOP)
        put.served.server.set_faults(None)
        ran = put.run("--json")
        assert (ran.code, ran.document["bytes"]) == (0, SIZE)
        assert "sent_bytes" not in ran.document  # all of them
        assert put.target.read_bytes() == DATA
        first.send_signal(signal.SIGCONT)
        assert first.wait(30) in (0, 4)
    assert put.target.read_bytes() == DATA
    assert put.records() == []


@pytest.mark.parametrize("verb", [["put", "-r"], ["sync"]])
def test_large_files_of_trees_go_on_too(put: Put, verb: list[str]) -> None:
    """The same way, by themselves."""
    tree = put.commands.home / "tree"
    tree.mkdir()
    (tree / "small").write_bytes(b"small")
    put.source.rename(tree / "data")
    url = put.served.url + "up/"
    have = put.stop_at(8 * MIB, command=(*verb, tree, url))
    put.served.forget()
    ran = put.commands("--json", *verb, tree, url)
    assert ran.code == 0
    assert put.target.read_bytes() == DATA
    assert (put.target.parent / "small").read_bytes() == b"small"
    assert put.received() == ran.document["sent_bytes"] == SIZE - have


def test_a_server_that_is_killed_half_way(tmp_path: Path) -> None:
    """The client waits for it to come back, and what it had received is not sent again."""
    root = tmp_path / "www"
    root.mkdir()
    log = tmp_path / "log"
    command = [sys.executable, "-m", "netcache_server", str(root), "--log", str(log), "--port"]
    source, netcache_ = tmp_path / "source", Commands(tmp_path)
    source.write_bytes(DATA)
    with _started([*command, "0"]) as (server, url):
        line = ("--retries", "20", "--bwlimit", "60M", "put", source, url + "a")
        with netcache_.started(*line) as put:
            folder = root / HIDDEN
            while put.poll() is None and not any(
                path.stat().st_size > 6 * MIB for path in folder.glob("*")
            ):
                os.sched_yield()
            server.kill()
            server.wait()
            (part,) = (path for path in folder.iterdir() if not path.suffix)
            have = part.stat().st_size
            assert 6 * MIB < have < SIZE
            with _started([*command, url.rstrip("/").rpartition(":")[2]]):
                assert put.wait(60) == 0
    assert (root / "a").read_bytes() == DATA
    received = [line for line in log.read_text().splitlines() if '"PATCH"' in line]
    assert f'"bytes_received":{SIZE - have},' in received[-1]


@contextlib.contextmanager
def _started(command: list[str]) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A server in a process of its own, and its URL."""
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        try:
            yield server, server.stdout.readline().decode().strip()
        finally:
            server.kill()
