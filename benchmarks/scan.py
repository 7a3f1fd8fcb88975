"""A forward scan of a cold file over a long way: does readahead hide the latency?"""

from __future__ import annotations

import tempfile
from pathlib import Path

import netcache
from benchmarks.contest import Score, contest
from benchmarks.rig import Rig, timed
from netcache_server import FaultRule, ServerOptions, ServerThread

LINK_BYTES_PER_S = 50_000_000
ROUND_TRIP_S = 0.040
SCAN_BYTES = 128 << 20
READ_BYTES = 1 << 20
SHARE = 0.8
"""How much of the link a scan is to use."""


def cold_scan(rig: Rig, rounds: int) -> list[Score]:
    """Reads of 1 MiB, front to back, 20 ms each way, against the time that the link alone takes.

    The delay is the server's, the link a limit that all exchanges of the client share.
    """
    size = min(SCAN_BYTES, rig.size)
    with tempfile.TemporaryDirectory(dir=rig.scratch) as folder:
        (Path(folder) / "scan.bin").write_bytes(rig.big.read_bytes()[:size])
        options = ServerOptions(root=Path(folder), fsync=False)
        with ServerThread(options) as server:
            server.set_faults([FaultRule(latency_s=ROUND_TRIP_S)])

            def ours() -> float:
                with (
                    netcache.Client(
                        cache_dir=rig.fresh("scan-cache"), bwlimit=LINK_BYTES_PER_S
                    ) as client,
                    client.open(server.url + "scan.bin") as file,
                    timed() as seconds,
                ):
                    while file.read(READ_BYTES):
                        pass
                return seconds()

            return [
                contest(
                    "cold scan, 20 ms each way",
                    ("the link", lambda: ROUND_TRIP_S + size / LINK_BYTES_PER_S),
                    {"netcache": ours},
                    rounds=rounds,
                    reach=1 / SHARE,
                )
            ]
