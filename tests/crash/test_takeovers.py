"""Labels of another boot, when several processes meet them at the same moment."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from netcache._cachefiles.label_file import USE_BYTE
from netcache._cachefiles.store import bind
from netcache._core.content import WriteKind
from netcache._fscache.ports import CacheObject
from tests.support.epochs import in_epoch
from tests.support.intercept import Override
from tests.support.stores import (
    KEY,
    blocks,
    check,
    create,
    fill_blocks,
    found,
    object_file,
    text,
)


@pytest.fixture
def in_use_by_another(tmp_path: Path) -> Iterator[None]:
    """Somebody has begun to open the object, and has not read its label yet."""
    store = bind(tmp_path)
    model = text(20 * store.block_size)
    cache_object = create(store, model.size)
    fill_blocks(cache_object, model, 0, 4)
    # What was never recorded.
    cache_object.write_blocks(4 * store.block_size, b"\xff" * store.block_size)
    os.truncate(object_file(tmp_path), 5 * store.block_size)
    saved = object_file(tmp_path).read_bytes()
    label = os.getxattr(object_file(tmp_path), "user.CacheFiles.cache")
    cache_object.collect_write(WriteKind.CANCEL, 4 * store.block_size, 5 * store.block_size)
    store.close()
    with object_file(tmp_path).open("r+b") as file:
        file.write(saved)
        os.setxattr(file.fileno(), "user.CacheFiles.cache", label)
        assert in_epoch(1).lock_range(file.fileno(), USE_BYTE, 1, shared=True)
        yield


@pytest.mark.parametrize("moment", ["truncate", "setxattr"])
def test_who_is_stopped_while_taking_over_cuts_nothing_that_others_stored(
    tmp_path: Path, in_use_by_another: None, moment: str
) -> None:
    """Another process had waited for his lock, gone on without it, and filled the object."""
    inner, later = in_epoch(1), list[CacheObject]()
    other = bind(tmp_path, fileops=in_epoch(1))
    model = text(20 * other.block_size)

    def stopped(*args: Any) -> Any:
        if not later:
            later.append(found(other))
            fill_blocks(later[0], model, 4, 9)
        return getattr(inner, moment)(*args)

    store = bind(tmp_path, fileops=Override(inner, **{moment: stopped}).fileops)
    opened = store.lookup(KEY)
    if not later:
        # Nothing is cut while others have it in use.
        assert moment == "truncate"
        later.append(found(other))
        fill_blocks(later[0], model, 4, 9)
    assert blocks(later[0])[:4] == [0, 1, 2, 3]
    shown = os.pread(later[0].fileno(), 9 * other.block_size, 0)
    assert shown == model.part(0, 9 * other.block_size)
    check(later[0], model)
    if opened is not None:
        check(opened, model)
        # A fill further up makes nothing of what was never recorded.
        fill_blocks(opened, model, 15, 16)
        check(opened, model)
    store.close()
    other.close()


def test_a_file_that_became_short_is_a_miss_while_others_have_it(
    tmp_path: Path, in_use_by_another: None
) -> None:
    """It cannot be stretched without the risk of cutting what somebody else is storing."""
    os.truncate(object_file(tmp_path), 2 * 4096)
    store = bind(tmp_path, fileops=in_epoch(1))
    assert store.lookup(KEY) is None
    assert object_file(tmp_path).stat().st_size == 2 * 4096
    store.close()
