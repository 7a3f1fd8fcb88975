"""Stable pages (U-SP1 to U-SP4): no byte under writeback changes, whatever is written meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.wac.rig import run
from tests.wac.writers import PROFILES


@pytest.mark.parametrize("profile", list(PROFILES))
def test_every_digest_fits_while_the_same_pages_are_rewritten(tmp_path: Path, profile: str) -> None:
    """Threads; the bundled server compares each upload with its digest, and has what we show."""
    outcome = run(tmp_path, profile, writers=6, turns=8)
    assert not outcome.wrong
    assert outcome.counts["writes"] == 6 * 8
    assert outcome.counts["uploads"]
    assert outcome.counts["compared"]


def test_every_digest_fits_with_processes_that_share_a_cache(tmp_path: Path) -> None:
    """Two processes with both sorts of writers."""
    outcome = run(tmp_path, "c", processes=2, writers=4, turns=8)
    assert not outcome.wrong
    assert outcome.counts["writes"] == 2 * 4 * 8
