"""A short run of the stress test; ``python -m tests.stress --seconds 600`` is a long one."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> tuple[int, int]:
    """A run in a process of its own, which forks; how much was done, and how many were killed."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.stress", "--seed", "1", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    found = re.search(
        r"(\d+) operations of 4 processes in .* s, (\d+) killed, 0 faults", done.stdout
    )
    assert found is not None, done.stdout
    return int(found[1]), int(found[2])


def test_processes_that_are_killed_again_and_again_never_show_or_store_a_wrong_byte() -> None:
    """P1, P2, P4, P6, P7: reads, edits, puts, culling, recovery of four processes on one cache.

    Every byte read is compared with the server's own book of versions, and so is every edit that
    was acknowledged or flushed.
    """
    operations, killed = run("--processes", "4", "--ops", "300", "--kill-every", "30")
    assert operations >= 300
    assert killed >= 3


def test_without_locks_no_byte_is_wrong_either() -> None:
    """On a filesystem where locks do nothing: slower, for nothing is changed in place or culled."""
    operations, killed = run("--processes", "4", "--ops", "200", "--kill-every", "40", "--no-locks")
    assert operations >= 200
    assert killed >= 2
