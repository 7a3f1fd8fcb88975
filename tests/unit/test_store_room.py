"""Room that is granted before it is written to: what is on record is never less than what is there.

Stores of one directory stand for processes; those that are killed are processes.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from netcache._cachefiles.fileops import PosixFileOps
from netcache._cachefiles.store import bind
from netcache._core.keys import ObjectKey
from netcache._core.usage_record import HEAD_BYTES, PROCESSES, PROCESSES_AT, Head
from netcache._core.watermarks import Watermarks
from netcache._fscache.ports import CacheStore
from netcache.errors import CacheError, NoSpaceError
from tests.stress.no_locks import without_locks
from tests.support.bytemodel import ByteModel, pattern
from tests.support.epochs import on_another_mount
from tests.support.faults import FaultyFileOps
from tests.support.fixtures import Opener
from tests.support.stores import (
    KEY,
    VOLUME,
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

SIZE = 256 << 10
LIMIT = 8 * SIZE


def key(number: int) -> ObjectKey:
    """The key of the ``number``-th object."""
    return ObjectKey(VOLUME, b"number %d" % number)


def head_of(directory: Path) -> Head:
    """What the record says of the whole."""
    head = Head.unpack((directory / "usage").read_bytes()[:HEAD_BYTES])
    assert head is not None
    return head


def settle(store: CacheStore) -> None:
    """Put all that the store knows on record."""
    assert store._bound.room.flush()  # type: ignore[attr-defined]


def granted(store: CacheStore) -> int:
    """How much the process of this store may still write, by its own book."""
    purse = store._bound.room.purse  # type: ignore[attr-defined]
    with purse.lock:
        amount: int = purse.held()
    return amount


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


def stream(store: CacheStore, number: int) -> None:
    """Write an object front to back, in pieces that are no blocks."""
    new = store.begin(key(number))
    for start in range(0, SIZE, 50_001):
        new.write(pattern(start, min(SIZE, start + 50_001), number))
    new.publish(version(SIZE), checked_s=0).close()


def copied(store: CacheStore, number: int) -> None:
    """Copy an object out of another file."""
    source = os.memfd_create("source")
    try:
        os.write(source, pattern(0, SIZE, number))
        new = store.begin(key(number))
        assert new.copy_from(source, SIZE) == SIZE
        new.publish(version(SIZE), checked_s=0).close()
    finally:
        os.close(source)


def sparse(store: CacheStore, number: int) -> None:
    """Fill every other block."""
    cache_object = create(store, SIZE, key=key(number))
    try:
        for first in range(1, SIZE // store.block_size, 2):
            fill_blocks(cache_object, text(SIZE, seed=number), first, first + 1)
    finally:
        cache_object.close()


def modified(store: CacheStore, number: int) -> None:
    """Change an object in place, while somebody else has it open: a copy takes its name."""
    reader = put(store, pattern(0, SIZE // 2, number), key=key(number))
    try:
        writer = found(store, key(number))
        try:
            writer.begin_modify()
            writer.write(SIZE // 2, pattern(0, SIZE // 2), fill_from(text(SIZE)))
            writer.commit(version(SIZE, "b"))
        finally:
            writer.close()
        check(reader, text(SIZE // 2, seed=number))
    finally:
        reader.close()


def empty(store: CacheStore, number: int) -> None:
    """Objects without any data take a little, too."""
    for which in range(10):
        create(store, SIZE, key=key(100 * number + which)).close()


WRITINGS = [stream, copied, sparse, modified, empty]


@pytest.mark.parametrize("writing", WRITINGS, ids=lambda writing: writing.__name__)
def test_no_way_of_writing_gets_past_the_limit(
    tmp_path: Path, writing: Callable[[CacheStore, int], None]
) -> None:
    """Without a word of warning (``reserve``): the writer gets room, or ``NoSpaceError``."""
    limit = LIMIT if writing is not empty else SIZE
    ops = Measured(tmp_path)
    store = bind(tmp_path, fileops=ops.fileops, limit_bytes=limit, sums_in_label=4)
    done = 0
    for number in range(14):
        with contextlib.suppress(NoSpaceError):
            writing(store, number)
            done += 1
    assert done >= 12
    assert 0.5 * limit < ops.most <= limit
    store.close()


class Measured(FaultyFileOps):
    """Measures the cache after every call that may have made it larger."""

    def __init__(self, directory: Path) -> None:
        super().__init__(PosixFileOps())
        self.directory = directory
        self.most = 0

    def around(self, name: str, args: tuple[object, ...], call: Callable[[], object]) -> object:
        """Perform the call, then measure."""
        answer = call()
        if name in ("write_all", "clone_range", "rename", "link", "setxattr"):
            self.most = max(self.most, allocated(self.directory))
        return answer


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


def test_without_locks_the_limit_is_kept_by_counting(tmp_path: Path) -> None:
    """There is no record then, and nothing can be culled: what fits is stored, the rest is not."""
    store = bind(tmp_path, fileops=without_locks().fileops, limit_bytes=LIMIT)
    stored = 0
    for number in range(12):
        with contextlib.suppress(NoSpaceError):
            put(store, pattern(0, SIZE, number), key=key(number)).close()
            stored += 1
        assert allocated(tmp_path) <= LIMIT
    assert stored >= 5
    assert store.cull(0) == (0, 0)
    store.close()


def test_two_binds_at_once_do_not_take_each_other_s_locks_for_none(tmp_path: Path) -> None:
    """Another process tries the folder's lock just now: so locks work."""
    bind(tmp_path).close()
    (tmp_path / "probe").unlink()
    folder = os.open(tmp_path / "graveyard", os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    store = bind(tmp_path)
    assert store.status().missing == ()
    os.close(folder)
    store.close()


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


def test_a_cache_that_was_never_counted_is_counted_for_the_first_limit(tmp_path: Path) -> None:
    """Made without a record, by an older version: nothing is stored past the limit."""
    store = bind(tmp_path)
    for number in range(20):
        put(store, pattern(0, SIZE, number), key=key(number)).close()
    store.close()
    (tmp_path / "usage").unlink()
    limited = bind(tmp_path, limit_bytes=LIMIT)
    put(limited, b"new").close()
    assert allocated(tmp_path) <= LIMIT
    check(found(limited), ByteModel(b"new"))
    limited.close()


def test_below_stop_the_oldest_go_and_nothing_is_stored_when_that_is_not_enough(
    tmp_path: Path,
) -> None:
    """A filesystem with next to nothing free: everything that is not in use was given up."""
    store = bind(tmp_path)
    for number in range(3):
        put(store, pattern(0, SIZE, number), key=key(number)).close()
    held = found(store, key(1))
    store.close()
    held.close()
    watermarks = Watermarks(run_percent=99, cull_percent=98, stop_percent=97)
    full = bind(tmp_path, watermarks=watermarks)
    kept = found(full, key(1))
    with pytest.raises(NoSpaceError, match="almost full"):
        full.reserve(1)
    assert [full.lookup(key(number)) is not None for number in range(3)] == [False, True, False]
    with pytest.raises(NoSpaceError):
        put(full, b"x", key=KEY)
    check(kept, text(SIZE, seed=1))
    full.close()


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
