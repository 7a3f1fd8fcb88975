"""What is bounded rather than fast: memory, and the bytes of scattered reads."""

from __future__ import annotations

import random
import subprocess
import sys

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


_MEASURE = (
    "import resource, subprocess, sys\n"
    "status = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode\n"
    "print(status, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
)


def _peak_mib(command: list[str]) -> float:
    """The peak resident size of a process; measured by a small one, whose only child it is.

    A child begins with the peak of its parent, and ours may be large by now (``getrusage(2)``).
    """
    measure = [sys.executable, "-c", _MEASURE, *command]
    said = subprocess.run(measure, stdout=subprocess.PIPE, text=True, check=True).stdout
    status, kib = map(int, said.split())
    if status:
        raise SystemExit(f"{' '.join(command)} failed with {status}")
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
