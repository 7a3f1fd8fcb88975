"""Dropping objects: somebody wants them forgotten, whether they are in use or not, or pinned.

Other than with culling nobody is asked: the name goes, and who has the object open goes on with the
file, which has none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netcache._cachefiles.sum_table import remove_table
from netcache._core.keys import ObjectKey, object_file
from netcache._core.misses import Cause

if TYPE_CHECKING:
    from netcache._cachefiles.binding import Bound
    from netcache._cachefiles.walking import Walk

_STAT_BLOCK = 512


def drop(bound: Bound, key: ObjectKey, cause: Cause) -> int:
    """Forget the object, which is remembered as lost for ``cause``.

    Returns the allocated bytes given free, 0 when there was none.  Raises ``OSError``.
    """
    place, name = bound.place(key), object_file(key.name)
    told = bound.mappings.changing(place, needed=False)
    try:
        folder = bound.folders.open(key, make=False)
        found = bound.ops.stat_name(name, folder)
        freed = found.st_blocks * _STAT_BLOCK
        bound.memory.going_by_name(place, cause)
        with bound.folders.naming(folder), told:
            bound.ops.unlink(name, folder)
    except FileNotFoundError:
        return 0
    remove_table(bound.ops, bound.root, found.st_ino)
    bound.room.changed(place)
    return max(freed, 1)


def drop_all(bound: Bound, walk: Walk) -> int:
    """Forget all objects; returns the allocated bytes given free.  Raises ``OSError``."""
    freed = 0
    for found in list(walk.files()):
        folder = bound.ops.open_folder(found.path, at=bound.root)
        place = f"{found.path}/{found.name}"
        try:
            if not found.is_table:
                bound.memory.going_by_name(place, Cause.DROPPED)
            with bound.mappings.changing(place, needed=False):
                bound.ops.unlink(found.name, folder)
            freed += found.allocated
            if not found.is_table:
                bound.room.changed(place)
        except FileNotFoundError:
            continue
        finally:
            bound.ops.close(folder)
    walk.reap()
    return freed
