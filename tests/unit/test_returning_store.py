"""The store that withdraws and comes back: when it tries, what it says, what it closes."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from netcache._cachefiles.fileops import PosixFileOps
from netcache._cachefiles.returning import PAUSE_MAX_S, PAUSE_S, SILENCE_S, ReturningStore
from netcache._cachefiles.store import bind
from netcache.errors import CacheError
from tests.support.bytemodel import ByteModel
from tests.support.faults import FaultyFileOps
from tests.support.stores import KEY, check, found, put


class Rig:
    """A store whose disk fails on order, a clock that is moved by hand, and what was said."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.faults = FaultyFileOps(PosixFileOps())
        self.now_s = 1000.0
        self.told: list[str] = []
        self.binds = 0
        self.store = ReturningStore(self._bind, self.told.append, now=lambda: self.now_s)

    def _bind(self, on_trouble: Callable[[CacheError], None]):  # type: ignore[no-untyped-def]
        self.binds += 1
        return bind(self.directory, fileops=self.faults.fileops, on_trouble=on_trouble)

    def kill(self) -> None:
        """Let the disk fail once."""
        self.faults.arm(errno.EIO, 1)
        with pytest.raises(CacheError):
            self.store.lookup(KEY)
        self.faults.disarm()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """A store, bound."""
    made = Rig(tmp_path / "cache")
    made.store.bound()
    yield made
    made.faults.disarm()
    made.store.close()


def test_a_store_that_died_is_bound_anew_after_a_pause(rig: Rig) -> None:
    """Not at once; then with everything that was there, for the disk has it."""
    put(rig.store, b"abc").close()
    rig.kill()
    with pytest.raises(CacheError, match="Input/output error"):
        rig.store.lookup(KEY)
    assert rig.binds == 1
    rig.now_s += PAUSE_S
    check(found(rig.store), ByteModel(b"abc"))
    assert rig.binds == 2


def test_a_disk_that_stays_broken_is_tried_more_and_more_rarely(rig: Rig) -> None:
    """The pauses double, up to a minute; each call between them costs no system call."""
    rig.kill()
    rig.faults.arm(errno.EIO, 1, lasting=True)
    tried = []
    for _ in range(600):
        binds = rig.binds
        with pytest.raises(CacheError):
            rig.store.lookup(KEY)
        if rig.binds > binds:
            tried.append(rig.now_s)
        rig.now_s += 1.0
    pauses = [after - before for before, after in pairwise(tried)]
    assert pauses[:6] == [2.0, 4.0, 8.0, 16.0, 32.0, 60.0]
    assert max(pauses) == PAUSE_MAX_S


def test_trouble_is_told_once_and_after_an_hour_again(rig: Rig) -> None:
    """One line, whatever number of calls fails."""
    for _ in range(10):
        rig.kill()
        rig.now_s += PAUSE_MAX_S
        rig.store.bound()
    assert rig.told == ["going on without a cache: the cache failed: Input/output error"]
    rig.now_s += SILENCE_S
    rig.kill()
    assert len(rig.told) == 2


def test_what_lived_for_long_is_tried_soon_when_it_dies(rig: Rig) -> None:
    """Pauses grow only while a disk fails again and again."""
    for _ in range(5):
        rig.kill()
        rig.now_s += PAUSE_MAX_S
        rig.store.bound()
    rig.now_s += 2 * PAUSE_MAX_S
    rig.kill()
    with pytest.raises(CacheError):
        rig.store.bound()
    rig.now_s += PAUSE_S
    rig.store.bound()


def test_objects_of_a_dead_store_are_read_on_and_closed_later(rig: Rig) -> None:
    """Their descriptors stay theirs; the dead store is closed when nobody has any more of it."""
    opened = put(rig.store, b"abc")
    descriptor = opened.fileno()
    before = len(os.listdir("/proc/self/fd"))
    rig.kill()
    rig.now_s += PAUSE_S
    rig.store.bound()
    assert os.pread(descriptor, 3, 0) == b"abc"
    with pytest.raises(CacheError):
        opened.mark_checked(1.0)
    opened.close()
    for _ in range(3):
        rig.now_s += 2 * PAUSE_MAX_S
        rig.kill()
        rig.now_s += PAUSE_S
        rig.store.bound()
    assert len(os.listdir("/proc/self/fd")) <= before + 6


def test_a_directory_that_was_removed_is_made_anew_at_once(rig: Rig) -> None:
    """No pause: it is not the disk that failed."""
    put(rig.store, b"abc").close()
    shutil.rmtree(rig.directory)
    with pytest.raises(CacheError, match="removed"):
        put(rig.store, b"new")
    check(put(rig.store, b"new"), ByteModel(b"new"))
    assert rig.told == [
        "going on without a cache: the cache directory was removed while it was in use"
    ]


def test_a_directory_that_cannot_be_bound_at_first_is_bound_later(tmp_path: Path) -> None:
    """A client that began on a broken disk has a cache when it is well."""
    rig = Rig(tmp_path / "cache")
    rig.faults.arm(errno.ENOSPC, 1, lasting=True)
    with pytest.raises(CacheError, match="cannot be used as a cache"):
        rig.store.bound()
    rig.faults.disarm()
    rig.now_s += PAUSE_S
    check(put(rig.store, b"abc"), ByteModel(b"abc"))
    rig.store.close()
    with pytest.raises(CacheError, match="closed"):
        rig.store.bound()
