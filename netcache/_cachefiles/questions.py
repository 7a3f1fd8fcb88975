"""Claims of questions: of processes that know nothing of a resource, one asks the server first.

The others wait until it has been told what there is, and has made an object to fill; then they
follow.  A claim is a lock of a byte of the file of the record of use, by an open file description
of our own; the kernel gives it back when a process dies.  Two resources may share a byte: that
costs a wait, which is bounded.  Where locks do nothing, or the file cannot be had, all may ask.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from netcache._cachefiles.usage_file import NAME
from netcache._core.keys import tag_of

if TYPE_CHECKING:
    from netcache._cachefiles.file_port import FileOps

_BASE = 1 << 61
_BYTES = 1 << 40
"""Far above the bytes that the record of use locks."""


class Questions:
    """The claims of one bound cache.  Thread-safe; never waits."""

    def __init__(self, ops: FileOps, root: int) -> None:
        self._ops = ops
        self._root = root
        self._fd = -1
        self._closed = False
        self._held: set[int] = set()
        self._lock = threading.Lock()

    def claim(self, place: str) -> Callable[[], None] | None:
        """Claim the question of what has this name; None when somebody has it.

        Returns how to give it back, which raises nothing.
        """
        byte = _BASE + tag_of(place) % _BYTES
        with self._lock:
            if self._closed:
                return lambda: None
            if byte in self._held:
                return None
            try:
                if self._fd < 0:
                    self._fd = self._ops.open_shared(NAME, self._root)
                if not self._ops.lock_range(self._fd, byte, 1):
                    return None
            except OSError:
                return lambda: None
            self._held.add(byte)
        return lambda: self._give_back(byte)

    def _give_back(self, byte: int) -> None:
        with self._lock, suppress(OSError):
            self._held.discard(byte)
            if self._fd >= 0:
                self._ops.unlock_range(self._fd, byte, 1)

    def close(self) -> None:
        """Give everything back.  Idempotent."""
        with self._lock:
            fd, self._fd, self._closed = self._fd, -1, True
            if fd >= 0:
                self._ops.close(fd)
