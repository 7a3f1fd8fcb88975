"""Culling files: an object goes as a whole, or a large one in part, unless somebody needs it.

In use by any process, and pinned, is what stays.  An object is claimed before anything happens to
it: whoever opens it meanwhile waits a moment, and finds it changed, or gone.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from netcache._cachefiles.label_file import USE_BYTE, LabelFile
from netcache._cachefiles.sum_table import remove_table
from netcache._cachefiles.sums import ObjectSums
from netcache._core.content import Content
from netcache._core.cull_part import part_to_go
from netcache._core.extent import Extent, round_down, round_up
from netcache._core.label import Label, LabelError
from netcache._core.misses import Cause

if TYPE_CHECKING:
    from netcache._cachefiles.binding import Bound


class Fate(Enum):
    """What became of an object that was to be culled."""

    GONE = "gone"
    CUT = "cut"
    IN_USE = "in use"
    PINNED = "pinned"


class Target:
    """An object that is to be culled: ``regions`` were read of late, ``wanted`` bytes are to go.

    ``wanted`` 0: all of it.  ``freed`` are the allocated bytes that went.
    """

    __slots__ = ("fate", "freed", "place", "regions", "wanted")

    def __init__(self, place: str, regions: int = 0, wanted: int = 0) -> None:
        self.place = place
        self.regions = regions
        self.wanted = wanted
        self.freed = 0
        self.fate = Fate.IN_USE


def cull_file(bound: Bound, target: Target) -> None:
    """Cull the object; its fate is what became of it.

    What cannot be culled counts as in use.
    """
    if bound.room.pins.has(target.place):
        target.fate = Fate.PINNED
        return
    before = bound.room.measure(target.place) or 0
    path, _, name = target.place.rpartition("/")
    try:
        folder = bound.ops.open_folder(path, at=bound.root)
    except (FileNotFoundError, NotADirectoryError):
        target.fate = Fate.GONE
        return
    try:
        if target.wanted and _cut(bound, folder, name, target):
            target.fate = Fate.CUT
            target.freed = max(0, before - (bound.room.measure(target.place) or 0))
        elif discard(bound, folder, path, name, Cause.CULLED):
            target.fate = Fate.GONE
            target.freed = before
    except FileNotFoundError:
        target.fate = Fate.GONE
    except OSError:
        return
    finally:
        bound.ops.close(folder)


def discard(bound: Bound, folder: int, path: str, name: str, cause: Cause | None = None) -> bool:
    """Unlink a file of ``folder``, with its table of sums, unless it is in use.

    ``cause`` is what an object is remembered as lost for, None for what is no object.
    ``folder`` is a descriptor of the caller alone.  The lock for naming is not waited for: who
    holds it may be waiting for room.
    """
    ops = bound.ops
    fd = ops.open_file(name, folder)
    try:
        if not ops.lock_range(fd, USE_BYTE, 1):
            return False
        inode = ops.stat(fd).st_ino
        if not ops.lock_folder(folder):
            return False
        try:
            if bound.inode_of(name, folder) != inode:
                # Another object has the name by now.
                return False
            if cause is not None:
                bound.memory.going(f"{path}/{name}", fd, cause)
            with bound.mappings.changing(f"{path}/{name}", needed=False):
                ops.unlink(name, folder)
        finally:
            ops.unlock_folder(folder)
        remove_table(ops, bound.root, inode)
        return True
    finally:
        ops.close(fd)


def _cut(bound: Bound, folder: int, name: str, target: Target) -> bool:
    """Give back part of an object; False when that cannot be done, or all of it would go."""
    ops = bound.ops
    fd = ops.open_file(name, folder)
    sums = ObjectSums(bound)
    try:
        if not ops.lock_range(fd, USE_BYTE, 1):
            return False
        file = LabelFile(ops, fd, bound.epoch, bound.block_size)
        label = file.load(file.read().key)
        # Loading may have ended the claim, if the label was of another epoch.
        if label.content is Content.SINGLE or not file.claim():
            return False
        cached = list(_cached(bound, fd, label))
        size = label.version.size
        goes = part_to_go(cached, size, bound.block_size, target.regions, target.wanted)
        if not goes or sum(one.length for one in cached) <= target.wanted:
            return False
        bound.memory.left_place(target.place, Cause.CULLED, goes)
        file.lock()
        with bound.mappings.changing(target.place, needed=False):
            _give_back(bound, file, label, sums, goes)
        return True
    except (LabelError, OSError):
        # What cannot be cut goes as a whole.
        return False
    finally:
        sums.close()
        ops.close(fd)


def _cached(bound: Bound, fd: int, label: Label) -> list[Extent]:
    """What of a file is data, in whole blocks; as the filesystem says it."""
    end = round_up(min(label.stored_end, label.version.size), bound.block_size)
    if label.content is Content.ALL:
        return [Extent(0, end)] if end else []
    found, position = [], 0
    while position < end and label.content is Content.BACKFS_MAP:
        data = bound.ops.seek_data(fd, position)
        if data < 0 or data >= end:
            break
        hole = max(bound.ops.seek_hole(fd, data), data + 1)
        low, high = round_up(data, bound.block_size), round_down(hole, bound.block_size)
        if low < high:
            found.append(Extent(low, min(high, end)))
        position = hole
    return found


def _give_back(
    bound: Bound, file: LabelFile, label: Label, sums: ObjectSums, extents: list[Extent]
) -> None:
    """First the label, durably, then the blocks: a label must never promise what is gone."""
    ops, unit, (last_start, last_end) = bound.ops, label.unit, extents[-1]
    for extent in extents:
        label = sums.forget(label, extent.start // unit, -(-extent.end // unit))
    if label.content is Content.ALL and len(extents) == 1 and last_end >= label.stored_end:
        label = label._replace(
            stored_end=last_start,
            committed=min(label.committed, last_start),
            content=Content.ALL if last_start else Content.NO_DATA,
        )
        file.write(label)
        ops.fsync(file.fd)
        ops.truncate(file.fd, last_start)
        return
    file.write(label._replace(content=Content.BACKFS_MAP, committed=0))
    ops.fsync(file.fd)
    for extent in extents:
        ops.punch_hole(file.fd, extent.start, extent.length)
