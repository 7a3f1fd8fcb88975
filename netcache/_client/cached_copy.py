"""Copying what the cache holds of a file into a target, until somebody says to stop."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

from netcache._core.steps import GrowingSteps
from netcache._netfs.runs import run_at
from netcache.errors import CacheError

if TYPE_CHECKING:
    from netcache._client.target import TargetFile
    from netcache._netfs.inode import Inode

STEP_BYTES = 4 << 20
STEP_BYTES_MAX = 32 << 20
"""How much is copied between two looks at whether to go on."""


class CachedCopy:
    """One copy.  ``position`` is how far it is."""

    def __init__(self, inode: Inode, target: TargetFile) -> None:
        self.position = 0
        self._inode = inode
        self._target = target
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Let ``run`` return soon."""
        self._stopped.set()

    def run(self) -> int:
        """Copy until ``stop``, or something is missing; how far that is.  Blocks.

        An error ends it as well: whoever goes on meets the same, and knows what it means.
        """
        inode, steps = self._inode, GrowingSteps(STEP_BYTES, STEP_BYTES_MAX)
        with contextlib.suppress(CacheError, OSError):
            while self.position < inode.size and not self._stopped.is_set():
                begun_s = time.monotonic()
                start, end = self.position, min(self.position + steps.bytes, inode.size)
                if not inode.locate(start, end):
                    break
                descriptor, high = run_at(inode, start, steps.bytes)
                if high <= start:
                    break
                self._target.take_from(descriptor, start, high)
                self.position = high
                steps.took(time.monotonic() - begun_s)
        return self.position

    def compare_ahead(self) -> None:
        """Compare what comes next with its sums, while another thread runs it.  Blocks."""
        inode, start = self._inode, self.position + STEP_BYTES_MAX
        while start < inode.size and not self._stopped.is_set():
            end = min(start + STEP_BYTES, inode.size)
            if not inode.locate(start, end):
                break
            start = end
