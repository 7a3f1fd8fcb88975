"""Objects to be damaged: of so many blocks that their sums may be in a label or in a table."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from netcache._core.content import Content
from netcache._core.keys import ObjectKey
from netcache._fscache.ports import CacheStore
from tests.support.bytemodel import ByteModel
from tests.support.stores import KEY, create, fill_blocks, put, text

COUNT = 70
"""Blocks of the objects: more than fit into a label, so that there is a table too."""

PLACES = pytest.mark.parametrize("in_label", [128, 0], ids=["sums-in-label", "table"])
LEVELS = pytest.mark.parametrize("verify", ["open", "read"])


def whole(store: CacheStore, key: ObjectKey = KEY, seed: int = 0) -> ByteModel:
    """An object with all of its blocks, content ALL; the last block is not full."""
    model = text(COUNT * store.block_size - 1000, seed)
    put(store, model.part(0, model.size), key=key).close()
    return model


def sparse(store: CacheStore, key: ObjectKey = KEY, seed: int = 0) -> ByteModel:
    """An object with all of its blocks but number 40, as a map."""
    model = text(COUNT * store.block_size - 1000, seed)
    cache_object = create(store, model.size, key=key)
    for first, last in ((41, COUNT), (0, 11), (11, 40)):
        fill_blocks(cache_object, model, first, last)
    assert cache_object.content is Content.BACKFS_MAP
    cache_object.close()
    return model


Maker = Callable[[CacheStore], ByteModel]
CONTENTS = pytest.mark.parametrize("make", [whole, sparse])
