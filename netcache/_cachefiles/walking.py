"""Going over all files of the cache: for those who list, count, check or tidy up.

Every walk takes as long as there are objects.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from netcache._cachefiles.binding import PRIVATE_PREFIX, Bound
from netcache._cachefiles.culling import discard
from netcache._cachefiles.label_file import USE_BYTE
from netcache._cachefiles.layout import GRAVEYARD, STORE, SUMS
from netcache._cachefiles.sum_table import table_name
from netcache._core.misses import Cause

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


class Walk:
    """The walks over one bound cache."""

    def __init__(self, bound: Bound) -> None:
        self._bound = bound

    def discard(self, found: Found, cause: Cause | None = None) -> int:
        """Unlink a file, unless it is in use; returns the bytes given free.

        ``cause`` is what an object is remembered as lost for, None for what is no object.
        """
        ops = self._bound.ops
        try:
            folder = ops.open_folder(found.path, at=self._bound.root)
        except OSError:
            return 0
        try:
            gone = discard(self._bound, folder, found.path, found.name, cause)
        except OSError:
            return 0
        finally:
            ops.close(folder)
        if gone and not found.is_table:
            self._bound.room.changed(f"{found.path}/{found.name}")
        return found.allocated if gone else 0

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
