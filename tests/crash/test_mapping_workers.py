"""K5: real worker processes that are killed or stopped; nobody waits for the dead."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import netcache
from netcache import SharedFile
from netcache._cachefiles.store import CachefilesStore
from netcache._core import mapping_record as layout
from netcache._fscache.sharing import Synced
from tests.support.mapper import URL, Mapper, content_of, mappers, number_in, put_version
from tests.support.sharing import record

HOUR_S = 3600.0
"""Longer than a test may take: only the dead not being waited for lets it end."""


@pytest.fixture
def asking(cache: CachefilesStore, tmp_path: Path) -> Iterator[SharedFile]:
    """The worker that asks, in this process."""
    with netcache.Client(cache_dir=tmp_path, offline=True) as client, client.share(URL) as shared:
        yield shared


@pytest.mark.parametrize("looked", [True, False], ids=["bit set", "bit clear"])
@pytest.mark.parametrize("count", [1, 4])
def test_k5_the_dead_are_not_waited_for(
    cache: CachefilesStore, asking: SharedFile, tmp_path: Path, looked: bool, count: int
) -> None:
    """K5: killed while their bits are set or clear; no message is sent to them."""
    with mappers(tmp_path, count) as workers:
        for worker in workers:
            assert worker.ask("look")[1] == 1
        if not looked:
            put_version(cache, 2)
        assert record(cache).unsynced.bit_count() == (0 if looked else count)
        for worker in workers:
            worker.kill()
        if looked:
            put_version(cache, 2)
        assert asking.sync_all(HOUR_S) == Synced(record(cache).generation, 0, 0, 0)
        assert record(cache).users == record(cache).unsynced == 0
        assert number_in(asking.synchronised(timeout=HOUR_S)) == 2


def test_k5_one_that_dies_while_it_is_waited_for_holds_nobody_up(
    cache: CachefilesStore, asking: SharedFile, tmp_path: Path
) -> None:
    """Stopped, it gets the message; killed while we wait, it is waited for no longer."""
    with mappers(tmp_path, 2) as (stopped, well):
        stopped.ask("look")
        well.ask("look")
        stop(stopped)
        put_version(cache, 2)
        sent = cache.worker().messages()
        child = os.fork()
        if child == 0:
            while cache._bound.mappings.messages() < sent + 2:
                os.sched_yield()
            os.kill(stopped.process.pid, signal.SIGKILL)
            os._exit(0)
        outcome = asking.sync_all(HOUR_S)
        os.waitpid(child, 0)
        stopped.process.wait()
        assert outcome == Synced(record(cache).generation, 2, 1, 0)
        assert well.ask("look")[1] == 2


def stop(worker: Mapper) -> None:
    """``kill -STOP``, and see it stopped."""
    worker.process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, worker.process.pid, os.WSTOPPED)


def test_k5_one_that_is_stopped_costs_the_timeout_and_no_more(
    cache: CachefilesStore, asking: SharedFile, tmp_path: Path
) -> None:
    """P6: whoever waited gets a private copy; when it goes on, it sees the new version."""
    with mappers(tmp_path, 2) as (stopped, well):
        stopped.ask("look")
        well.ask("look")
        stop(stopped)
        put_version(cache, 2)
        outcome = asking.sync_all(0.05)
        assert (outcome.messages, outcome.silent) == (2, 1)
        assert record(cache).lazy
        assert bytes(asking.synchronised(timeout=0.05)) == content_of(2)
        stopped.process.send_signal(signal.SIGCONT)
        assert asking.sync_all(HOUR_S).silent == 0
        assert not record(cache).lazy
        assert stopped.ask("current") is False
        assert stopped.ask("look")[1] == 2


def test_k5_a_place_is_free_again_after_its_worker_was_killed(
    cache: CachefilesStore, asking: SharedFile, tmp_path: Path
) -> None:
    """All places are taken and given back, as often as there are places, by killing."""
    asking.read()
    for _ in range(5):
        with mappers(tmp_path, 3) as workers:
            generations = {worker.ask("look")[0] for worker in workers}
            assert layout.UNSHARED not in generations
            assert record(cache).users == 0b1111
            for worker in workers:
                worker.kill()
    assert asking.sync_all(HOUR_S).messages == 0


def test_k5_the_child_of_a_killed_worker_is_not_the_worker(
    cache: CachefilesStore, asking: SharedFile, tmp_path: Path
) -> None:
    """A fork inherits descriptors; it gives the locks among them back at once."""
    for name in ("go", "told"):
        os.mkfifo(tmp_path / name)
    with mappers(tmp_path, 1) as (worker,):
        worker.ask("look")
        worker.ask("fork_and_touch_later", str(tmp_path))
        worker.kill()
        put_version(cache, 2)
        # The child waits for "go"; if it kept the worker's lock, this would not end.
        assert asking.sync_all(HOUR_S).silent == 0
        (tmp_path / "go").write_text("go")
        assert (tmp_path / "told").read_text() == "[1]"


def test_k4_unaware_consumers_in_other_processes(
    cache: CachefilesStore, asking: SharedFile, tmp_path: Path
) -> None:
    """K4 between processes: messages are answered by a worker that is doing nothing else."""
    with mappers(tmp_path, 3) as workers:
        for worker in workers:
            worker.ask("look")
        asking.read()
        for number in range(2, 6):
            put_version(cache, number)
            sent = workers[0].ask("messages")
            assert workers[0].ask("synchronised") == number
            # The two others, and the one in this process.
            assert workers[0].ask("messages") == sent + 3
            assert record(cache).unsynced == 0
            for worker in workers:
                assert worker.ask("current") is False
                assert worker.ask("look")[1] == number
                assert worker.ask("current") is True
        assert workers[1].ask("touch") == [1, 2, 3, 4, 5]
