"""Placing of small files: on the loop's own thread, as long as their disk takes them at once.

A hop to a thread and back takes as long as everything else that is done for such a file.  A disk
that kept us waiting (a network filesystem, a full queue of writes) is left to threads for a while.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from netcache._client.target import place_bytes
from netcache._finishing import finished

SLOW_S = 0.01
"""Who waits longer than this for a small file keeps everything else from going on."""

_PART = 8
"""A file counts for so little of what they take of late: any may wait for the processor."""

HOPS_AFTER_SLOW = 256
"""So many files go through threads before it is tried again."""


class Placer:
    """Places the small files of a client.  On its loop."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._hops_left = 0
        # How long a file takes, of late.
        self._takes_s = 0.0

    async def place(self, path: str, data: bytes, mtime_s: float | None) -> None:
        """A file at ``path`` with these bytes, all of them or none; ``OSError`` from its disk."""
        if self._hops_left:
            self._hops_left -= 1
            loop = asyncio.get_running_loop()
            await finished(loop.run_in_executor(None, place_bytes, path, data, mtime_s))
            return
        begun_s = self._now()
        try:
            place_bytes(path, data, mtime_s)
        finally:
            self._takes_s += (self._now() - begun_s - self._takes_s) / _PART
            if self._takes_s > SLOW_S:
                self._hops_left, self._takes_s = HOPS_AFTER_SLOW, 0.0
