"""Full disks and broken disks: the n-th call on the cache directory fails, whoever makes it.

Here a sample, each day another one; ``python -m tests.fault --all`` fails every call of every
scenario.  What has to hold is in ``tests.support.disk_driver``.
"""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest

from tests.support.disk_driver import CODES, run_all
from tests.support.disk_scenarios import SCENARIOS
from tests.support.disk_stage import Scenario
from tests.support.samples import sample_size

STEP = sample_size(29, 1)
SEED = int(os.environ.get("NETCACHE_DISK_SEED") or time.time() // 86400)
CHEAP = ("read_cold", "put_file")
"""Scenarios whose every call fails here."""


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_a_failing_disk_costs_what_is_cached_and_nothing_else(
    tmp_path: Path, scenario: Scenario
) -> None:
    """Bytes are right, writes arrive, trouble is one line, nothing is left open, and when the disk
    is well the same client caches again: each ``STEP``-th call, failing once and from then on."""
    print(f"NETCACHE_DISK_SEED={SEED}")
    for code in CODES:
        for lasting in (False, True):
            home = tmp_path / errno.errorcode[code] / str(lasting)
            first = 1 + (SEED + code + lasting) % STEP
            run_all(scenario, code, home, lasting=lasting, step=STEP, first=first)


@pytest.mark.parametrize(
    "scenario", [one for one in SCENARIOS if one.name in CHEAP], ids=lambda one: one.name
)
def test_every_call_of_a_cold_read_and_of_an_upload_may_fail_for_want_of_room(
    tmp_path: Path, scenario: Scenario
) -> None:
    """No room, at every single call that may find none."""
    assert run_all(scenario, errno.ENOSPC, tmp_path / "once", lasting=False) > 10
    assert run_all(scenario, errno.EDQUOT, tmp_path / "lasting", lasting=True) > 10
