"""Maps of backing files, for views of cached bytes without a copy."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from netcache.errors import CacheError

if TYPE_CHECKING:
    from netcache._fscache.ports import CacheObject
    from netcache._netfs.inode import Inode

MapWindow = tuple[memoryview, int, int]
"""A map of a file from its start on, and the start and end of what may be shown of it."""

NO_MAP: MapWindow = (memoryview(b""), 0, -1)
"""Holds no view, not even an empty one."""


class Mapping:
    """A read-only map of the backing file of one inode, renewed when the file has grown.

    The file behind a map neither changes nor shrinks while the map exists (``CacheObject.lease``),
    so a view shows one version for ever and cannot fault.  Views keep the map that they were cut
    from.  ``window`` is replaced as a whole: any thread may compare with it and cut.
    """

    __slots__ = ("_mapped", "window")

    def __init__(self) -> None:
        self.window = NO_MAP
        self._mapped = _NOTHING

    @property
    def backing_inode(self) -> int:
        """The inode number of the file that is mapped."""
        return self._mapped.inode

    def view(self, inode: Inode, start: int, end: int) -> memoryview | None:
        """The bytes ``[start, end)``, which ``locate`` has found; None when they cannot be mapped.

        Only cache objects are: a spool, or an object that is being changed, is to be copied.
        """
        cached = inode.cached
        descriptor, low, high = inode.window
        if cached is None or start < low or end > high:
            return None
        mapped = self._mapped
        same = mapped.object is cached.object and mapped.descriptor == descriptor
        if not same or len(mapped.base) < end:
            mapped = self._renew(cached.object, descriptor)
        if len(mapped.base) < end:
            return None
        self.window = (mapped.base, low, min(high, inode.size, len(mapped.base)))
        return mapped.base[start:end]

    def _renew(self, cache_object: CacheObject, descriptor: int) -> _Mapped:
        import mmap

        try:
            lease = cache_object.lease(descriptor)
        except CacheError:
            return _NOTHING
        try:
            base = memoryview(mmap.mmap(lease, 0, prot=mmap.PROT_READ))
            mapped = _Mapped(cache_object, descriptor, base, os.fstat(lease).st_ino)
        except (OSError, ValueError):
            # A filesystem without maps, no room for one more, an empty file.
            return _NOTHING
        finally:
            os.close(lease)
        self._mapped = mapped
        return mapped

    def close(self) -> None:
        """Cut no more views; those that were cut stay."""
        self.window = NO_MAP
        self._mapped = _NOTHING


class _Mapped(NamedTuple):
    """A map, and what it is of."""

    object: CacheObject | None
    descriptor: int
    base: memoryview
    inode: int


_NOTHING = _Mapped(None, -1, memoryview(b""), 0)
