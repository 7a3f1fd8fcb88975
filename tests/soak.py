"""``make soak``: the long versions of the random tests, one after the other, in one table.

Each suite is a program that draws everything from ``--seed``.  It is run in slices, each with the
next seed, until its share of the time is used up.  A slice that does not end with 0 is a
violation; what it printed last is shown, and the seed finds it again.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent
SLICE_S_MAX = 900.0
"""A slice that takes longer is stuck."""
_SHOWN_CHARS = 3000


@dataclass(frozen=True)
class Suite:
    """A program and its arguments; ``{seed}`` is filled in.

    ``counts`` finds in what it prints how many operations it has tried: the last number, or the sum
    of all with ``sums``; without, they are ``ops``.
    ``share``: how much of the time it gets, compared with the others; 0: one slice.
    """

    name: str
    module: str
    arguments: tuple[str, ...]
    what: str
    share: float = 1.0
    ops: int = 0
    counts: str = r"(\d+) operations"
    sums: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_there(self) -> bool:
        """Whether the program exists."""
        found = importlib.util.find_spec(self.module.partition(".")[0])
        if found is None:
            return False
        try:
            return importlib.util.find_spec(self.module) is not None
        except ModuleNotFoundError:
            return False


SUITES = (
    Suite("fsx", "tests.fsx", ("--ops", "20000", "--seed", "{seed}"), "edits", 3, ops=20_000),
    Suite(
        "crash points",
        "tests.crash",
        ("--points", "10000", "--seed", "{seed}"),
        "outcomes of crashes",
        3,
        counts=r"(\d+) points,",
    ),
    Suite(
        "journal points",
        "pytest",
        ("-q", "-s", "-n", "0", "-p", "no:cacheprovider", "tests/crash/test_journal_points.py"),
        "outcomes of crashes",
        0,
        counts=r"(\d+) crash points",
        environment={"NETCACHE_CRASH_JOURNAL": "40"},
    ),
    Suite(
        "kill loops",
        "pytest",
        ("-q", "-n", "0", "-p", "no:cacheprovider", "tests/crash/test_kill_loops.py"),
        "rounds of four kills",
        1,
        ops=20,
        environment={"NETCACHE_CRASH_KILLS": "10"},
    ),
    Suite(
        "each call",
        "pytest",
        (
            *("-q", "-n", "0", "-p", "no:cacheprovider"),
            "tests/crash/test_store_power_cut.py",
            "tests/fault/test_store_faults.py",
            "tests/fsx/test_recorded.py",
        ),
        "tests of every call",
        0,
        counts=r"(\d+) passed",
        environment={"NETCACHE_TEST_ALL": "1"},
    ),
    Suite(
        "resumed uploads",
        "pytest",
        ("-q", "-n", "0", "-p", "no:cacheprovider", "tests/integration/test_resumed_puts.py"),
        "courses of six runs",
        0,
        ops=50,
        environment={"NETCACHE_UPLOAD_SEEDS": "50"},
    ),
    Suite(
        "stress",
        "tests.stress",
        ("--processes", "16", "--seconds", "60", "--seed", "{seed}"),
        "operations of processes",
        4,
    ),
    Suite(
        "stress, no locks",
        "tests.stress",
        ("--processes", "8", "--seconds", "30", "--seed", "{seed}", "--no-locks"),
        "operations of processes",
        1,
    ),
    Suite(
        "single flight",
        "tests.stress.single_flight",
        ("--processes", "16", "--mib", "1024"),
        "reads of 1 MiB",
        0,
        ops=16 * 1024,
    ),
    Suite("chaos", "tests.chaos", ("--reads", "20000", "--seed", "{seed}"), "reads", 2, ops=20_000),
    Suite(
        "wac",
        "tests.wac",
        ("--seconds", "20", "--seed", "{seed}"),
        "writes",
        2,
        counts=r"(\d+) writes",
        sums=True,
    ),
    Suite(
        "schedules",
        "tests.schedules",
        ("--count", "1000", "--seed", "{seed}"),
        "schedules",
        1,
        counts=r"(\d+) schedules",
        sums=True,
    ),
    Suite("culling", "tests.culling", ("--seconds", "60", "--seed", "{seed}"), "operations", 2),
    Suite(
        "fuzz",
        "tests.fuzz",
        ("--requests", "20000", "--seed", "{seed}"),
        "requests",
        1,
        counts=r"(\d+) cases",
    ),
)


@dataclass
class Line:
    """A line of the table."""

    suite: Suite
    seed: int
    slices: int = 0
    operations: int = 0
    violations: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        if not self.suite.is_there:
            return f"{self.suite.name:18} is not there"
        return (
            f"{self.suite.name:18} {self.operations:10} {self.suite.what:24} {self.violations:10}"
            f"   {self.seed}..{self.seed + self.slices - 1:<8} {self.seconds:8.0f}"
        )


HEAD = f"{'suite':18} {'tried':>10} {'':24} {'violations':>10}   {'seeds':12} {'seconds':>8}"


def run(suite: Suite, seed: int, seconds: float) -> Line:
    """Run slices of a suite for about so long."""
    line = Line(suite, seed)
    if not suite.is_there:
        return line
    began = time.monotonic()
    while not line.slices or (suite.share and line.seconds < seconds):
        status, said = _slice(suite, seed + line.slices)
        line.slices += 1
        line.seconds = time.monotonic() - began
        found = [int(number) for number in re.findall(suite.counts, said)]
        line.operations += suite.ops or sum(found if suite.sums else found[-1:])
        if status:
            line.violations += 1
            print(f"{suite.name}, seed {seed + line.slices - 1}:\n{said[-_SHOWN_CHARS:]}")
            break
    return line


def _slice(suite: Suite, seed: int) -> tuple[int, str]:
    """One slice: its exit status, and what it said."""
    filled = [part.format(seed=seed) for part in suite.arguments]
    try:
        done = subprocess.run(
            [sys.executable, "-m", suite.module, *filled],
            cwd=ROOT,
            env=os.environ | suite.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=SLICE_S_MAX,
        )
    except subprocess.TimeoutExpired as late:
        return 1, f"it does not end\n{(late.stdout or b'')[-_SHOWN_CHARS:]!r}"
    return done.returncode, done.stdout


def soak(suites: Iterable[Suite], *, minutes: float, seed: int) -> int:
    """Run all of them, print the table; 1 when there was a violation."""
    chosen = list(suites)
    shares = sum(suite.share for suite in chosen if suite.is_there) or 1.0
    lines = []
    for suite in chosen:
        line = run(suite, seed, minutes * 60 * suite.share / shares)
        lines.append(line)
        print(f"... {line}", flush=True)
    print(HEAD)
    for line in lines:
        print(line)
    return int(any(line.violations for line in lines))


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=25.0, help="for all suites together")
    parser.add_argument("--seed", type=int, default=1, help="the first one of each suite")
    parser.add_argument("--only", action="append", help="a suite's name; may be repeated")
    options = parser.parse_args()
    suites = [one for one in SUITES if not options.only or one.name in options.only]
    if not suites:
        parser.error(f"--only: one of {', '.join(one.name for one in SUITES)} is needed")
    return soak(suites, minutes=options.minutes, seed=options.seed)


if __name__ == "__main__":
    sys.exit(main())
