"""The long run: ``python -m tests.wac --seconds 300 --processes 2 --seed 1 [a ...]``."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.wac.rig import run
from tests.wac.writers import PROFILES


def main() -> int:
    """Run each profile so long, or so many writes a writer; 1 when anything was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.wac", description=__doc__)
    parser.add_argument("profiles", nargs="*", metavar="PROFILE", help="of a to f (all)")
    parser.add_argument("--seconds", type=float, default=60.0, help="altogether")
    parser.add_argument("--ops", type=int, default=1 << 62, help="writes of each writer, at most")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--writers", type=int, default=16, help="threads in each process")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    if unknown := set(asked.profiles) - set(PROFILES):
        parser.error(f"no such profile: {', '.join(sorted(unknown))}")
    failed, operations = False, 0
    profiles = asked.profiles or list(PROFILES)
    for profile in profiles:
        begun = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="netcache-wac-") as folder:
            outcome = run(
                Path(folder),
                profile,
                processes=asked.processes,
                writers=asked.writers,
                turns=asked.ops,
                seconds=asked.seconds / len(profiles),
                seed=asked.seed,
            )
        said = ", ".join(f"{count} {name}" for name, count in sorted(outcome.counts.items()))
        print(
            f"{profile}: {said} in {time.monotonic() - begun:.0f} s (seed {asked.seed}); "
            f"{len(outcome.wrong)} wrong",
            flush=True,
        )
        for line in outcome.wrong[:20]:
            print(f"  {line}", flush=True)
        failed |= bool(outcome.wrong)
        operations += outcome.counts["writes"]
    print(f"{operations} operations")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
