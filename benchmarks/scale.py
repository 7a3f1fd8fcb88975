"""How cost grows: with the number of objects in the cache, and with the size of one.

``python -m benchmarks.scale [--most N] [--folder DIR] [--json FILE] [objects] [sizes]``

Each row is one operation, measured at sizes that lie factors of ten and more apart.  Its slope is
that of the line through the points in a log-log plot: 0 costs the same everywhere, 1 grows in
proportion.  Rows that are to be flat, and are not, end the run with exit code 1.  Nothing here
asks a server; big objects are sparse, so a few GiB of room are enough for all of it.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from pathlib import Path

from benchmarks.scale_objects import at_counts
from benchmarks.scale_rows import Row
from benchmarks.scale_sizes import at_sizes

FLAT_MAX = 0.2
"""A slope of this much is 1.6 for a factor of ten: what processor caches make of more objects."""

COUNTS = (1_000, 10_000, 100_000, 1_000_000)
SIZES = (1 << 20, 1 << 30, 100 << 30)


def slope(row: Row) -> float:
    """The slope of the line of least squares through the logarithms of the row's points.

    0 for a single one.
    """
    if len(row.points) < 2:
        return 0.0
    points = [(math.log(size), math.log(seconds)) for size, seconds in row.points]
    middle_x = sum(x for x, _ in points) / len(points)
    middle_y = sum(y for _, y in points) / len(points)
    rise = sum((x - middle_x) * (y - middle_y) for x, y in points)
    return rise / sum((x - middle_x) ** 2 for x, _ in points)


def good(row: Row) -> bool:
    """Whether a row that is to be flat is."""
    return not row.is_flat or slope(row) <= FLAT_MAX


def table(rows: list[Row]) -> str:
    """The rows as a Markdown table."""
    lines = ["| operation | seconds at each size | slope | to be |", "|---|---|---|---|"]
    for row in rows:
        points = " · ".join(f"{_size(size)}: {_time(seconds)}" for size, seconds in row.points)
        mark = "" if good(row) else " **not flat**"
        wanted = "flat" if row.is_flat else "about 1"
        lines.append(f"| {row.name} | {points} | {slope(row):+.2f}{mark} | {wanted} |")
    return "\n".join(lines)


def _size(number: int) -> str:
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20)):
        if number % factor == 0:
            return f"{number // factor} {unit}"
    return f"{number:,}"


def _time(seconds: float) -> str:
    if seconds < 1e-3:
        return f"{seconds * 1e6:.1f} µs"
    return f"{seconds * 1e3:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def main() -> None:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help="of objects, sizes (both)")
    parser.add_argument(
        "--most",
        type=int,
        default=100_000,
        help="the most objects (100000; a million take 9 GiB, and a quarter of an hour or more)",
    )
    parser.add_argument("--folder", type=Path, help="where the caches are made (a new folder)")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    if unknown := set(options.parts) - {"objects", "sizes"}:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    parts = options.parts or ["objects", "sizes"]
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="netcache-scale-", dir=options.folder) as folder:
        if "objects" in parts:
            counts = [count for count in COUNTS if count <= options.most]
            rows += at_counts(Path(folder) / "objects", counts)
        if "sizes" in parts:
            rows += at_sizes(Path(folder) / "sizes", SIZES)
        # Before the files are removed, which takes minutes where there are a million.
        print(table(rows), flush=True)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            document = [{**row._asdict(), "slope": slope(row)} for row in rows]
            json.dump(document, file, indent=2)
    sys.exit(0 if all(good(row) for row in rows) else 1)


if __name__ == "__main__":
    main()
