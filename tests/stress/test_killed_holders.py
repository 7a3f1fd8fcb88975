"""P6: a process that is killed while it holds a lock keeps nobody waiting; one that is stopped, not
for long."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from netcache._cachefiles.fileops import PosixFileOps
from netcache._cachefiles.store import CachefilesStore, bind
from netcache._netfs.journal import Journal
from tests.stress.holder import LOCKS
from tests.support.bytemodel import ByteModel
from tests.support.intercept import Intercept
from tests.support.stores import KEY, check, found, put, version

ROOT = Path(__file__).parents[2]
OLD, NEW = b"o" * 10_000, b"n" * 7000


class Refusals(Intercept):
    """Counts the locks that somebody else had."""

    def __init__(self) -> None:
        super().__init__(PosixFileOps())
        self.refused = 0

    def around(self, name: str, args: tuple[Any, ...], call: Callable[[], Any]) -> Any:
        """Count."""
        answer = call()
        self.refused += name in ("lock_range", "lock_folder") and answer is False
        return answer


@contextmanager
def holder(directory: Path, lock: str) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that holds the lock."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.stress.holder", str(directory), lock],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        try:
            yield process
        finally:
            process.kill()


def use_everything(store: CachefilesStore) -> None:
    """All that takes one of the locks: label, use, names, table."""
    cache_object = found(store)
    cache_object.mark_checked(5.0)
    cache_object.begin_modify()
    cache_object.write(0, b"m", lambda extent: OLD[extent.start : extent.end])
    cache_object.commit(version(len(OLD), "m"))
    check(found(store), ByteModel(b"m" + OLD[1:]))
    put(store, NEW, tag="n").close()
    check(found(store), ByteModel(NEW))
    assert store.drop(KEY)
    put(store, OLD).close()


def refused(directory: Path) -> int:
    """Use everything, an extent too; how often a lock was refused (by an object of our own)."""
    refusals = Refusals()
    store = bind(directory, fileops=refusals.fileops)
    cache_object = found(store)
    assert cache_object.try_lock_extent(0, len(OLD))
    cache_object.close()
    use_everything(store)
    store.close()
    return refusals.refused


@pytest.mark.parametrize("lock", LOCKS)
def test_a_killed_process_holds_nothing(tmp_path: Path, lock: str) -> None:
    """Not one lock is refused afterwards, and nobody waits; its edit is there for the taking."""
    first = bind(tmp_path)
    put(first, OLD).close()
    first.close()
    with holder(tmp_path, lock) as process:
        process.kill()
        process.wait()
    first = bind(tmp_path / "alone")
    put(first, OLD).close()
    first.close()
    assert refused(tmp_path) == refused(tmp_path / "alone")
    orphans = list(Journal(str(tmp_path)).orphans())
    assert len(orphans) == (lock == "edit")
    for entry in orphans:
        entry.remove()


@pytest.mark.parametrize("lock", LOCKS)
def test_a_stopped_process_keeps_nobody_from_going_on(tmp_path: Path, lock: str) -> None:
    """The lock is its own; everything works all the same, and its edit stays its own."""
    store = bind(tmp_path)
    put(store, OLD).close()
    with holder(tmp_path, lock) as process:
        process.send_signal(signal.SIGSTOP)
        if lock == "fill":
            assert not found(store).try_lock_extent(0, 1)
        if lock == "use":
            # It may be changing the file at this moment: nobody believes it.
            assert store.lookup(KEY) is None
            put(store, OLD).close()
        use_everything(store)
        assert list(Journal(str(tmp_path)).orphans()) == []
    store.close()
