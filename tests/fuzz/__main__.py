"""``python -m tests.fuzz``: long runs against the bundled server, reproducible by seed."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.grammar import Grammar
from tests.fuzz.rig import Fuzzed, fuzzed_server

ROUND = 100
"""So many requests between two checks."""


def run(server: Fuzzed, seed: int, count: int) -> None:
    """Send ``count`` cases of a seed.  Raises ``AssertionError`` that names seed and number."""
    grammar = Grammar(seed)
    for number in range(count):
        case = grammar.case()
        try:
            server.send(case)
            if number % ROUND == ROUND - 1 or number == count - 1:
                server.check()
                server.plant()
                server.check_memory()
        except (AssertionError, OSError) as error:
            shown = case.data if len(case.data) < 2000 else case.data[:2000] + b"..."
            raise AssertionError(f"seed {seed}, case {number}: {error!r}\n{shown!r}") from error
    server.check_log()


def main() -> None:
    """Run until ``--requests`` are done; exit 1 on the first thing that is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000, help="how many cases")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as area, fuzzed_server(Path(area)) as server:
        try:
            run(server, given.seed, given.requests)
        except AssertionError as error:
            print(error)
            sys.exit(1)
        print(f"{given.requests} cases in {time.monotonic() - began:.0f} s, answered with:")
        print("  ".join(f"{status}: {count}" for status, count in sorted(server.seen.items())))


if __name__ == "__main__":
    main()
