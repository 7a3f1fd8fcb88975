"""Opening a cache again after a crash costs the same however much it holds.

Counted are the system calls of binding it, looking an object up and reading it; and what any one of
them has to go through: no folder is listed, no file but the object's is opened.
"""

from __future__ import annotations

from collections import Counter
from functools import cache

import pytest

from netcache._cachefiles.store import bind
from netcache._core.keys import ObjectKey
from tests.support.bytemodel import pattern
from tests.support.crash_fileops import CrashFileOps
from tests.support.crash_image import Image
from tests.support.crash_world import DIRECTORY
from tests.support.stores import Sync, found, put, served

KEY = ObjectKey("v,http,x", b"the one")
BLOCK = 512


@cache
def crashed(objects: int, sync: Sync) -> Image:
    """A cache of so many objects, left by a program that was killed; some are half made."""
    ops = CrashFileOps()
    store = bind(DIRECTORY, fileops=ops.fileops, block_size=BLOCK, sync=sync)
    store._committer.close()
    for number in range(objects):
        put(store, pattern(number, number + 700), key=KEY._replace(name=b"%d" % number)).close()
    put(store, pattern(0, 9 * BLOCK), key=KEY).close()
    store.begin(KEY).write(b"never published")
    image = ops.live.copy()
    image.forget_nameless()
    return image


def cost(image: Image, sync: Sync, *, rebooted: bool) -> Counter[str]:
    """The calls that it takes to open the cache and to read the object."""
    ops = CrashFileOps(image, boot=2 if rebooted else 1, mount=2 if rebooted else 1)
    store = bind(DIRECTORY, fileops=ops.fileops, block_size=BLOCK, sync=sync)
    store._committer.close()
    cache_object = found(store, KEY)
    assert [(at, len(data)) for at, data in served(cache_object)] == [(0, 9 * BLOCK)]
    cache_object.close()
    calls = ops.calls.copy()
    store.close()
    return calls


@pytest.mark.parametrize("rebooted", [False, True], ids=["killed", "power cut"])
@pytest.mark.parametrize("sync", ["lazy", "commit"])
def test_opening_after_a_crash_costs_the_same_with_one_object_or_with_thousands(
    sync: Sync, rebooted: bool
) -> None:
    """The same calls, one for one; no folder is gone through."""
    small = cost(crashed(1, sync), sync, rebooted=rebooted)
    large = cost(crashed(1500, sync), sync, rebooted=rebooted)
    assert large == small
    assert small["list_folder"] == 0
    assert small["open_file"] < 10
