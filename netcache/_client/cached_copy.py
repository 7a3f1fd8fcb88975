"""Copying what the cache holds of a file into a target, until somebody says to stop."""

from __future__ import annotations

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

AHEAD_BYTES_MAX = 128 << 20
"""So far ahead of the copy is compared: what was read for that is still in memory then."""


class CachedCopy:
    """One copy.  ``position`` is how far it is, ``failure`` why it could not go on if the target
    takes no more."""

    def __init__(self, inode: Inode, target: TargetFile) -> None:
        self.position = 0
        self.failure: OSError | None = None
        self._inode = inode
        self._target = target
        self._stopped = False
        # Held for memory only; told of each step, and of the end.
        self._moved = threading.Condition()

    def stop(self) -> None:
        """Let ``run`` return soon."""
        with self._moved:
            self._stopped = True
            self._moved.notify_all()

    def run(self) -> int:
        """Copy until ``stop``, or something is missing; how far that is.  Blocks.

        An error ends it as well.  Of those of the cache whoever goes on finds out what they mean.
        """
        try:
            self._run()
        except CacheError:
            pass
        except OSError as error:
            self.failure = error
        finally:
            self.stop()
        return self.position

    def _run(self) -> None:
        inode, steps = self._inode, GrowingSteps(STEP_BYTES, STEP_BYTES_MAX)
        while self.position < inode.size and not self._stopped:
            begun_s = time.monotonic()
            start, end = self.position, min(self.position + steps.bytes, inode.size)
            if not inode.locate(start, end):
                break
            descriptor, high = run_at(inode, start, steps.bytes)
            if high <= start:
                break
            self._target.take_from(descriptor, start, high)
            with self._moved:
                self.position = high
                self._moved.notify_all()
            steps.took(time.monotonic() - begun_s)

    def compare_ahead(self) -> None:
        """Compare what comes next with its sums, while another thread runs it.  Blocks."""
        inode, start = self._inode, self.position + STEP_BYTES_MAX
        while start < inode.size and self._is_near(start):
            end = min(start + STEP_BYTES, inode.size)
            if not inode.locate(start, end):
                break
            start = end

    def _is_near(self, start: int) -> bool:
        """Wait until the copy comes near to ``start``; False when it has ended."""
        with self._moved:
            self._moved.wait_for(lambda: self._stopped or start - self.position <= AHEAD_BYTES_MAX)
            return not self._stopped
