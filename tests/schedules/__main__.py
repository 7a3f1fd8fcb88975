"""The long run: ``python -m tests.schedules --count 1000 --seed 1 [scenario ...]``."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.schedules.scenarios import SCENARIOS, run


def main() -> int:
    """Run so many schedules of each scenario; 1 when one of them fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.schedules", description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("scenarios", nargs="*", help="all without names")
    asked = parser.parse_args()
    failures = 0
    for scenario in SCENARIOS:
        name = scenario.__name__
        if asked.scenarios and name not in asked.scenarios:
            continue
        failed = 0
        for seed in range(asked.seed, asked.seed + asked.count):
            with tempfile.TemporaryDirectory() as folder:
                try:
                    run(scenario, Path(folder), seed)
                except Exception as error:
                    failed += 1
                    print(f"  {name} --seed {seed} --count 1: {error!r}", flush=True)
        print(f"{name}: {asked.count} schedules, {failed} failed", flush=True)
        failures += failed
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
