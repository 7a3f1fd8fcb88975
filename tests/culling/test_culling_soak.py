"""A short run of the soak of culling; ``python -m tests.culling`` is the long one."""

from __future__ import annotations

from pathlib import Path

from tests.culling.rig import soak


def test_four_processes_never_exceed_the_limit_and_read_no_wrong_byte(tmp_path: Path) -> None:
    """Measured again and again while they are stopped; some are killed; all is on record after."""
    outcome = soak(tmp_path, ops=2000, seed=7, limit=4 << 20, kill_every=700)
    assert outcome.faults == []
    assert outcome.ops >= 2000
    assert outcome.kills >= 2
    assert outcome.samples > 20
    assert outcome.most > 2 << 20, "the limit was never come near"
