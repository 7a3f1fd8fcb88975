"""Copying along: what comes of a file goes to its target as well, from the memory that it came in.

A processor has the bytes at hand then; who copies them out of the cache later reads them again.

Rules:

1. Only what the cache has taken is written, at its place; whatever is missing, for any reason, is
   copied out of the cache, as if nobody had copied along.  So no error matters here.
2. It is for targets that cannot share blocks with the cache: sharing costs less.
3. It is for local filesystems: a server that hangs would hold the loop, and all that runs on it.
4. The loop does not wait for a slow disk again and again: after some such writes the rest of the
   file is left to threads.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from netcache._cachefiles.allocating import filesystem_of
from netcache._core.extent import Extent, ExtentSet
from netcache._fscache.copying import may_share

if TYPE_CHECKING:
    from netcache._client.target import TargetFile
    from netcache._netfs.inode import Inode

LOCAL = frozenset(
    ("bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "tmpfs", "xfs", "zfs")
)
"""Filesystems that only a broken disk makes wait for ever."""

SLOW_S = 0.02
"""Who waits longer than this for a piece (1 MiB at most) keeps everything else from going on."""

_PART = 8
"""A piece counts for so little of what they take of late: any may wait for the processor."""


class AlongCopy:
    """One copy, from ``begin`` to ``end``.  On the client's loop."""

    def __init__(self, target: TargetFile, now: Callable[[], float] = time.monotonic) -> None:
        self._inode: Inode | None = None
        self._target = target
        self._now = now
        self._takes_s = 0.0
        self._is_over = False
        self._there = ExtentSet()

    def begin(self, inode: Inode) -> None:
        """Take what comes of it from now on, unless that would not help."""
        holding, target = inode.holding, self._target.fileno()
        if holding is None or inode.complete or filesystem_of(target) not in LOCAL:
            return
        if not may_share(holding.fileno(), target, holding.block_size):
            self._inode = inode
            inode.flights.takers.append(self)

    def end(self) -> None:
        """Take nothing more.  Idempotent."""
        inode, self._inode = self._inode, None
        if inode is not None:
            inode.flights.takers.remove(self)

    def take(self, start: int, view: memoryview) -> None:
        """The ``Taker``."""
        if self._is_over:
            return
        begun_s = self._now()
        try:
            self._target.write(start, view)
        except OSError:
            # Who copies it there meets the same error, or it is over.
            self._is_over = True
            return
        self._there.add(start, start + len(view))
        self._takes_s += (self._now() - begun_s - self._takes_s) / _PART
        if self._takes_s > SLOW_S:
            self._is_over = True

    def missing(self, start: int, end: int) -> Extent:
        """The first part of ``[start, end)`` that is not in the target; empty, at ``end``, if none
        is."""
        return next(iter(self._there.missing(start, end)), Extent(end, end))
