"""The base of an edited file: the version at the server that its changes are made from.

Bytes that were not changed are read from it, from the cache or from the server, pinned to that
version; every upload is conditional on it (promise P7).  An upload that succeeds makes a new base.

``read_now`` on any thread; everything else on the client's loop.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from netcache._core.coherency import Version
from netcache._netfs.upload import condition_on
from netcache.errors import ClosedError
from netcache.spi import UploadCondition

if TYPE_CHECKING:
    from netcache._netfs.engine import ReadEngine
    from netcache._netfs.inode import Inode


class BaseVersion:
    """A version, or nothing at all yet (``inode`` None), and how to read it."""

    def __init__(self, inode: Inode | None, engine: ReadEngine) -> None:
        self.inode = inode
        self._engine = engine
        if inode is not None:
            engine.inodes.acquire(inode)

    @property
    def version(self) -> Version | None:
        """The version; None when there is no resource yet."""
        return self.inode.version if self.inode is not None else None

    @property
    def size(self) -> int:
        """Its size in bytes."""
        return self.inode.size if self.inode is not None else 0

    @property
    def cached(self) -> bool:
        """Whether a cache is attached that takes parts of it."""
        return self.inode is not None and self.inode.cached is not None

    @property
    def condition(self) -> UploadCondition:
        """What an upload made from it demands of the server."""
        if self.inode is None:
            return UploadCondition(if_absent=True)
        return condition_on(self.inode.version.validator)

    def read_now(self, view: memoryview, start: int) -> bool:
        """Read from the cache if all of it is there; never asks the server."""
        return self.inode is not None and _read_now(self.inode, view, start)

    def has(self, start: int, end: int) -> bool:
        """Whether all of ``[start, end)`` is cached (for the moment)."""
        return self.inode is not None and self.inode.locate(start, end)

    def missing_bytes(self, start: int, end: int) -> int:
        """How much of ``[start, end)`` is not cached."""
        if self.inode is None:
            return 0
        return sum(gap.length for gap in self.inode.missing(start, end))

    async def read(self, start: int, end: int, ahead: int = 0) -> bytes:
        """The bytes ``[start, end)``, from the server what is not cached; ``ahead`` as ``ensure``.

        Raises ``StaleError`` when the server has another version now and the bytes are not cached.
        """
        inode, table = self.inode, self._engine.inodes
        if inode is None:
            raise ClosedError("an edited file was closed while it was read")
        # An upload that ends meanwhile lets go of this base: the read still needs it.
        table.acquire(inode)
        try:
            if await self._engine.ensure(inode, start, end, ahead):
                data = bytearray(end - start)
                if _read_now(inode, memoryview(data), start):
                    return bytes(data)
            from netcache._netfs.direct_read import read_direct

            return await read_direct(self._engine, inode, start, end, ahead)
        finally:
            table.release(inode)

    def close(self) -> None:
        """Let the version go.  Idempotent."""
        inode, self.inode = self.inode, None
        if inode is not None:
            self._engine.inodes.release(inode)


def _read_now(inode: Inode, view: memoryview, start: int) -> bool:
    descriptor, low, high = inode.window
    end = start + len(view)
    if start < low or end > high:
        if not inode.locate(start, end):
            return False
        descriptor = inode.window[0]
    try:
        return descriptor >= 0 and os.preadv(descriptor, [view], start) == len(view)
    except OSError:
        inode.lose_holding()
        return False
