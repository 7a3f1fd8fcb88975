"""``python -m benchmarks [--size 1GiB] [--rounds 5] [--json FILE] [--chart FILE] [ROW ...]``."""

from __future__ import annotations

import argparse
import json
import sys

from benchmarks.report import chart, document, table
from benchmarks.rig import rig
from benchmarks.rows import ROWS
from netcache._core.units import parse_size


def main() -> None:
    """Measure the rows that are named (all), print the table; exit 1 if one is out of reach."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)}")
    parser.add_argument("--size", type=parse_size, default=1 << 30)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--chart", metavar="FILE", help="an SVG")
    options = parser.parse_args()
    if unknown := set(options.rows) - set(ROWS):
        parser.error(f"no such row: {', '.join(sorted(unknown))} (there are {', '.join(ROWS)})")
    scores = []
    with rig(options.size) as place:
        for name in options.rows or list(ROWS):
            print(f"{name} ...", file=sys.stderr)
            scores += ROWS[name](place, options.rounds)
    print(table(scores))
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(document(scores), file, indent=2)
    if options.chart:
        with open(options.chart, "w", encoding="utf-8") as file:
            file.write(chart(scores))
    sys.exit(0 if all(score.good for score in scores) else 1)


if __name__ == "__main__":
    main()
