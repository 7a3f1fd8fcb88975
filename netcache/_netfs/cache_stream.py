"""The cache stream of a writeback: the cached object goes from one version to the next.

Rules:

1. What the server acknowledged goes to the cache, the same bytes, and only then.
2. An object that nobody else shows is changed in place, under the crash protocol of modifications;
   otherwise a new object takes over what is cached, and readers of the old version keep theirs.
3. Blocks of which a part is not known are left out: a hole is fetched again, never wrong.
4. A cache that fails costs what was cached, never the write.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

from netcache._core.coherency import Version
from netcache._core.content import WriteKind
from netcache._core.extent import Extent, ExtentSet, round_down, round_out, round_up
from netcache._core.misses import Cause
from netcache._core.stats import Stats
from netcache._core.urls import Resource
from netcache._fscache.ports import CacheObject, CacheStore
from netcache._netfs.holding import CachedHolding
from netcache._netfs.inode import Inode
from netcache._netfs.inodes import InodeTable, key_of
from netcache.errors import CacheError

_COPY_BYTES = 1 << 20

Piece = tuple[int, memoryview]
"""Where bytes lie that the server acknowledged, and the bytes."""


class Taken(NamedTuple):
    """The cached object of the version before, if any; ``alone``: to be changed in place."""

    object: CacheObject | None
    alone: bool


class CacheStream:
    """Moves cached objects on.  ``advance`` may block on the disk, and runs on a worker thread."""

    def __init__(self, store: CacheStore | None, inodes: InodeTable, stats: Stats) -> None:
        self._store = store
        self._inodes = inodes
        self._stats = stats

    def take(self, old: Inode | None) -> Taken:
        """The object of ``old``, taken from it if nobody else shows it.  On the client's loop.

        The caller keeps other threads from reading through ``old`` meanwhile: what they are about
        to prove must not change under them.
        """
        cached = old.cached if old is not None else None
        if old is None or cached is None:
            return Taken(None, alone=False)
        alone = self._inodes.take_alone(old)
        if alone:
            old.detach()
        return Taken(cached.object, alone=alone)

    def advance(
        self,
        resource: Resource,
        old: Taken,
        version: Version,
        pieces: Sequence[Piece],
        asked_at: float,
    ) -> Inode:
        """The inode of ``version``, which is ``old`` with ``pieces`` written over it."""
        holding = None
        if self._store is not None and version.validator.joins_ranges:
            self._stats.add("CaWrOps", "WR")
            try:
                holding = CachedHolding(self._moved_on(self._store, resource, old, version, pieces))
            except CacheError:
                self._stats.add("CaWrOps", "wf")
                self._drop(self._store, resource)
            else:
                self._stats.add("CaWrOps", "ws")
                _tell_left_out(self._store, resource, holding.object, pieces)
        elif old.object is not None and old.alone:
            old.object.close()
        inode = Inode(resource, key_of(resource), version, holding)
        inode.checked_at = asked_at
        self._inodes.replace(inode)
        return inode

    def _moved_on(
        self,
        store: CacheStore,
        resource: Resource,
        old: Taken,
        version: Version,
        pieces: Sequence[Piece],
    ) -> CacheObject:
        if old.object is not None and old.alone:
            try:
                _change_in_place(old.object, version, pieces)
            except CacheError:
                old.object.close()
                raise
            return old.object
        made = store.create(key_of(resource), version, checked_s=time.time())
        try:
            changed = ExtentSet(
                round_out(Extent(start, start + len(data)), made.block_size)
                for start, data in pieces
            )
            if old.object is not None:
                _take_over(old.object, made, changed)
            for start, data in pieces:
                _write_whole_blocks(made, start, memoryview(data))
        except CacheError:
            made.close()
            raise
        return made

    @staticmethod
    def _drop(store: CacheStore, resource: Resource) -> None:
        try:
            store.drop(key_of(resource))
        except CacheError:
            # The object's label says DIRTY or its old version: nobody is shown it.
            return


def _change_in_place(target: CacheObject, version: Version, pieces: Sequence[Piece]) -> None:
    target.begin_modify()
    for start, data in pieces:
        low, high = _known_part(target, start, start + len(data))
        if low < high:
            target.write(low, memoryview(data)[low - start : high - start], _nobody_knows)
    if target.size != version.size:
        target.truncate(version.size)
    target.commit(version)


def _known_part(target: CacheObject, start: int, end: int) -> tuple[int, int]:
    """``[start, end)`` without what lies in blocks of which the rest is not cached."""
    block = target.block_size
    low, high = start, end
    first = round_down(start, block)
    if first < start and not _is_cached(target, first, start):
        low = round_up(start, block)
    last = min(round_up(end, block), target.size)
    if end < last and not _is_cached(target, end, last):
        high = round_down(end, block)
    return low, high


def _tell_left_out(
    store: CacheStore, resource: Resource, target: CacheObject, pieces: Sequence[Piece]
) -> None:
    """Blocks that were written in part, and whose rest is not known, are not cached now."""
    try:
        left_out = _left_out(target, pieces)
    except CacheError:
        return
    for extent in left_out:
        store.memory.left(key_of(resource), Cause.PARTIAL, [extent])


def _left_out(target: CacheObject, pieces: Sequence[Piece]) -> list[Extent]:
    block = target.block_size
    edges = {round_down(at, block) for start, data in pieces for at in (start, start + len(data))}
    return [
        Extent(edge, min(edge + block, target.size))
        for edge in sorted(edges)
        if edge < target.size
        and not _is_cached(target, edge, edge + block)
        and any(start < edge + block and edge < start + len(data) for start, data in pieces)
    ]


def _is_cached(target: CacheObject, start: int, end: int) -> bool:
    end = min(end, target.size)
    return start >= end or any(
        found.start <= start and end <= found.end for found in target.query_occupancy(start, end)
    )


def _nobody_knows(extent: Extent) -> bytes:
    raise CacheError(f"the bytes {extent} of a block that is changed are not cached")


def _take_over(old: CacheObject, new: CacheObject, changed: ExtentSet) -> None:
    """Copy what is cached of the old version, and sound, but for what was changed."""
    for cached in old.extents():
        for part in changed.missing(*cached.clip(0, new.size)):
            for start in range(part.start, part.end, _COPY_BYTES):
                # What is carried on gets new sums: it must be what the old ones say.
                end = min(start + _COPY_BYTES, part.end)
                buffer = bytearray(max(0, min(end, old.prove(start, end).end) - start))
                count = old.read_into(start, buffer)
                if not count or not old.is_sound(start, start + count):
                    continue
                _write_whole_blocks(new, start, memoryview(buffer)[:count])


def _write_whole_blocks(target: CacheObject, start: int, view: memoryview) -> None:
    """Store and record the whole blocks of ``view``; the last may end with the resource."""
    block, end = target.block_size, start + len(view)
    low = round_up(start, block)
    high = end if end == target.size else round_down(end, block)
    if low < high:
        target.write_blocks(low, view[low - start : high - start])
        target.collect_write(WriteKind.DATA, low, round_up(high, block))
