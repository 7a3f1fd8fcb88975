"""Claims of extents to be filled, between processes that share a cache.

Another process that is fetching what we want is waited for as long as it gets on with it.
Correctness does not rest on this: two that fill the same extent write the same bytes.
"""

from __future__ import annotations

import asyncio

from netcache._core.extent import Extent
from netcache._netfs.inode import Inode
from netcache.spi import ReadReply

SHORT_BYTES = 1 << 20
"""A reply up to this long is taken even when another process is fetching the same."""

_PAUSE_S = (0.002, 0.05)


class FillClaim:
    """The claim of one extent of an inode's cache object."""

    __slots__ = ("_extent", "_inode", "_object", "_taken", "_timeout_s")

    def __init__(self, inode: Inode, extent: Extent, timeout_s: float) -> None:
        cached = inode.cached
        assert cached is not None
        self._inode = inode
        self._object = cached.object
        self._extent = extent
        self._timeout_s = timeout_s
        self._taken = False

    async def take(self, reply: ReadReply | None) -> bool:
        """Claim the extent; True when that had to wait, so that others may have filled it.

        ``reply``, the answer that is here already, is closed for that, unless it is short.
        """
        self._taken = self._object.try_lock_extent(*self._extent)
        if self._taken or (reply is not None and self._extent.length <= SHORT_BYTES):
            return False
        if reply is not None:
            await reply.close()
        await self._wait()
        return True

    async def _wait(self) -> None:
        pause_s, waited_s, left_before = _PAUSE_S[0], 0.0, -1
        while waited_s <= self._timeout_s:
            await asyncio.sleep(pause_s)
            left = sum(gap.length for gap in self._inode.missing(*self._extent))
            self._taken = not left or self._object.try_lock_extent(*self._extent)
            if self._taken:
                self._taken = bool(left)
                return
            waited_s = waited_s + pause_s if left == left_before else 0.0
            left_before, pause_s = left, min(pause_s * 2, _PAUSE_S[1])

    def give_back(self) -> None:
        """Give the claim back, if it was taken."""
        if self._taken:
            self._taken = False
            self._object.unlock_extent(*self._extent)
