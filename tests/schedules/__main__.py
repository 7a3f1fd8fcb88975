"""The long run: ``python -m tests.schedules --count 1000 --seed 1 [scenario ...]``."""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.schedules.scenarios import SCENARIOS, Scenario, run


def main() -> int:
    """Run so many schedules of each scenario, or for so long; 1 when one of them fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.schedules", description=__doc__)
    parser.add_argument("--count", type=int, help="of each scenario (1000 without --seconds)")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="at most")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("scenarios", nargs="*", help="all without names")
    asked = parser.parse_args()
    chosen = [one for one in SCENARIOS if not asked.scenarios or one.__name__ in asked.scenarios]
    count = asked.count or (1000 if asked.seconds == float("inf") else None)
    seeds = itertools.count(asked.seed) if count is None else range(asked.seed, asked.seed + count)
    end_s = time.monotonic() + asked.seconds
    done: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    for seed in seeds:
        if time.monotonic() >= end_s:
            break
        for scenario in chosen:
            done[scenario.__name__] += 1
            failed[scenario.__name__] += not _fits(scenario, seed)
    for name in done:
        print(f"{name}: {done[name]} schedules, {failed[name]} failed")
    print(f"{done.total()} operations, seed {asked.seed}: {failed.total()} failed")
    return 1 if failed.total() else 0


def _fits(scenario: Scenario, seed: int) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        try:
            run(scenario, Path(folder), seed)
        except Exception as error:
            print(f"  {scenario.__name__} --seed {seed} --count 1: {error!r}", flush=True)
            return False
    return True


if __name__ == "__main__":
    sys.exit(main())
