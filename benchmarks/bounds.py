"""What is bounded rather than fast: memory, and the bytes of scattered reads."""

from __future__ import annotations

import os
import random
import resource
import subprocess

import netcache
from benchmarks.contest import Score, counted
from benchmarks.peers import BIN
from benchmarks.rig import Rig

MEMORY_MIB = 100.0


def memory(rig: Rig, rounds: int) -> list[Score]:
    """Peak memory of a cold ``get`` and of a ``put``."""
    del rounds
    scores = []
    for verb in ("get", "put"):
        cache, out = rig.fresh("memory"), rig.fresh("out")
        source, target = rig.url + "big.bin", str(out / "big.bin")
        if verb == "put":
            source, target = str(rig.big), rig.url + "up.bin"
        peak = _peak_mib(
            [str(BIN / "netcache"), "--cache-dir", str(cache), "-q", verb, source, target]
        )
        scores.append(
            counted(f"peak memory of `{verb}`", ("at most", MEMORY_MIB), peak, unit="MiB")
        )
    return scores


def _peak_mib(command: list[str]) -> float:
    """The peak resident size of a process; measured in a fork, whose only child it is."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        status = subprocess.run(command, stdout=subprocess.DEVNULL).returncode
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        os.write(write_end, f"{status} {usage.ru_maxrss}".encode())
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end) as pipe:
        exit_status, kib = map(int, pipe.read().split())
    os.waitpid(child, 0)
    if exit_status:
        raise SystemExit(f"{' '.join(command)} failed with {exit_status}")
    return kib / 1024


def scattered(rig: Rig, rounds: int) -> list[Score]:
    """200 random 64 KiB reads of a cold file: bytes fetched against blocks touched."""
    del rounds
    picks = random.Random(2)
    offsets = [picks.randrange(rig.size - 65536) for _ in range(200)]
    touched = {
        block for offset in offsets for block in range(offset // 4096, (offset + 65535) // 4096 + 1)
    }
    with netcache.Client(cache_dir=rig.fresh("scattered")) as client:
        with client.open(rig.url + "big.bin") as file:
            for offset in offsets:
                file.pread(65536, offset)
        fetched = client.stats()["DownOps"]["bytes"]
    blocks = float(len(touched) * 4096)
    return [counted("bytes of 200 reads of 64 KiB", ("touched blocks", blocks), fetched, unit="B")]
