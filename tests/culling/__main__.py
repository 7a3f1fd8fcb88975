"""The soak of culling: ``python -m tests.culling --ops 1000000 --processes 4 --seed 1``."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.culling.rig import LIMIT_BYTES, soak


def main() -> int:
    """One run; prints what was done."""
    parser = argparse.ArgumentParser(prog="python -m tests.culling", description=__doc__)
    parser.add_argument("--ops", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="at most")
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit", type=int, default=LIMIT_BYTES, help="bytes")
    parser.add_argument("--kill-every", type=int, default=20_000, help="operations, 0: never")
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="netcache-soak-") as folder:
        outcome = soak(
            Path(folder),
            ops=options.ops,
            seconds=options.seconds,
            processes=options.processes,
            seed=options.seed,
            limit=options.limit,
            kill_every=options.kill_every,
        )
    for line in outcome.told:
        print(line)
    print(
        f"seed {options.seed}: {outcome.ops} operations of {options.processes} processes in "
        f"{time.monotonic() - began:.0f} s, {outcome.kills} killed; {outcome.samples} samples, "
        f"at most {outcome.most} of {options.limit} bytes ({outcome.most / options.limit:.1%}); "
        f"{len(outcome.faults)} faults"
    )
    for fault in outcome.faults:
        print(f"fault: {fault}")
    return bool(outcome.faults)


if __name__ == "__main__":
    sys.exit(main())
