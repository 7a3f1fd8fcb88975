"""Sixteen processes read one cold resource at once; ``python -m tests.stress.single_flight`` is
the same with 1 GiB."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_p3_sixteen_processes_that_read_a_cold_resource_have_it_sent_once() -> None:
    """1.00 times its bytes, and every process gets each of them right."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.stress.single_flight", "--processes", "16", "--mib", "16"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout
    assert "16 processes read 16 MiB each" in done.stdout
    assert "1.00x" in done.stdout
