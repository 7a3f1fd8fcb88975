"""The long run of the crash tests: ``python -m tests.crash --points 100000``.

Prints a line a plan, and each fault with the plan that finds it again.  Exits 1 if there were any.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Iterator

from tests.support.crash_explore import BLOCKS, SYNCS, Explorer, Plan, plan_of
from tests.support.crash_scenarios import SCENARIOS


def plans(first_seed: int) -> Iterator[Plan]:
    """All scenarios with both policies and all block sizes, for ever, each time from a new seed."""
    for seed in itertools.count(first_seed):
        for scenario, sync, block in itertools.product(SCENARIOS, SYNCS, BLOCKS):
            yield plan_of(scenario.__name__, seed, sync, block)


def main() -> int:
    """Explore until enough points were tried."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--points", type=int, default=100_000, help="distinct outcomes to try")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--only", help="one scenario")
    options = parser.parse_args()
    explorer, began = Explorer(), time.monotonic()
    for plan in plans(options.seed):
        if options.only not in (None, plan.scenario):
            continue
        explorer.explore(plan)
        print(
            f"{explorer.tried:8} points, {explorer.boundaries} boundaries, "
            f"{time.monotonic() - began:.0f} s, {len(explorer.faults)} faults: "
            f"{plan.scenario} seed {plan.seed} {plan.sync} B={plan.block}",
            flush=True,
        )
        if explorer.tried >= options.points:
            break
    print(f"points: {dict(explorer.points)}; crashed again: {explorer.again} times")
    for fault in explorer.faults:
        print(fault)
    return bool(explorer.faults)


if __name__ == "__main__":
    sys.exit(main())
