"""``kill -9`` of real processes, again and again, while others go on with the same cache.

Every line that a worker printed must be true afterwards: the page cache survives a kill.
``NETCACHE_CRASH_KILLS=500`` makes it a long loop.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from netcache._cachefiles.store import bind
from tests.support.crash_worker import TASKS, check_task
from tests.support.crash_workers import Workers
from tests.support.stores import Sync

KILLS = int(os.environ.get("NETCACHE_CRASH_KILLS", "4"))


@pytest.mark.parametrize("sync", ["lazy", "commit"])
@pytest.mark.timeout(60 + 10 * KILLS)
def test_kill_after_kill_costs_nothing_that_was_said_to_be_there(
    tmp_path: Path, sync: Sync
) -> None:
    """Four workers; each round kills them one by one, and looks after each."""
    first = told_of = 0
    for number in range(KILLS):
        chance = random.Random(f"{sync} {number}")
        with Workers(tmp_path, seed=number, sync=sync, first=first) as workers:
            workers.hear_more(chance.randrange(1, 20))
            for task in chance.sample(TASKS, len(TASKS)):
                workers.hear_more(chance.randrange(1, 8))
                workers.kill(task)
                heard = workers.hear()
                store = bind(tmp_path)
                told = workers.told(task, heard, heard)
                told_of += told is not None
                first = max(first, check_task(store, task, told, mapped=True))
                store.close()
        store = bind(tmp_path)
        for task in TASKS:
            told = workers.told(task, workers.lines, workers.lines)
            first = max(first, check_task(store, task, told, mapped=True))
        store.close()
        first += 1
    assert told_of >= KILLS, "the workers had promised next to nothing"
