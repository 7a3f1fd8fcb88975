"""Claims of extents to be filled, between processes that share a cache.

Another process that is fetching what we want is followed as long as it gets on with it: what it
has recorded is there for our readers too.  Each look should find much, since many may be looking
(``_core.following``), and who follows leaves it to the other to read ahead: one fetches, in large
pieces.  Correctness does not rest on this: two that fill the same extent write the same bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netcache._core.extent import Extent
    from netcache._core.following import Following
    from netcache._netfs.inode import Inode
    from netcache.spi import ReadReply

SHORT_BYTES = 1 << 20
"""A reply up to this long is taken even when another process is fetching the same."""


def is_claimed(inode: Inode, start: int, end: int) -> bool:
    """Whether another process has the claim of part of ``[start, end)`` at this moment."""
    cached = inode.cached
    if cached is None or inode.flying or inode.question is not None:
        # What we bring ourselves is claimed already: to give it back here would be too soon.
        return cached is not None
    taken = cached.object.try_lock_extent(start, end)
    if taken:
        cached.object.unlock_extent(start, end)
    return not taken


class FillClaim:
    """The claim of one extent of an inode's cache object, taken at once when it is to be had."""

    __slots__ = ("_extent", "_inode", "_object", "_taken", "_timeout_s")

    def __init__(self, inode: Inode, extent: Extent, timeout_s: float) -> None:
        cached = inode.cached
        assert cached is not None
        self._inode = inode
        self._object = cached.object
        self._extent = extent
        self._timeout_s = timeout_s
        self._taken = self._object.try_lock_extent(*extent)
        inode.follows = not self._taken

    async def take(self, reply: ReadReply | None, came_to: Callable[[int], None]) -> bool:
        """Have the extent; True when others have filled some of it meanwhile, or may have.

        ``reply``, the answer that is here already, is closed for that, unless it is short.
        ``came_to`` is told how far the extent has come meanwhile.
        """
        if self._taken:
            # Whoever had it before us may have recorded it since we asked what is missing.
            return reply is None and self._look(came_to) < self._extent.length
        if reply is not None and self._extent.length <= SHORT_BYTES:
            return False
        if reply is not None:
            await reply.close()
        await self._follow(came_to)
        return True

    async def _follow(self, came_to: Callable[[int], None]) -> None:
        """Wait until the extent is there, or its claim to be had, or until nothing comes."""
        following, (start, end) = _following(self._inode), self._extent
        following.begin(start, self._inode.reach(following.reached))
        waited_s, left = 0.0, -1
        while waited_s <= self._timeout_s:
            pause_s, left_before = following.pause_s, left
            await asyncio.sleep(pause_s)
            left = self._look(came_to)
            self._taken = not left or self._object.try_lock_extent(start, end)
            if self._taken:
                self._taken = bool(left)
                self._inode.follows = not left
            reached = self._inode.reach(following.reached)
            came = max(reached - following.reached, left_before - left, 0)
            following.looked(reached, came, max(0, self._inode.size - reached))
            if self._taken or not left:
                return
            waited_s = waited_s + pause_s if left == left_before else 0.0

    def _look(self, came_to: Callable[[int], None]) -> int:
        """How many bytes are still missing."""
        gaps = self._inode.missing(*self._extent)
        came_to(gaps[0].start if gaps else self._extent.end)
        return sum(gap.length for gap in gaps)

    def give_back(self) -> None:
        """Give the claim back, if it was taken."""
        if self._taken:
            self._taken = False
            self._object.unlock_extent(*self._extent)


def _following(inode: Inode) -> Following:
    """How we wait for what others bring of ``inode``.  Made by the first that has to."""
    if inode.following is None:
        from netcache._core.following import Following

        inode.following = Following()
    return inode.following
