"""The record of room: what is on it is never less than what is there, whoever is killed or stopped.

Stores of one directory stand for processes; those that are killed are processes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from netcache._cachefiles.fileops import PosixFileOps
from netcache._cachefiles.store import bind
from netcache._core.usage_record import PROCESSES, PROCESSES_AT
from netcache.errors import CacheError, NoSpaceError
from tests.support.bytemodel import pattern
from tests.support.epochs import on_another_mount
from tests.support.faults import FaultyFileOps
from tests.support.fixtures import Opener
from tests.support.room import LIMIT, SIZE, granted, head_of, key, settle
from tests.support.stores import (
    allocated,
    check,
    create,
    fill_blocks,
    fill_from,
    found,
    object_files,
    put,
    text,
    version,
)


def test_a_record_that_was_closed_is_not_opened_in_another_folder(tmp_path: Path) -> None:
    """The root's number was: what was used by a thread that came late was noted wherever it led."""
    store, other = bind(tmp_path / "cache", limit_bytes=100 * SIZE), tmp_path / "other"
    put(store, b"small", key=key(1)).close()
    bound = store._bound
    root, mappings = bound.root, bound.mappings
    store.close()
    other.mkdir()
    opened = os.open(other, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.dup2(opened, root)
        with pytest.raises(OSError, match="Bad file descriptor"), bound.room.file.change():
            pytest.fail("a change of nothing")
        with pytest.raises(OSError, match="Bad file descriptor"), mappings.changing("@00/x"):
            pytest.fail("a change of nothing")
        with pytest.raises(OSError, match="Bad file descriptor"), bound.mappings.changing("@00/x"):
            pytest.fail("a change of nothing")
        assert os.listdir(other) == []
    finally:
        for fd in {opened, root}:
            os.close(fd)


def test_the_record_is_what_lies_there_once_all_is_closed(tmp_path: Path) -> None:
    """Maps with tables of sums, whole objects, replaced, cut, modified, invalidated, dropped."""
    store = bind(tmp_path, limit_bytes=100 * SIZE, sums_in_label=4)
    for number in range(12):
        put(store, pattern(0, SIZE, number), key=key(number)).close()
    sparse = create(store, SIZE, key=key(20))
    for first in (0, 5, 9, 63):
        fill_blocks(sparse, text(SIZE), first, first + 1)
    sparse.close()
    put(store, b"small", key=key(1), tag="b").close()
    changed = found(store, key(2))
    changed.begin_modify()
    changed.write(SIZE, pattern(0, SIZE), fill_from(text(SIZE)))
    changed.truncate(SIZE + 5000)
    changed.commit(version(SIZE + 5000, "b"))
    changed.close()
    thrown = found(store, key(3))
    thrown.invalidate(version(SIZE, "b"))
    thrown.close()
    store.drop(key(4))
    store.close()
    head = head_of(tmp_path)
    assert head.total == allocated(tmp_path)
    assert (head.granted, head.suspect, head.objects) == (0, 0, 12)


def test_a_grant_is_on_record_before_it_is_written(tmp_path: Path, opener: Opener) -> None:
    """What an open file took, and what may be written yet, is what others see as granted."""
    store = opener(limit_bytes=100 * SIZE)
    cache_object = create(store, SIZE)
    for first in range(0, SIZE // store.block_size, 8):
        fill_blocks(cache_object, text(SIZE), first, first + 8)
        head = head_of(tmp_path)
        assert head.granted == granted(store)
        assert head.total + head.granted >= allocated(tmp_path)
    cache_object.close()


def killed_after_putting(directory: Path, count: int) -> None:
    """A process that stores objects and is killed before it has settled them."""
    pid = os.fork()
    if not pid:
        with contextlib.suppress(BaseException):
            killed = bind(directory, limit_bytes=LIMIT)
            for number in range(count):
                put(killed, pattern(0, SIZE, number), key=key(number))
            os.kill(os.getpid(), 9)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -9


def test_what_a_killed_process_discarded_does_not_stay_on_record(tmp_path: Path) -> None:
    """It was killed between taking the file away and saying so; counting again finds out."""
    store = bind(tmp_path, limit_bytes=LIMIT)
    for number in range(10, 14):
        put(store, pattern(0, SIZE, number), key=key(number)).close()
    settle(store)
    for path in object_files(tmp_path)[:2]:
        path.unlink()
    assert head_of(tmp_path).total > allocated(tmp_path)
    killed_after_putting(tmp_path, 1)
    store.cull(None)
    store.close()
    assert head_of(tmp_path).total == allocated(tmp_path)
    assert head_of(tmp_path).objects == 3


def test_a_process_that_is_gone_leaves_its_grant_as_suspect(tmp_path: Path) -> None:
    """Until the cache was counted again; then its objects are on record like all others."""
    killed_after_putting(tmp_path, 4)
    left = allocated(tmp_path)
    assert left >= 4 * SIZE
    assert head_of(tmp_path).granted > 0
    store = bind(tmp_path, limit_bytes=LIMIT)
    for number in range(10, 20):
        put(store, pattern(0, SIZE, number), key=key(number)).close()
        assert allocated(tmp_path) <= LIMIT
    store.close()
    head = head_of(tmp_path)
    assert (head.suspect, head.granted) == (0, 0)
    assert head.total == allocated(tmp_path)


@pytest.mark.parametrize("loss", ["removed", "emptied", "garbage", "garbage behind the head"])
def test_a_record_that_is_lost_is_made_again(tmp_path: Path, loss: str) -> None:
    """Also under the feet of a process that uses it; the limit holds all the same."""
    store = bind(tmp_path, limit_bytes=LIMIT)
    for number in range(6):
        put(store, pattern(0, SIZE, number), key=key(number)).close()
    settle(store)
    path = tmp_path / "usage"
    if loss == "removed":
        path.unlink()
    elif loss == "emptied":
        os.truncate(path, 0)
    elif loss == "garbage":
        path.write_bytes(random.Random(1).randbytes(1 << 21))
    else:
        with path.open("r+b") as file:
            file.seek(PROCESSES_AT + 8 * PROCESSES)
            file.write(random.Random(2).randbytes(1 << 16))
    for number in range(10, 20):
        with contextlib.suppress(NoSpaceError):
            put(store, pattern(0, SIZE, number), key=key(number)).close()
        assert allocated(tmp_path) <= LIMIT
    assert store.lookup(key(19)) is not None
    store.close()
    assert head_of(tmp_path).total == allocated(tmp_path)


def test_a_record_of_another_mount_is_made_again_unless_others_live(tmp_path: Path) -> None:
    """A disk that was away may have lost what was not synced; one that is mounted twice has not."""
    first = bind(tmp_path, limit_bytes=LIMIT)
    put(first, pattern(0, SIZE), key=key(0)).close()
    settle(first)
    sequence = head_of(tmp_path).sequence
    second = bind(tmp_path, fileops=on_another_mount(), limit_bytes=LIMIT)
    put(second, pattern(0, SIZE), key=key(1)).close()
    settle(second)
    assert head_of(tmp_path).objects == 2
    assert head_of(tmp_path).sequence < sequence + 100, "it is the same record"
    second.close()
    first.close()
    third = bind(tmp_path, fileops=on_another_mount(), limit_bytes=LIMIT)
    third.reserve(1)
    settle(third)
    assert not sequence <= head_of(tmp_path).sequence < sequence + 100
    assert head_of(tmp_path).counted
    assert head_of(tmp_path).total == allocated(tmp_path)
    third.close()


@pytest.mark.parametrize("others", [0, 1], ids=["alone", "with another process"])
def test_a_change_is_made_as_a_whole_or_not_at_all(tmp_path: Path, others: int) -> None:
    """Killed at any write of it: the next one finds a record that is right."""
    at = 0
    while True:
        at += 1
        directory = tmp_path / str(at)
        ops = FaultyFileOps(PosixFileOps())
        living = [bind(directory, limit_bytes=LIMIT) for _ in range(others)]
        dying = bind(directory, fileops=ops.fileops, limit_bytes=LIMIT)
        for number in range(3):
            put(dying, pattern(0, SIZE, number), key=key(number)).close()
        settle(dying)
        put(dying, pattern(0, SIZE), key=key(1), tag="b").close()
        dying.drop(key(0))
        # From its n-th write on nothing gets to the disk any more: as if it was killed there.
        ops.arm(errno.EPERM, at, only={"write_all"}, lasting=True)
        done = dying._bound.room.flush()
        with contextlib.suppress(CacheError):
            dying.close()
        heir = bind(directory, limit_bytes=LIMIT)
        for number in range(10, 13):
            put(heir, pattern(0, SIZE, number), key=key(number)).close()
        assert heir.cull(0)[0] == 5
        heir.close()
        for store in living:
            store.close()
        assert head_of(directory).total == allocated(directory) == 0
        assert head_of(directory).objects == 0
        if done:
            break
    assert at >= 4, "there was a journal, slots, and a head to write"


def test_who_does_not_get_the_record_goes_on_without(tmp_path: Path) -> None:
    """Somebody was stopped in the middle of a change: with a limit nothing is stored until then."""
    stopped = bind(tmp_path, limit_bytes=LIMIT)
    put(stopped, pattern(0, SIZE), key=key(0)).close()
    limited = bind(tmp_path, limit_bytes=LIMIT)
    free = bind(tmp_path)
    with stopped._bound.room.change():
        with pytest.raises(NoSpaceError, match="not known now"):
            limited.reserve(SIZE)
        with pytest.raises(NoSpaceError):
            put(limited, pattern(0, SIZE), key=key(1))
        put(free, pattern(0, SIZE, 2), key=key(2)).close()
        check(found(limited, key(0)), text(SIZE))
        check(found(limited, key(2)), text(SIZE, seed=2))
    put(limited, pattern(0, SIZE), key=key(1)).close()
    for store in (limited, free, stopped):
        store.close()
    assert head_of(tmp_path).total == allocated(tmp_path)


def test_threads_that_grow_at_once_have_all_their_grants_on_record(tmp_path: Path) -> None:
    """What is granted to one thread is not forgotten by the change that another makes."""
    store = bind(tmp_path, limit_bytes=40 * SIZE)

    def work(number: int) -> None:
        for which in range(12):
            put(store, pattern(0, SIZE // 4, which), key=key(100 * number + which)).close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    settle(store)
    assert head_of(tmp_path).granted == granted(store)
    store.close()
    assert head_of(tmp_path).total == allocated(tmp_path)
    assert head_of(tmp_path).granted == 0


def test_opening_an_object_again_within_a_minute_counts_once(tmp_path: Path) -> None:
    """Counting costs more than opening; afterwards it counts again."""
    seconds = [1_000.0]
    store = bind(tmp_path, clock=lambda: seconds[0])
    put(store, b"x" * 100).close()
    for now_s in (1_100.0, 1_101.0, 1_159.0, 1_160.5):
        seconds[0] = now_s
        cache_object = found(store)
        cache_object.mark_used()
        cache_object.close()
    # Not on record yet: they wait for others.
    assert [use.times for use in store._bound.room._uses.values()] == [2]
    store.close()
