"""How often the filesystem is looked at while small files are stored."""

from __future__ import annotations

import os
import time
from pathlib import Path

from netcache._cachefiles.fileops import PosixFileOps
from netcache._cachefiles.space import LOOK_AGAIN_BYTES
from netcache._cachefiles.store import bind
from netcache._core.keys import ObjectKey
from tests.support.intercept import Override
from tests.support.stores import version

SIZE = 4096


class Disk:
    """The filesystem of a store, which somebody else may fill; counts looks at it."""

    def __init__(self) -> None:
        self.looks = 0
        self.is_full = False
        self._inner = PosixFileOps()
        self.ops = Override(self._inner, statvfs=self._statvfs)

    def _statvfs(self, fd: int) -> os.statvfs_result:
        self.looks += 1
        fields = list(self._inner.statvfs(fd))
        if self.is_full:
            # Free and available blocks (statvfs(3)).
            fields[3] = fields[4] = 0
        return os.statvfs_result(fields)


def test_the_filesystem_is_looked_at_once_for_each_mib(tmp_path: Path) -> None:
    """Not for each small file; and what others fill is seen before much more is stored."""
    disk = Disk()
    store = bind(tmp_path, fileops=disk.ops.fileops)
    stored = 0

    def keep_next() -> bool:
        nonlocal stored
        if not store.has_room(SIZE):
            return False
        key = ObjectKey("netcache,http,host", b"%d" % stored)
        store.keep(key, version(SIZE), bytes(SIZE), checked_s=time.time())
        stored += 1
        return True

    store.reserve(SIZE)
    assert keep_next()
    looks, credit = disk.looks, store._bound.room.purse.credit
    for _ in range(20):
        assert keep_next()
    assert disk.looks == looks
    a_file = (credit - store._bound.room.purse.credit) // 20
    disk.is_full = True
    more = 0
    while keep_next():
        more += 1
    assert 0 < more <= LOOK_AGAIN_BYTES // a_file
    disk.is_full = False
    assert keep_next(), "it is looked at again at once"
    store.close()
