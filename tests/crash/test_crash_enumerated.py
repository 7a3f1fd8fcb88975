"""A crash at every call of every scenario: a sample of it, or as much as is asked for.

``NETCACHE_CRASH_POINTS=100000`` tries that many; ``python -m tests.crash`` does the same, and
tells how far it is.
"""

from __future__ import annotations

import os

import pytest

from tests.crash.__main__ import plans
from tests.support.crash_explore import BLOCKS, SYNCS, Explorer, plan_of
from tests.support.crash_scenarios import SCENARIOS
from tests.support.samples import sample_size
from tests.support.stores import Sync

POINTS = int(os.environ.get("NETCACHE_CRASH_POINTS", "0"))


@pytest.mark.parametrize("sync", SYNCS)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_a_crash_at_any_call_leaves_what_was_promised_and_no_wrong_byte(
    scenario: object, sync: Sync
) -> None:
    """A share of all distinct outcomes, the same in every run."""
    name = getattr(scenario, "__name__", "")
    explorer = Explorer()
    for seed, block in enumerate(BLOCKS):
        explorer.explore(plan_of(name, seed, sync, block, drawn=2, share=sample_size(0.01, 0.1)))
    assert explorer.boundaries > 100
    assert explorer.tried > 20
    assert [str(fault) for fault in explorer.faults] == []


@pytest.mark.skipif(not POINTS, reason="the long run: set NETCACHE_CRASH_POINTS")
@pytest.mark.timeout(0)
def test_the_long_run() -> None:
    """As many crash points as were asked for."""
    explorer = Explorer()
    for plan in plans(first_seed=0):
        explorer.explore(plan)
        if explorer.tried >= POINTS or explorer.faults:
            break
    assert [str(fault) for fault in explorer.faults] == []
