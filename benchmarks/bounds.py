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
HUGE_BYTES = 10 << 30


def memory(rig: Rig, rounds: int) -> list[Score]:
    """Peak memory of a cold ``get``, a ``put`` and, of a sparse file of 10 GiB, a ``warm``."""
    del rounds
    url = rig.url + "big.bin"
    huge = rig.www / "huge.bin"
    with huge.open("wb") as file:
        file.truncate(HUGE_BYTES)
    commands = {
        "`get`": ("get", url, str(rig.fresh("out") / "big.bin")),
        "`put`": ("put", str(rig.big), rig.url + "up.bin"),
        "`warm` of 10 GiB": ("warm", rig.url + huge.name),
    }
    try:
        return [
            counted(
                f"peak memory of {name}",
                ("at most", MEMORY_MIB),
                _peak_mib(
                    [str(BIN / "netcache"), "--cache-dir", str(rig.fresh("memory")), "-q", *command]
                ),
                unit="MiB",
            )
            for name, command in commands.items()
        ]
    finally:
        huge.unlink()
        rig.fresh("memory")


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
