"""Views in real processes: whatever becomes of the object, no page of a view is ever missing.

A page that is missing is SIGBUS, which ends the process; ``Mapper.close`` would see that.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from netcache._cachefiles.store import CachefilesStore, bind
from netcache._core.content import WriteKind
from tests.support.mapper import (
    content_of,
    key,
    mappers,
    modify,
    put_version,
    size_of,
)
from tests.support.stores import found, no_fill, version


def truncate(store: CachefilesStore) -> None:
    """Cut the object to nothing, in place if the store thinks that it may."""
    cache_object = found(store, key())
    cache_object.begin_modify()
    cache_object.truncate(100)
    cache_object.truncate(0)
    cache_object.commit(version(0, "cut"))
    cache_object.close()


def overwrite(store: CachefilesStore) -> None:
    """Change every byte, longer than before."""
    cache_object = found(store, key())
    modify(cache_object, 2)
    cache_object.close()


def invalidate(store: CachefilesStore) -> None:
    """Throw the content away, and fill a little of the next version."""
    cache_object = found(store, key())
    cache_object.invalidate(version(size_of(2), "2"))
    cache_object.write_blocks(0, content_of(2)[: store.block_size])
    cache_object.collect_write(WriteKind.DATA, 0, store.block_size)
    cache_object.close()


def replace(store: CachefilesStore) -> None:
    """Give the name to another object."""
    put_version(store, 2)


def drop(store: CachefilesStore) -> None:
    """Forget it."""
    assert store.drop(key())


def clear(store: CachefilesStore) -> None:
    """Forget everything, and empty the graveyard."""
    store.clear()


def cull(store: CachefilesStore) -> None:
    """Give back whatever is not in use."""
    store.cull(0)


def condemn(store: CachefilesStore) -> None:
    """Believe it no more."""
    found(store, key()).condemn()  # type: ignore[attr-defined]


def begin_and_end(store: CachefilesStore) -> None:
    """Begin a modification, and leave it like a process that was killed."""
    cache_object = found(store, key())
    cache_object.begin_modify()
    cache_object.write(0, b"torn" * 1024, no_fill)
    cache_object.close()


CHANGES = [truncate, overwrite, invalidate, replace, drop, clear, cull, condemn, begin_and_end]
CHANGE = pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)


@CHANGE
def test_a_view_outlives_every_change_by_another_process(
    tmp_path: Path, change: Callable[[CachefilesStore], None]
) -> None:
    """Views of a file, of a closed file, and of a shared file: all bytes stay what they were."""
    store = bind(tmp_path)
    put_version(store, 1)
    with mappers(tmp_path, 2) as workers:
        for worker in workers:
            assert worker.ask("look")[1] == 1
            assert worker.ask("open_view") == 1
        change(store)
        store.reserve(store.block_size)
        store.cull(0)
        for worker in workers:
            assert worker.ask("touch") == [1, 1]
        put_version(store, 3)
        store.clear()
        for worker in workers:
            assert worker.ask("touch") == [1, 1]
    store.close()


@CHANGE
def test_a_view_outlives_every_change_by_its_own_process(
    tmp_path: Path, change: Callable[[CachefilesStore], None]
) -> None:
    """The object that is changed may be the one whose descriptor was mapped."""
    with mappers(tmp_path, 1) as (worker,):
        put_version(bind(tmp_path), 1)
        worker.ask("open_view")
        assert worker.ask("change", change.__name__) is True
        assert worker.ask("touch") == [1]


def test_a_view_outlives_its_client(tmp_path: Path) -> None:
    """Views stay when file, client and object are gone, and somebody else makes the next one."""
    store = bind(tmp_path)
    put_version(store, 1)
    with mappers(tmp_path, 1) as (worker,):
        worker.ask("look")
        worker.ask("open_view")
        worker.ask("close_client")
        overwrite(store)
        truncate(store)
        store.clear()
        assert worker.ask("touch") == [1, 1]
    store.close()


def test_a_view_in_the_child_of_a_fork_keeps_the_file_as_it_is(tmp_path: Path) -> None:
    """The parent was killed; its child still has the map, and the file under it does not shrink."""
    store = bind(tmp_path)
    put_version(store, 1)
    with mappers(tmp_path, 1) as (worker,):
        worker.ask("open_view")
        for name in ("go", "told"):
            os.mkfifo(tmp_path / name)
        worker.ask("fork_and_touch_later", str(tmp_path))
        worker.kill()
        overwrite(store)
        truncate(store)
        store.clear()
        (tmp_path / "go").write_text("go")
        assert (tmp_path / "told").read_text() == "[1]"
    store.close()
