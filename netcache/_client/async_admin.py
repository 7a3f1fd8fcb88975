"""``client.cache`` of the asynchronous face: the same, on worker threads."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from netcache._client.admin import CacheAdmin, CachedObject, ExtentMap

if TYPE_CHECKING:
    from netcache._client.core import ClientCore
    from netcache._client.explaining import Explanation
    from netcache._core.extent import Extent
    from netcache._fscache.overview import Problem, StoreStatus


class AsyncCacheAdmin:
    """``client.cache``.  The disk is waited for on a worker thread, the network never.

    Each method does what that of ``netcache.Client.cache`` does, and raises what it raises.
    """

    def __init__(self, core: ClientCore) -> None:
        self._admin = CacheAdmin(core)

    async def status(self) -> StoreStatus:
        """The state of the cache; counts all objects."""
        return await asyncio.to_thread(self._admin.status)

    async def objects(self) -> list[CachedObject]:
        """The cached resources, in no order; kept listings are not among them."""
        return await asyncio.to_thread(lambda: list(self._admin.objects()))

    async def map(self, url: str) -> ExtentMap:
        """Which extents of ``url`` are cached; ``NotCachedError`` when it has no object."""
        return await asyncio.to_thread(self._admin.map, url)

    async def why(self, url: str, offset: int = 0, count: int | None = None) -> Explanation:
        """Why reads of ``url`` hit or missed, and would now; needs a cache that can be used."""
        return await asyncio.to_thread(self._admin.why, url, offset, count)

    async def extents(self, url: str) -> list[Extent]:
        """The cached extents of ``url``; empty when it has no object."""
        return await asyncio.to_thread(self._admin.extents, url)

    async def drop(self, url: str | Sequence[str]) -> int:
        """Forget objects (and kept listings); returns the allocated bytes given free."""
        return await asyncio.to_thread(self._admin.drop, url)

    async def clear(self) -> int:
        """Forget everything clean; returns the allocated bytes given free."""
        return await asyncio.to_thread(self._admin.clear)

    async def pin(self, url: str | Sequence[str]) -> None:
        """Keep resources from being culled, those too that are cached later; see ``unpin``."""
        await asyncio.to_thread(self._admin.pin, url)

    async def unpin(self, url: str | Sequence[str]) -> int:
        """Let resources be culled in their turn; returns how many were pinned."""
        return await asyncio.to_thread(self._admin.unpin, url)

    async def cull(self, target_bytes: int | None = None) -> tuple[int, int]:
        """Make room now; returns how many objects and allocated bytes went."""
        return await asyncio.to_thread(self._admin.cull, target_bytes)

    async def verify(
        self, urls: Sequence[str] | None = None, *, repair: bool = False
    ) -> list[Problem]:
        """Check labels, structure and all sums; returns everything that is not right."""
        return await asyncio.to_thread(lambda: self._admin.verify(urls, repair=repair))

    async def stats(self) -> dict[str, dict[str, int]]:
        """The counters of all clients of this cache directory so far, and of this one."""
        return await asyncio.to_thread(self._admin.stats)
