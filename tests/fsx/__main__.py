"""``python -m tests.fsx``: long runs of random operations, reproducible by seed."""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
import time
from pathlib import Path

from tests.fsx.exerciser import WATCHES, Op, random_ops
from tests.fsx.faces import FACES
from tests.fsx.rig import MODES, SERVERS, Kind, exerciser

RUN_OPS = 20_000
SIZE = 100_000


def attempt(kind: Kind, seed: int, ops: list[Op], size: int = SIZE) -> str:
    """Do ``ops``; returns what went wrong, with the operations saved for ``--replay``."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        try:
            with exerciser(Path(folder), kind, size=size, seed=seed) as file:
                file.run(ops)
        except (AssertionError, OSError) as error:
            saved = Path(f"fsx-{kind}-{seed}.json")
            case = {"kind": list(kind), "seed": seed, "size": size, "ops": file.done}
            saved.write_text(json.dumps(case))
            return f"{type(error).__name__}: {error}\nrun again with --replay {saved}"
    seconds = time.monotonic() - began
    shown, stale = file.counts["shown"], file.counts["stale"]
    print(
        f"seed {seed} {kind}: {len(ops)} in {seconds:.1f} s (peeks: {shown} shown, {stale} stale)"
    )
    sys.stdout.flush()
    return ""


def replay(path: Path) -> str:
    """Do again what a failed run saved."""
    case = json.loads(path.read_text())
    ops = [tuple(op) for op in case["ops"] if op[0] != "close"]
    return attempt(Kind(*case["kind"]), case["seed"], ops, case["size"])


def main() -> None:
    """Run all kinds in turn, with new seeds, until ``--ops`` are done; exit 1 on a mismatch."""
    parser = argparse.ArgumentParser(prog="python -m tests.fsx", description=__doc__)
    parser.add_argument("--ops", type=int, default=1_000_000, help="how many in all")
    parser.add_argument("--run", type=int, default=RUN_OPS, help="how many with one seed")
    parser.add_argument("--seed", type=int, default=1, help="the first one")
    parser.add_argument("--largest", type=int, default=300_000, help="the size of the file at most")
    parser.add_argument("--server", choices=SERVERS)
    parser.add_argument("--mode", choices=MODES)
    parser.add_argument("--face", choices=FACES)
    parser.add_argument("--watch", choices=WATCHES, default="", help="compare after each operation")
    parser.add_argument("--faults", type=float, default=0.0, help="probability, memory only")
    parser.add_argument("--replay", metavar="FILE", help="operations as a failed run saved them")
    options = parser.parse_args()
    if options.replay:
        if failure := replay(Path(options.replay)):
            sys.exit(failure)
        return
    kinds = itertools.product(
        [options.server] if options.server else SERVERS[2 * bool(options.faults) :],
        [options.mode] if options.mode else MODES,
        [True, False],
        [options.face] if options.face else FACES,
        [options.watch],
        [options.faults],
    )
    left, seed = options.ops, options.seed
    for kind in itertools.cycle([Kind(*kind) for kind in kinds]):
        if left <= 0:
            break
        count = min(options.run, left)
        if failure := attempt(kind, seed, random_ops(seed, count, options.largest)):
            sys.exit(f"seed {seed} {kind}: {failure}")
        left, seed = left - count, seed + 1


if __name__ == "__main__":
    main()
