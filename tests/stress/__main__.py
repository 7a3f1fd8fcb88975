"""``python -m tests.stress``: many processes on one cache, killed at random; exit 1 on a fault."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.stress.plan import Plan
from tests.stress.rig import Rig


def main() -> int:
    """One run; prints what was done."""
    parser = argparse.ArgumentParser(prog="python -m tests.stress", description=__doc__)
    parser.add_argument("--processes", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--ops", type=int, default=1 << 62, help="stop after so many operations")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kill-every", type=int, default=60, help="operations, 0: never")
    parser.add_argument("--no-locks", action="store_true", help="locks do nothing")
    parser.add_argument("--keep", type=Path, help="an empty folder for all of it, and a log")
    options = parser.parse_args()
    plan = Plan(
        processes=options.processes,
        seconds=options.seconds,
        ops=options.ops,
        seed=options.seed,
        kill_every=options.kill_every,
        locks=not options.no_locks,
    )
    if options.keep is not None:
        outcome = Rig(plan, options.keep).run()
    else:
        with tempfile.TemporaryDirectory(prefix="netcache-stress-") as folder:
            outcome = Rig(plan, Path(folder)).run()
    for name, count in outcome.done.most_common():
        print(f"{count:8} {name}")
    print(
        f"seed {plan.seed}: {outcome.ops} operations of {plan.processes} processes in "
        f"{outcome.seconds:.1f} s, {outcome.kills} killed, {len(outcome.faults)} faults"
    )
    for fault in outcome.faults:
        print(f"fault: {fault}")
    return bool(outcome.faults)


if __name__ == "__main__":
    sys.exit(main())
