"""Room: how much the cache holds, how much it may, and what goes when there is no more.

Rules:

1. Room is reserved before it is written to.  Below the ``stop`` percentage of free blocks or files,
   or at the cache's own limit, there is none until something was culled.
2. Least recently used first; never what is in use by any process.
3. Once culling has begun it goes on a little further than it must (hysteresis), so that it does
   not begin again with the next write.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Iterator
from typing import NamedTuple

from netcache._cachefiles.binding import PRIVATE_PREFIX, Bound
from netcache._cachefiles.label_file import USE_BYTE
from netcache._cachefiles.layout import GRAVEYARD, STORE, SUMS
from netcache._cachefiles.sum_table import remove_table, table_name
from netcache._core.extent import round_up
from netcache._core.label import SUM_BYTES
from netcache._core.watermarks import Watermarks, culled_size
from netcache._fscache.ports import NoSpaceError

LABEL_OVERHEAD_BYTES = 8192
"""What an object may take besides its data: an attribute block, a block of sums."""

TRUSTED_PART = 8
"""After using this part of the room that it saw, a process counts anew: others fill it too."""

_STAT_BLOCK = 512
_TABLES = f"{STORE}/{SUMS}"


class Found(NamedTuple):
    """A file in the store: when it was last used, how much is allocated, where it is."""

    used_ns: int
    allocated: int
    path: str
    name: str
    inode: int

    @property
    def is_table(self) -> bool:
        """Whether it is a table of sums, which goes with its object."""
        return self.path.startswith(_TABLES)


class Space:
    """The room of one bound cache.  Thread-safe."""

    def __init__(self, bound: Bound, limit_bytes: int | None, watermarks: Watermarks) -> None:
        self._bound = bound
        self.limit_bytes = limit_bytes
        self.watermarks = watermarks
        self.culling = False
        self._estimate: int | None = None
        self._reserved = 0
        self._trust = 0
        self._lock = threading.Lock()

    def reserve(self, length: int) -> None:
        """Make room for ``length`` more bytes; ``NoSpaceError`` when there can be none."""
        sums = length // self._bound.block_size * SUM_BYTES
        need = round_up(length, self._bound.block_size) + sums + LABEL_OVERHEAD_BYTES
        with self._lock:
            self._reserve_on_filesystem(need)
            if self.limit_bytes is not None:
                self._reserve_below(self.limit_bytes, need)

    def _reserve_on_filesystem(self, need: int) -> None:
        found = self._bound.ops.statvfs(self._bound.root)
        free = found.f_bavail * found.f_frsize - need
        total = found.f_blocks * found.f_frsize
        files_free, files = found.f_favail, found.f_files
        wanted = self.watermarks.wanted(free, total, files_free, files)
        self.culling = wanted.culling(self.culling)
        if not wanted.stopped:
            return
        self._cull(lambda freed: freed >= wanted.bytes_to_free)
        found = self._bound.ops.statvfs(self._bound.root)
        free = found.f_bavail * found.f_frsize - need
        if self.watermarks.wanted(free, total, found.f_favail, files).stopped:
            raise NoSpaceError("the cache's filesystem is almost full, and nothing more can go")

    def _reserve_below(self, limit: int, need: int) -> None:
        if need > limit:
            raise NoSpaceError(f"{need} bytes cannot fit into a cache of {limit} bytes")
        if self._estimate is None or self._estimate + need > limit or self._reserved > self._trust:
            self._count(limit)
        assert self._estimate is not None
        if self._estimate + need > limit:
            target = culled_size(limit, need)
            excess = self._estimate - target
            self._cull(lambda freed: freed >= excess)
            self._count(limit)
            if self._estimate + need > limit:
                raise NoSpaceError(f"the cache is at its limit of {limit} bytes, all in use")
        self._estimate += need
        self._reserved += need

    def _count(self, limit: int) -> None:
        """Count what all processes hold; trust that for a part of the room that is left."""
        self._estimate = self.allocated_bytes()
        self._reserved = 0
        self._trust = max(0, limit - self._estimate) // TRUSTED_PART

    def cull(self, target_bytes: int | None) -> tuple[int, int]:
        """Discard down to ``target_bytes`` (None: to the limits); objects and bytes that went."""
        with self._lock:
            held = self.allocated_bytes()
            if target_bytes is None:
                target_bytes = self.limit_bytes if self.limit_bytes is not None else held
            excess = held - target_bytes
            self._estimate = None
            self.reap()
            return self._cull(lambda freed: freed >= excess) if excess > 0 else (0, 0)

    def _cull(self, enough: object) -> tuple[int, int]:
        assert callable(enough)
        heap, tables = list(self.objects()), self.tables()
        heapq.heapify(heap)
        count = freed = 0
        while heap and not enough(freed):
            goes = heapq.heappop(heap)
            gone = self.discard(goes)
            if gone:
                gone += tables.get(table_name(goes.inode), 0)
            count += bool(gone)
            freed += gone
        return count, freed

    def discard(self, found: Found) -> int:
        """Unlink a file unless it is in use or was used again; returns the bytes given free."""
        ops = self._bound.ops
        try:
            folder = ops.open_folder(found.path, at=self._bound.root)
        except OSError:
            return 0
        try:
            fd = ops.open_file(found.name, folder)
            try:
                if ops.stat(fd).st_atime_ns > found.used_ns:
                    return 0
                if not ops.lock_range(fd, USE_BYTE, 1):
                    return 0
                with self._bound.mappings.changing(f"{found.path}/{found.name}", needed=False):
                    ops.unlink(found.name, folder)
                if not found.is_table:
                    remove_table(ops, self._bound.root, found.inode)
                return found.allocated
            finally:
                ops.close(fd)
        except OSError:
            return 0
        finally:
            ops.close(folder)

    def in_use(self, found: Found) -> bool:
        """Whether somebody has the file open."""
        ops = self._bound.ops
        try:
            fd = ops.open_file(f"{found.path}/{found.name}", self._bound.root)
        except OSError:
            return False
        try:
            return not ops.lock_range(fd, USE_BYTE, 1)
        finally:
            ops.close(fd)

    def tables(self) -> dict[str, int]:
        """The allocated bytes of each table of sums, by its name."""
        return {found.name: found.allocated for found in self._walk(_TABLES)}

    def allocated_bytes(self) -> int:
        """The allocated bytes of everything below ``cache`` and ``graveyard``."""
        return sum(found.allocated for found in self.files(graveyard=True))

    def files(self, *, graveyard: bool = False) -> Iterator[Found]:
        """Every file of the store, in no order."""
        tops = (STORE, GRAVEYARD) if graveyard else (STORE,)
        for top in tops:
            yield from self._walk(top)

    def _walk(self, path: str) -> Iterator[Found]:
        ops = self._bound.ops
        try:
            folder = ops.open_folder(path, at=self._bound.root)
        except OSError:
            return
        try:
            for name in ops.list_folder(folder):
                try:
                    found = ops.stat_name(name, folder)
                except FileNotFoundError:
                    continue
                if found.st_mode & 0o170000 == 0o040000:
                    yield from self._walk(f"{path}/{name}")
                else:
                    allocated = found.st_blocks * _STAT_BLOCK
                    yield Found(found.st_atime_ns, allocated, path, name, found.st_ino)
        finally:
            ops.close(folder)

    def objects(self, *, graveyard: bool = False) -> Iterator[Found]:
        """Every file that is, or is to become, an object, in no order."""
        return (found for found in self.files(graveyard=graveyard) if not found.is_table)

    def reap(self) -> None:
        """Empty the graveyard, and forget what a killed process left: private names, tables."""
        for found in list(self.files(graveyard=True)):
            if found.path.startswith(GRAVEYARD) or found.name.startswith(PRIVATE_PREFIX):
                self.discard(found)
        for table in self.orphans():
            self.discard(table)
        self._remove_folders(GRAVEYARD)

    def orphans(self) -> list[Found]:
        """The tables of sums whose objects are gone, or have no name yet (those are in use)."""
        # First the tables: an object that is being named meanwhile is then found.
        tables = list(self._walk(_TABLES))
        if not tables:
            return []
        owners = {table_name(found.inode) for found in self.objects(graveyard=True)}
        return [table for table in tables if table.name not in owners]

    def _remove_folders(self, path: str) -> None:
        ops = self._bound.ops
        folder = ops.open_folder(path, at=self._bound.root)
        try:
            for name in ops.list_folder(folder):
                try:
                    self._remove_folders(f"{path}/{name}")
                    ops.remove_folder(name, folder)
                except OSError:
                    # A file in use, or a folder that is not empty because of one: next time.
                    continue
        finally:
            ops.close(folder)
