"""The power goes at every call of the store in turn.

Synced bytes are as they were; of the others some are there, some are gone, some are torn; labels
are the newest or the last durable ones.  What is served afterwards is one version, byte for byte.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest

from netcache._cachefiles.fileops import PosixFileOps
from netcache.errors import CacheError
from tests.support.epochs import in_epoch
from tests.support.operations import OPERATIONS, Case, prepared, verify
from tests.support.powercut import PowerCut, PowerLost
from tests.support.samples import numbers
from tests.support.stores import Sync

MOST_CALLS = 400


@pytest.mark.parametrize("sync", ["lazy", "commit"])
@pytest.mark.parametrize("newest_labels", [True, False], ids=["new-labels", "old-labels"])
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)
def test_a_power_cut_at_any_call_never_leaves_a_wrong_byte(
    tmp_path: Path, operation: Callable[[Case], None], newest_labels: bool, sync: Sync
) -> None:
    """Before the n-th call, until the operation goes through; each n in one of the ways."""
    for number in numbers(4, 2 * newest_labels + (sync == "lazy")):
        assert number < MOST_CALLS, "the operation never goes through"
        directory = tmp_path / str(number)
        shim = PowerCut(PosixFileOps())
        case = prepared(directory, shim.fileops, sync)
        shim.stop_at(number)
        with contextlib.suppress(PowerLost, CacheError):
            operation(case)
        finished = not shim.stopped
        shim.cut(directory, seed=number, newest_labels=newest_labels)
        verify(directory, case, in_epoch(1))
        with contextlib.suppress(PowerLost, CacheError):
            case.store.close()
        if finished:
            return
