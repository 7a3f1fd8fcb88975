"""``python -m benchmarks.speed [--size 1GiB] [--rounds 5] [--json FILE] [ROW ...]``: the table."""

from __future__ import annotations

import argparse
import json

from benchmarks.contest import table
from benchmarks.rig import rig
from benchmarks.speed_rows import SPEED_ROWS
from netcache._core.units import parse_size


def main() -> None:
    """Measure the rows that are named (all), and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(SPEED_ROWS)}")
    parser.add_argument("--size", type=parse_size, default=1 << 30)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    if unknown := set(options.rows) - set(SPEED_ROWS):
        parser.error(f"no such row: {', '.join(sorted(unknown))}")
    scores = []
    with rig(options.size) as place:
        for name in options.rows or list(SPEED_ROWS):
            scores += SPEED_ROWS[name](place, options.rounds)
    print(table(scores))
    if options.json:
        with open(options.json, "w") as file:
            json.dump([score._asdict() for score in scores], file, indent=2)


if __name__ == "__main__":
    main()
