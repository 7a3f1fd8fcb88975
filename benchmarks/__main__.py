"""Run the benchmarks and print the table."""

from __future__ import annotations

import argparse
import json
import sys

from benchmarks.rig import rig
from benchmarks.rows import ROWS
from netcache._core.units import parse_size


def main() -> None:
    """Measure the rows that are named (all), print ratios; exit 1 when one is out of reach."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("rows", nargs="*", help=f"of {', '.join(ROWS)}; all when none is named")
    parser.add_argument("--size", type=parse_size, default=1 << 30)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    if unknown := set(options.rows) - set(ROWS):
        parser.error(f"no such row: {', '.join(sorted(unknown))} (there are {', '.join(ROWS)})")
    results = []
    with rig(options.size) as place:
        for name in options.rows or list(ROWS):
            results += ROWS[name](place, options.rounds)
    print(f"{'row':34} {'ours':>12} {'against':>26} {'ratio':>7} {'range':>13} {'reach':>6}")
    for row in results:
        spread = f"{row.least:.2f}-{row.most:.2f}"
        print(
            f"{row.row:34} {row.ours_s:12.4f} {row.theirs[:16]:>16} {row.theirs_s:9.4f} "
            f"{row.ratio:7.3f} {spread:>13} {row.reach:6.2f} {'' if row.good else ' OUT OF REACH'}"
        )
    if options.json:
        with open(options.json, "w") as file:
            json.dump([row._asdict() for row in results], file, indent=2)
    sys.exit(0 if all(row.good for row in results) else 1)


if __name__ == "__main__":
    main()
