"""Room that is granted before it is written to: no way of writing gets past a limit."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from netcache._cachefiles.fileops import PosixFileOps
from netcache._cachefiles.store import bind
from netcache._core.watermarks import Watermarks
from netcache._fscache.ports import CacheStore
from netcache.errors import NoSpaceError
from tests.stress.no_locks import without_locks
from tests.support.bytemodel import ByteModel, pattern
from tests.support.faults import FaultyFileOps
from tests.support.room import LIMIT, SIZE, key
from tests.support.stores import (
    KEY,
    allocated,
    check,
    create,
    fill_blocks,
    fill_from,
    found,
    put,
    text,
    version,
)


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
