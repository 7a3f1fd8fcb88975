"""``python -m tests.fsx``: long runs of random operations, reproducible by seed."""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
import time
from pathlib import Path

from tests.fsx.exerciser import MismatchError, random_ops
from tests.fsx.rig import SERVERS, exerciser

RUN_OPS = 20_000


def main() -> None:
    """Run all kinds in turn, with new seeds, until ``--ops`` are done; exit 1 on a mismatch."""
    parser = argparse.ArgumentParser(prog="python -m tests.fsx", description=__doc__)
    parser.add_argument("--ops", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--largest", type=int, default=300_000)
    parser.add_argument("--server", choices=SERVERS)
    parser.add_argument("--mode", choices=["through", "back"])
    parser.add_argument("--replay", metavar="FILE", help="operations as a failed run saved them")
    options = parser.parse_args()
    kinds = itertools.product(
        [options.server] if options.server else SERVERS,
        [options.mode] if options.mode else ["back", "through"],
        [True, False],
    )
    left, seed = options.ops, options.seed
    for server, mode, use_cache in itertools.cycle(list(kinds)):
        if left <= 0:
            break
        count = min(RUN_OPS, left)
        ops = random_ops(seed, count, options.largest)
        if options.replay:
            ops = [tuple(op) for op in json.loads(Path(options.replay).read_text())]
            left = 0
        began = time.monotonic()
        with (
            tempfile.TemporaryDirectory() as folder,
            exerciser(
                Path(folder), server=server, mode=mode, use_cache=use_cache, size=100_000, seed=seed
            ) as file,
        ):
            try:
                file.run(ops)
            except MismatchError as error:
                saved = Path(f"fsx-{seed}.json")
                saved.write_text(json.dumps(file.done))
                print(f"seed {seed} {server} {mode} cache={use_cache}: {error}\nsaved in {saved}")
                sys.exit(1)
        seconds = time.monotonic() - began
        print(f"seed {seed} {server} {mode} cache={use_cache}: {len(ops)} in {seconds:.1f} s")
        sys.stdout.flush()
        left, seed = left - count, seed + 1


if __name__ == "__main__":
    main()
