"""A store whose system calls can be made to fail: fixtures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from netcache._cachefiles.fileops import PosixFileOps
from netcache._cachefiles.store import CachefilesStore, bind
from tests.support.faults import FaultyFileOps


@pytest.fixture
def ops() -> FaultyFileOps:
    """Calls that can be made to fail."""
    return FaultyFileOps(PosixFileOps())


@pytest.fixture
def store(tmp_path: Path, ops: FaultyFileOps) -> Iterator[CachefilesStore]:
    """An empty store."""
    store = bind(tmp_path, fileops=ops)
    yield store
    store.close()
