"""Copying ahead: what the cache holds of a large file is copied while the server is asked about it.

Rules:

1. What was copied counts only for the very inode that the server has confirmed; otherwise the
   target begins anew.
2. Nothing of it is told, as progress or as an error, before that.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from typing import TYPE_CHECKING

from netcache._client.target import TargetFile, begin_target
from netcache._core.steps import GrowingSteps
from netcache._finishing import finished
from netcache._netfs.runs import run_at
from netcache.errors import CacheError

if TYPE_CHECKING:
    from netcache._netfs.inode import Inode
    from netcache._netfs.inodes import InodeTable

STEP_BYTES = 4 << 20
STEP_BYTES_MAX = 32 << 20
"""How much is copied between two looks at whether the answer has come."""


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
        self._stopped = threading.Event()
        table.acquire(inode)
        self._copying = asyncio.get_running_loop().run_in_executor(None, self._copy, target)

    def _copy(self, target: TargetFile) -> int:
        """Copy until it is stopped, or something is missing; how far that is."""
        inode, position = self._inode, 0
        steps = GrowingSteps(STEP_BYTES, STEP_BYTES_MAX)
        # Whoever goes on meets the same error, and knows what it means.
        with contextlib.suppress(CacheError, OSError):
            while position < inode.size and not self._stopped.is_set():
                begun_s = time.monotonic()
                if not inode.locate(position, min(position + steps.bytes, inode.size)):
                    break
                descriptor, high = run_at(inode, position, steps.bytes)
                if high <= position:
                    break
                target.take_from(descriptor, position, high)
                position = high
                steps.took(time.monotonic() - begun_s)
        return position

    async def taken(self, inode: Inode) -> tuple[TargetFile, int]:
        """Stop; the target, which is the caller's now, and how much of ``inode`` is in it."""
        self._stopped.set()
        position = await finished(self._copying)
        target, self._target = self._target, None
        assert target is not None, "a copy is taken once"
        if inode is not self._inode:
            os.ftruncate(target.fileno(), 0)
            position = 0
        return target, position

    async def close(self) -> None:
        """Stop, and leave nothing of what was not taken."""
        self._stopped.set()
        try:
            await finished(self._copying)
        finally:
            if self._target is not None:
                self._target.discard()
            self._table.release(self._inode)
