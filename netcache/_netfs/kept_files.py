"""Small files that are in the cache, and wanted whole: opened, compared, checked, in one step each.

What ``small_files`` is for those that nobody knows, this is for those that are cached.

Rules:

1. The version is checked as ``validate`` says.  A listing that bears the cached version's ETag was
   the check.
2. Everything that is not as simple is left to the ordinary way: an object that is not complete or
   not sound, a version that joins no ranges.
3. When the server has another version, the ordinary way goes on with its answer: it is not asked
   the same again.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from netcache._core.extent import Extent
from netcache._finishing import finished
from netcache._netfs.checking import judged
from netcache._netfs.unchanged import is_whole
from netcache.errors import CacheError

if TYPE_CHECKING:
    from netcache._core.coherency import Version
    from netcache._core.urls import Resource
    from netcache._fscache.whole import WholeObject
    from netcache._netfs.engine import ReadEngine
    from netcache._netfs.inode import Inode
    from netcache._netfs.opener import Opener
    from netcache.spi import ResourceInfo


class KeptFiles:
    """Hands small cached files out.  On the client's loop, inside the gate of the resource."""

    def __init__(self, engine: ReadEngine, opener: Opener) -> None:
        self._engine = engine
        self._opener = opener
        self._stats = engine.stats

    async def bring(
        self, resource: Resource, kept: WholeObject, listed: Version | None
    ) -> tuple[Version, bytes] | Inode | None:
        """The version and the bytes of ``kept``, which is closed; ``listed`` is what a listing
        says that the server has.

        An inode when the server has another version, or the cache another one by now; None when it
        is to be opened the ordinary way.  Raises what the server answers.
        """
        try:
            version, asks = kept.version, False
            if not version.validator.joins_ranges:
                return None
            if listed is None or not listed.same_as(version):
                asks = self._engine.inodes.asks_at_open(kept.checked_s)
            data = await _read(kept)
            if data is None:
                return None
            with suppress(CacheError):
                kept.mark_used()
            asked_at = time.monotonic()
            other = await self._ask(resource, version) if asks else None
            if other is None:
                if asks:
                    self._stats.add("Updates", "n")
                    with suppress(CacheError):
                        kept.mark_checked(time.time())
                self._stats.add_lookup(found=True)
                return version, data
        finally:
            kept.close()
        inode = self._engine.inodes.find(resource)
        if inode is None or not inode.version.same_as(version):
            return None
        self._engine.inodes.acquire(inode)
        try:
            answer = await judged(self._engine, inode, other, compare=is_whole(inode))
            return await self._opener.answered(inode, answer, asked_at, Extent(0, -1))
        finally:
            self._engine.inodes.release(inode)

    async def _ask(self, resource: Resource, version: Version) -> ResourceInfo | None:
        """What the server has instead of ``version``; None when that is current."""
        known = self._engine.backend().capabilities(resource.url)
        info = await self._engine.means.check_small(
            resource.url, version.validator, want_digest=known.whole_digests is not False
        )
        if info is None or (info.version is not None and info.version.same_as(version)):
            return None
        return info


async def _read(kept: WholeObject) -> bytes | None:
    """Its bytes; the disk is waited for in a worker's thread."""
    try:
        data = kept.read(wait=False)
        if data is None:
            data = await finished(asyncio.get_running_loop().run_in_executor(None, kept.read))
        return data
    except CacheError:
        return None
