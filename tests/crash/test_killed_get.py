"""kill -9 of real processes: what they leave is right, and the next one goes on from it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import netcache
from netcache._core.content import Content
from netcache._core.readplan import FIRST_BYTES
from netcache_server import FaultPlan, FaultRule
from tests.support.served import Served, random_bytes, serve

MIB = 1 << 20
DATA = random_bytes(24 * MIB + 99, 5)


def start_get(url: str, cache: Path, target: Path) -> subprocess.Popen[bytes]:
    """A ``netcache get`` in a process of its own."""
    command = [sys.executable, "-m", "netcache", "--cache-dir", str(cache), "get", url, str(target)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def kill_when(process: subprocess.Popen[bytes], cache: Path, stored: int) -> None:
    """Kill the process as soon as about ``stored`` bytes lie in the cache."""
    while process.poll() is None:
        held = sum(
            path.stat().st_blocks * 512
            for path in (cache / "cache").rglob("*")
            if path.is_file()
        ) if (cache / "cache").exists() else 0  # fmt: skip
        if held >= stored:
            break
        os.sched_yield()
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.parametrize("seed", range(4))
def test_a_killed_get_leaves_only_right_blocks_and_goes_on(tmp_path: Path, seed: int) -> None:
    """P4: no partial target, no wrong byte, and what was cached is not fetched again."""
    with serve(tmp_path / "www") as served:
        url = served.put("data", DATA)
        served.server.set_faults(FaultPlan.of([FaultRule(path="/data", bandwidth=40 * MIB)]))
        cache, target = tmp_path / "cache", tmp_path / "target"
        process = start_get(url, cache, target)
        kill_when(process, cache, random.Random(seed).randrange(MIB, 20 * MIB))
        assert not target.exists()
        assert [path.name for path in tmp_path.iterdir() if "part" in path.name] == []
        check_the_rest(served, url, cache, target)


def check_the_rest(served: Served, url: str, cache: Path, target: Path) -> None:
    """Every cached byte is right; finishing fetches exactly what is missing."""
    served.server.set_faults(FaultPlan.of(None))
    with netcache.Client(cache_dir=cache, offline=True) as client:
        extents = client.cache.extents(url)
        with client.open(url) as file:
            for start, end in extents:
                assert file.pread(end - start, start) == DATA[start:end]
    cached = sum(extent.length for extent in extents)
    served.forget()
    with netcache.Client(cache_dir=cache) as client:
        client.get(url, target)
        assert target.read_bytes() == DATA
        # What the killed process asked for: the server may log that only now.
        first = f"bytes=0-{FIRST_BYTES - 1}"
        resumed = [record for record in served.requests("GET") if record["range"] != first]
        assert sum(record["bytes_sent"] for record in resumed) == len(DATA) - cached
        assert client.cache.map(url).content is Content.ALL


def test_kill_after_kill_never_make_a_wrong_byte(tmp_path: Path) -> None:
    """Killed again and again, it gets there in the end, and every byte is right."""
    with serve(tmp_path / "www") as served:
        url = served.put("data", DATA)
        served.server.set_faults(FaultPlan.of([FaultRule(path="/data", bandwidth=60 * MIB)]))
        cache, target = tmp_path / "cache", tmp_path / "target"
        for step in range(1, 6):
            kill_when(start_get(url, cache, target), cache, step * 4 * MIB)
        process = start_get(url, cache, target)
        assert process.wait() == 0
        assert target.read_bytes() == DATA
        assert served.body_bytes() <= len(DATA) + 7 * 8 * MIB
