"""Inodes: one version of one resource, shared by all open files of a client.

Rules:

1. An inode stands for exactly one version (promise P1).  When the resource turns out to be another
   one now, a new inode takes its place in the client's table; open files keep the old one and go
   on with what is cached of it, or get ``StaleError``.
2. ``present`` only grows while the inode lives: the descriptor stays open, and neither dropping,
   culling nor replacing the object takes bytes out of the file behind it.
3. ``window`` is one present extent with its descriptor, published as one tuple.  A reader's thread
   compares with it and reads without any lock (the hot path of cached reads).

Threads: ``locate`` and ``window`` on any thread; everything else on the client's loop.
``lock`` guards ``present`` and the writing of ``window``.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from netcache._core.coherency import Version
from netcache._core.extent import Extent, ExtentSet
from netcache._core.urls import Resource
from netcache._fscache.ports import ObjectKey
from netcache._netfs.holding import CachedHolding, Holding, SpoolHolding
from netcache.errors import CacheError

if TYPE_CHECKING:
    from netcache._netfs.flight import Flight

Window = tuple[int, int, int]
NO_WINDOW: Window = (-1, 0, -1)
"""Descriptor, start, end of a present extent; this one holds no read, not even an empty one."""


class Inode:
    """A version of a resource that files are open on.

    ``holding`` is None when nothing is kept locally (no cache, or the cache failed): reads then go
    to the server each time.
    """

    __slots__ = (
        "checked_at",
        "complete",
        "flights",
        "holding",
        "key",
        "lock",
        "memory",
        "present",
        "received_bytes",
        "resource",
        "stale",
        "users",
        "version",
        "window",
    )

    def __init__(
        self, resource: Resource, key: ObjectKey, version: Version, holding: Holding | None
    ) -> None:
        self.resource = resource
        self.key = key
        self.version = version
        self.holding = holding
        self.present = ExtentSet()
        self.window: Window = NO_WINDOW
        self.lock = threading.Lock()
        self.flights: list[Flight] = []
        self.users = 0
        self.received_bytes = 0
        self.stale = False
        # The piece last read past the cache: its start and bytes.  Replaced as a whole.
        self.memory: tuple[int, bytes] = (0, b"")
        self.complete = version.size == 0
        # The monotonic time at which the version was last found current; -inf for never.
        self.checked_at = float("-inf")

    @property
    def size(self) -> int:
        """The size of the resource in bytes; -1 while a response of unknown length runs."""
        return self.version.size

    @property
    def joins(self) -> bool:
        """Whether ranges of this version may be fetched apart."""
        return self.version.validator.joins_ranges

    @property
    def cached(self) -> CachedHolding | None:
        """The holding, when it is a cache object."""
        return self.holding if isinstance(self.holding, CachedHolding) else None

    def clip(self, end: int) -> int:
        """``end``, not past the size where that is known."""
        return min(end, self.size) if self.size >= 0 else end

    def locate(self, start: int, end: int) -> bool:
        """Whether all of ``[start, end)`` is there to be read; moves ``window`` to it if so.

        Asks the holding about what is not known yet; may do a few seek calls, never the network.
        """
        holding = self.holding
        if holding is None:
            return False
        with self.lock:
            found = self.present.holding(start)
            if found is None or found.end < end:
                self._learn(holding, start, end)
                found = self.present.holding(start)
            if found is None or found.end < end:
                return False
            self.window = (holding.fileno(), found.start, found.end)
            return True

    def run_at(self, position: int) -> tuple[int, int]:
        """The descriptor, and the end of what is present from ``position`` on."""
        with self.lock:
            found = self.present.holding(position)
            if found is None or self.holding is None:
                return -1, position
            return self.holding.fileno(), self.clip(found.end)

    def missing(self, start: int, end: int) -> list[Extent]:
        """The parts of ``[start, end)`` that are not there, in order."""
        if start >= end:
            return []
        if self.holding is None:
            return [Extent(start, end)]
        with self.lock:
            self._learn(self.holding, start, end)
            return self.present.missing(start, end)

    def arrived(self, start: int, end: int) -> None:
        """``[start, end)`` has been stored: readers may have it."""
        with self.lock:
            self.present.add(start, end)

    def on_their_way(self) -> ExtentSet:
        """What the flights of this inode are still going to bring."""
        return ExtentSet(
            (flight.position, flight.end if flight.end >= 0 else 1 << 62) for flight in self.flights
        )

    def lose_holding(self) -> None:
        """The cache failed: go on from the server.  What was read from it stays right."""
        with self.lock:
            self.holding, old = None, self.holding
            self.window = NO_WINDOW
            self.present.clear()
        if old is not None:
            old.close()

    def detach(self) -> None:
        """The holding belongs to another version now; it stays open."""
        with self.lock:
            self.holding = None
            self.window = NO_WINDOW
            self.present.clear()

    def settle(self, spool: SpoolHolding, holding: Holding, version: Version) -> None:
        """A spool became complete, and perhaps a cache object: ``holding`` is where it is now."""
        with self.lock:
            self.version = version
            self.holding = holding
            self.complete = True
            self.window = (holding.fileno(), 0, version.size)
        if holding is not spool:
            spool.close()

    def close(self) -> None:
        """Let the local bytes go; reads afterwards find nothing present."""
        with self.lock:
            self.window = NO_WINDOW
            self.present.clear()
            holding, self.holding = self.holding, None
        if holding is not None:
            holding.close()

    def _learn(self, holding: Holding, start: int, end: int) -> None:
        """Ask the holding about what of ``[start, end)`` is not known to be present."""
        limit = self.clip(end)
        try:
            for hole in self.present.missing(start, limit):
                for extent in holding.occupancy(hole.start, hole.end):
                    self.present.add(extent.start, extent.end)
        except CacheError:
            return
