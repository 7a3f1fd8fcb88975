"""Copying ahead: what the cache holds of a large file is copied while the server is asked about it.

Rules:

1. What was copied counts only for the very inode that the server has confirmed; otherwise the
   target begins anew.
2. Nothing of it is told, as progress or as an error, before that.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from netcache._client.cached_copy import CachedCopy
from netcache._client.target import TargetFile, begin_target
from netcache._finishing import finished

if TYPE_CHECKING:
    from netcache._netfs.inode import Inode
    from netcache._netfs.inodes import InodeTable


async def begin_ahead(table: InodeTable, inode: Inode, path: str) -> AheadCopy:
    """Begin to copy ``inode`` into a file to be made at ``path``.

    Raises ``OSError`` when none can be made there.
    """
    return AheadCopy(table, inode, await begin_target(path))


class AheadCopy:
    """One copy, made by a worker thread until ``taken`` or ``close``.  On a loop."""

    def __init__(self, table: InodeTable, inode: Inode, target: TargetFile) -> None:
        self._table = table
        self._inode = inode
        self._target: TargetFile | None = target
        self._copy = CachedCopy(inode, target)
        table.acquire(inode)
        loop = asyncio.get_running_loop()
        self._copying = loop.run_in_executor(None, self._copy.run)

    async def taken(self, inode: Inode) -> tuple[TargetFile, int]:
        """Stop; the target, which is the caller's now, and how much of ``inode`` is in it."""
        self._copy.stop()
        position = await finished(self._copying)
        target, self._target = self._target, None
        assert target is not None, "a copy is taken once"
        if inode is not self._inode:
            os.ftruncate(target.fileno(), 0)
            position = 0
        return target, position

    async def close(self) -> None:
        """Stop, and leave nothing of what was not taken."""
        self._copy.stop()
        try:
            await finished(self._copying)
        finally:
            if self._target is not None:
                self._target.discard()
            self._table.release(self._inode)
