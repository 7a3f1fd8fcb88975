"""The rows: what is measured, against what, and the ratio to hold."""

from __future__ import annotations

import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import netcache
from benchmarks.rig import Result, Rig, compare, run_timed, timed
from benchmarks.scan import cold_scan
from benchmarks.verifying import verifying
from benchmarks.views import warm_view

BIN = Path(sys.executable).parent
SMALL_READS = 20_000


def warm_small(rig: Rig, rounds: int) -> list[Result]:
    """Random 4 KiB reads of a cached file against ``os.pread`` of the plain file."""
    picks = random.Random(1)
    offsets = [picks.randrange(rig.size // 4096 - 1) * 4096 for _ in range(SMALL_READS)]
    plain = os.open(rig.big, os.O_RDONLY)
    try:
        with netcache.Client(cache_dir=rig.scratch / "cache", validate="never") as client:
            url = rig.url + "big.bin"
            client.warm(url)
            with client.open(url) as file:

                def ours() -> float:
                    pread = file.pread
                    with timed() as seconds:
                        for offset in offsets:
                            pread(4096, offset)
                    return seconds()

                def limit() -> float:
                    pread = os.pread
                    with timed() as seconds:
                        for offset in offsets:
                            pread(plain, 4096, offset)
                    return seconds()

                return [
                    compare(
                        "warm random 4 KiB pread",
                        ("netcache", ours),
                        ("os.pread", limit),
                        rounds=rounds,
                        reach=4.0,
                    )
                ]
    finally:
        os.close(plain)


def warm_large(rig: Rig, rounds: int) -> list[Result]:
    """Sequential 1 MiB reads of a cached file against ``os.preadv`` of the plain file."""
    plain = os.open(rig.big, os.O_RDONLY)
    buffer = bytearray(1 << 20)
    view = memoryview(buffer)
    try:
        with netcache.Client(cache_dir=rig.scratch / "cache", validate="never") as client:
            url = rig.url + "big.bin"
            client.warm(url)
            with client.open(url) as file:

                def ours() -> float:
                    with timed() as seconds:
                        for offset in range(0, rig.size, 1 << 20):
                            file.preadinto(view, offset)
                    return seconds()

                def limit() -> float:
                    with timed() as seconds:
                        for offset in range(0, rig.size, 1 << 20):
                            os.preadv(plain, [view], offset)
                    return seconds()

                return [
                    compare(
                        "warm sequential 1 MiB preadinto",
                        ("netcache", ours),
                        ("os.preadv", limit),
                        rounds=rounds,
                        reach=1 / 0.9,
                    )
                ]
    finally:
        os.close(plain)


def cold_get(rig: Rig, rounds: int) -> list[Result]:
    """A cold ``get`` (cache and target file) against ``curl -o``, whole processes."""

    def ours() -> float:
        cache, out = rig.fresh("cold"), rig.fresh("out")
        return run_timed(
            str(BIN / "netcache"),
            "--cache-dir",
            str(cache),
            "-q",
            "get",
            rig.url + "big.bin",
            str(out / "big.bin"),
        )

    def curl() -> float:
        out = rig.fresh("out")
        return run_timed("curl", "-s", "-f", "-o", str(out / "big.bin"), rig.url + "big.bin")

    return [
        compare("cold get", ("netcache get", ours), ("curl -o", curl), rounds=rounds, reach=1.0)
    ]


def put(rig: Rig, rounds: int) -> list[Result]:
    """``put`` (server and cache) against ``curl -T``, whole processes."""

    def ours() -> float:
        cache = rig.fresh("putcache")
        (rig.www / "up.bin").unlink(missing_ok=True)
        return run_timed(
            str(BIN / "netcache"),
            "--cache-dir",
            str(cache),
            "-q",
            "put",
            str(rig.big),
            rig.url + "up.bin",
        )

    def curl() -> float:
        (rig.www / "up.bin").unlink(missing_ok=True)
        return run_timed("curl", "-s", "-f", "-T", str(rig.big), rig.url + "up.bin")

    return [compare("put", ("netcache put", ours), ("curl -T", curl), rounds=rounds, reach=1.0)]


def start_up(rig: Rig, rounds: int) -> list[Result]:
    """A cached ``cat`` of one byte against importing click; ``--version`` against Python."""
    cache = rig.fresh("start")
    common = [str(BIN / "netcache"), "--cache-dir", str(cache)]
    (rig.www / "byte").write_bytes(b"x" * 5000)
    subprocess.run([*common, "cat", rig.url + "byte"], check=True, stdout=subprocess.DEVNULL)

    def cat() -> float:
        return _median(
            lambda: run_timed(
                *common, "--validate", "never", "cat", rig.url + "byte", "--count", "1"
            )
        )

    def click() -> float:
        return _median(lambda: run_timed(sys.executable, "-c", "import click"))

    return [
        compare(
            "cached cat of 1 byte",
            ("netcache cat", cat),
            ("python -c 'import click'", click),
            rounds=rounds,
            reach=1.5,
        )
    ]


def memory(rig: Rig, rounds: int) -> list[Result]:
    """Peak memory of a cold ``get`` and of a ``put``, in MiB against 150 MiB."""
    del rounds
    rows = []
    for verb in ("get", "put"):
        cache, out = rig.fresh("memory"), rig.fresh("out")
        source, target = rig.url + "big.bin", str(out / "big.bin")
        if verb == "put":
            source, target = str(rig.big), rig.url + "up.bin"
        peak = _peak_mib(
            [str(BIN / "netcache"), "--cache-dir", str(cache), "-q", verb, source, target]
        )
        rows.append(
            Result(
                f"peak memory of {verb}, MiB",
                "netcache",
                "150 MiB",
                peak,
                150.0,
                peak / 150,
                peak / 150,
                peak / 150,
                1.0,
            )
        )
    return rows


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


def _median(measure: Callable[[], float]) -> float:
    return sorted(measure() for _ in range(5))[2]


def scattered(rig: Rig, rounds: int) -> list[Result]:
    """200 random 64 KiB reads of a cold file: bytes fetched against blocks touched."""
    del rounds
    picks = random.Random(2)
    offsets = [picks.randrange(rig.size - 65536) for _ in range(200)]
    touched = {
        block for offset in offsets for block in range(offset // 4096, (offset + 65535) // 4096 + 1)
    }
    with netcache.Client(cache_dir=rig.fresh("scattered")) as client:
        start = time.perf_counter()
        with client.open(rig.url + "big.bin") as file:
            for offset in offsets:
                file.pread(65536, offset)
        seconds = time.perf_counter() - start
        fetched = client.stats()["DownOps"]["bytes"]
    ratio = fetched / (len(touched) * 4096)
    print(f"200 scattered reads took {seconds:.3f} s", file=sys.stderr)
    return [
        Result(
            "bytes of 200 scattered reads",
            "fetched",
            "touched blocks",
            float(fetched),
            float(len(touched) * 4096),
            ratio,
            ratio,
            ratio,
            1.0,
        )
    ]


ROWS: dict[str, Callable[[Rig, int], list[Result]]] = {
    "warm-small": warm_small,
    "warm-large": warm_large,
    "warm-view": warm_view,
    "cold-get": cold_get,
    "put": put,
    "start-up": start_up,
    "memory": memory,
    "scattered": scattered,
    "cold-scan": cold_scan,
    "verify": verifying,
}
