"""Dropping objects: somebody wants them forgotten, whether they are in use or not, or pinned.

Other than with culling nobody is asked: the name goes, and who has the object open goes on with the
file, which has none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netcache._cachefiles.binding import PRIVATE_PREFIX
from netcache._cachefiles.sum_table import table_going
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
        table = table_going(bound.ops, bound.root, found.st_ino, name, folder)
        with bound.folders.naming(folder), told, table:
            bound.ops.unlink(name, folder)
    except FileNotFoundError:
        return 0
    bound.room.changed(place)
    return max(freed, 1)


def drop_all(bound: Bound, walk: Walk) -> int:
    """Forget all objects; returns the allocated bytes given free.  Raises ``OSError``."""
    freed = 0
    for found in list(walk.files()):
        if found.name.startswith(PRIVATE_PREFIX):
            # Somebody may be publishing it at this moment; what a killed process left is reaped.
            continue
        if found.is_table:
            # It goes with its object, or is reaped as one that has none.
            freed += found.allocated
            continue
        folder = bound.ops.open_folder(found.path, at=bound.root)
        place = f"{found.path}/{found.name}"
        try:
            bound.memory.going_by_name(place, Cause.DROPPED)
            table = table_going(bound.ops, bound.root, found.inode, found.name, folder)
            with bound.mappings.changing(place, needed=False), table:
                bound.ops.unlink(found.name, folder)
            freed += found.allocated
            bound.room.changed(place)
        except FileNotFoundError:
            continue
        finally:
            bound.ops.close(folder)
    walk.reap()
    return freed
