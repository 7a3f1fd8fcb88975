"""Small files that are wanted whole: one exchange, kept in one step.

What readers of an inode need, to follow a body while it comes, is of no use to a file whose body
comes with its head; it takes several times as long as the file itself.

Rules:

1. Everything that is not as simple is left to the ordinary way: a file that is being opened, or
   asked about by another process; a body that breaks off.  Of cached ones see ``kept_files``.
2. A reply that bears no version that can be kept, or a larger one than was expected, begins an
   inode; it is not asked for again.
3. It counts, is told and is explained like any other miss.
"""

from __future__ import annotations

import time
from functools import cached_property
from typing import TYPE_CHECKING

from netcache._core.extent import Extent
from netcache._core.readplan import COMES_WHOLE_BYTES
from netcache._netfs.inodes import key_of
from netcache.errors import CacheError, NotFoundError, TransientError

if TYPE_CHECKING:
    from netcache._core.coherency import Version
    from netcache._core.keys import ObjectKey
    from netcache._core.urls import Resource
    from netcache._fscache.whole import WholeObject
    from netcache._netfs.engine import ReadEngine
    from netcache._netfs.gates import Gate
    from netcache._netfs.inode import Inode
    from netcache._netfs.kept_files import KeptFiles
    from netcache._netfs.opener import Opener
    from netcache.spi import ReadReply


class SmallFile:
    """A small file in memory, as the server has just sent ``fetched_bytes`` of it: all or none.

    ``is_kept``: it is in the cache.
    """

    __slots__ = ("data", "fetched_bytes", "is_kept", "version")

    def __init__(self, version: Version, data: bytes, fetched_bytes: int) -> None:
        self.version = version
        self.data = data
        self.fetched_bytes = fetched_bytes
        self.is_kept = True


class SmallFiles:
    """Brings small files.  On the client's loop."""

    def __init__(self, engine: ReadEngine, opener: Opener) -> None:
        self._engine = engine
        self._opener = opener
        self._stats = engine.stats

    @cached_property
    def _kept_files(self) -> KeptFiles:
        from netcache._netfs.kept_files import KeptFiles

        return KeptFiles(self._engine, self._opener)

    async def bring(self, resource: Resource, listed: Version | None) -> SmallFile | Inode | None:
        """The file, kept in the cache as far as possible; ``listed`` is its version in a listing.

        An inode when it turned out to be none of the small ones, and is on its way; None when it
        is to be opened the ordinary way.  Raises what the server answers.
        """
        store, key, gates = self._engine.store, key_of(resource), self._opener.gates
        if self._engine.offline or store is None or gates.is_used(key):
            return None
        if self._engine.inodes.knows(key):
            return None
        gate = gates.of(key)
        async with gate:
            try:
                if (kept := self._look_up(key)) is not None:
                    return await self._kept(resource, kept, listed)
                self._stats.add_lookup(found=False)
                give_back = store.claim_question(key)
                if give_back is None:
                    return None
                try:
                    return await self._ask(resource, listed, gate)
                finally:
                    give_back()
            except NotFoundError:
                self._opener.not_found(resource)
                raise

    def _look_up(self, key: ObjectKey) -> WholeObject | None:
        store = self._engine.store
        try:
            return store.open_whole(key) if store is not None else None
        except CacheError:
            return None

    async def _kept(
        self, resource: Resource, kept: WholeObject, listed: Version | None
    ) -> SmallFile | Inode | None:
        try:
            kept_files = self._kept_files
        except OSError:
            # There is no descriptor to import it with.
            kept.close()
            return None
        found = await kept_files.bring(resource, kept, listed)
        return SmallFile(*found, 0) if isinstance(found, tuple) else found

    async def _ask(
        self, resource: Resource, listed: Version | None, gate: Gate
    ) -> SmallFile | Inode | None:
        asked_at = time.monotonic()
        reply = await self._engine.means.open_small(resource.url, listed)
        if gate.users > 1 or not _comes_whole(reply):
            # Somebody is waiting for it: he follows the inode.
            return await self._opener.begin(resource, reply, asked_at, Extent(0, -1))
        return await self._take(resource, reply)

    async def _take(self, resource: Resource, reply: ReadReply) -> SmallFile | None:
        version, data = reply.version, bytearray()
        assert version is not None
        self._stats.add("DownOps", "DL")
        try:
            await reply.receive(lambda _, view: data.extend(view))
        except TransientError:
            self._stats.add("DownOps", "df")
            return None
        finally:
            self._stats.add("DownOps", "ds")
            await reply.close()
        self._stats.add("DownOps", "bytes", len(data))
        file = SmallFile(version, bytes(data), len(data))
        self._keep(resource, file)
        return file

    def _keep(self, resource: Resource, file: SmallFile) -> None:
        """Into the cache, and out of the hand."""
        store, size = self._engine.store, len(file.data)
        assert store is not None
        key, misses, file.is_kept = key_of(resource), self._engine.means.misses, False
        self._stats.add("CaWrOps", "WR")
        self._stats.add("IO", "wr")
        try:
            self._engine.inodes.reserve(size)
            store.keep(key, file.version, file.data, checked_s=time.time())
            file.is_kept = True
            self._stats.add("CaWrOps", "ws")
            self._stats.add("CaWrOps", "bytes", size)
        except CacheError:
            self._stats.add("CaWrOps", "wf")
            self._stats.add("NoSpace", "ncr")
        misses.missed_of(resource.url, key, [Extent(0, size)], down=not file.is_kept)


def _comes_whole(reply: ReadReply) -> bool:
    """Whether the reply bears all of a small file, of a version that can be told from others."""
    version = reply.version
    return (
        version is not None
        and 0 < version.size <= COMES_WHOLE_BYTES
        and version.validator.joins_ranges
        and reply.extent == (0, version.size)
    )
