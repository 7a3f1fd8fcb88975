"""Inodes: one version of one resource, shared by all open files of a client.

Rules:

1. An inode stands for exactly one version (promise P1).  When the resource turns out to be another
   one now, a new inode takes its place in the client's table; open files keep the old one and go
   on with what is cached of it, or get ``StaleError``.
2. ``present`` only grows while the inode lives, but for what is found damaged: the descriptor stays
   open, and neither dropping, culling nor replacing the object takes bytes out of the file behind.
3. ``window`` is one present and proven extent with its descriptor, published as one tuple.  A
   reader's thread compares with it and reads without any lock (the hot path of cached reads).  It
   holds no read, and only tells the descriptor, where each read is to be proven.  ``windows`` are
   those that were left for it, for readers who come back.

Threads: ``locate``, ``find_window`` and ``window`` on any thread; everything else on the client's
loop.  ``lock`` guards ``present`` and the writing of ``window`` and ``windows``.
"""

from __future__ import annotations

import threading
from math import inf
from typing import TYPE_CHECKING

from netcache._core.extent import Extent, ExtentSet, round_out
from netcache._netfs.holding import CachedHolding, Holding
from netcache._netfs.windows import NO_EXTENT, NO_WINDOW, NO_WINDOWS, Window, Windows
from netcache.errors import CacheError

if TYPE_CHECKING:
    from netcache._core.coherency import Version
    from netcache._core.following import Following
    from netcache._core.keys import ObjectKey
    from netcache._core.sizes import Sizes
    from netcache._core.urls import Resource
    from netcache._netfs.coming import Flights, Question
    from netcache._netfs.spool import SpoolHolding


class Inode:
    """A version of a resource that files are open on.

    ``holding`` is None when nothing is kept locally (no cache, or the cache failed): reads then go
    to the server each time.
    """

    __slots__ = (
        "_flights",
        "_sizes",
        "checked_at",
        "complete",
        "content",
        "digest",
        "due",
        "following",
        "follows",
        "holding",
        "key",
        "lock",
        "memory",
        "present",
        "question",
        "received_bytes",
        "resource",
        "retired",
        "stale",
        "told",
        "users",
        "version",
        "window",
        "windows",
    )

    def __init__(
        self, resource: Resource, key: ObjectKey, version: Version, holding: Holding | None
    ) -> None:
        self.resource = resource
        self.key = key
        self.version = version
        self._sizes: Sizes | None = None
        self.holding = holding
        # Given up, and still open: a reader in another thread may be about to read from it.
        self.retired: list[Holding] = []
        self.present = ExtentSet()
        self.window: Window = NO_WINDOW
        self.windows: Windows = NO_WINDOWS
        self.lock = threading.Lock()
        self._flights: Flights | None = None
        # What a flight is going to bring when the server's answer is here.
        self.question: Question | None = None
        # Whether somebody else fetches it, in the order in which we read: another process had the
        # claim of what we needed last.  It is left to him to read ahead.
        self.follows = False
        # How we wait for what others bring; None until we have to.
        self.following: Following | None = None
        self.users = 0
        self.received_bytes = 0
        self.stale = False
        # What was told as missed, and could not be kept; None for nothing.
        self.told: ExtentSet | None = None
        # The piece last read past the cache: its start and bytes.  Replaced as a whole.
        self.memory: tuple[int, bytes] = (0, b"")
        self.complete = version.size == 0
        # The monotonic time at which the version was last found current; -inf for never.
        self.checked_at = -inf
        # The same for inodes whose bytes were proven to be the same, whatever their versions.
        self.content = object()
        # The SHA-256 of all of it, once somebody had to know.
        self.digest: bytes | None = None
        # Only its metadata were wanted so far: it gets a holding with the first read.
        self.due = False

    @property
    def sizes(self) -> Sizes:
        """Replaced as a whole: its three values are read together or not at all."""
        if self._sizes is not None:
            return self._sizes
        from netcache._core.sizes import Sizes

        return Sizes.of(self.version.size)

    @sizes.setter
    def sizes(self, sizes: Sizes) -> None:
        self._sizes = sizes

    @property
    def flights(self) -> Flights:
        """What brings bytes at this moment.  Made by the first that asks: the cache needs none."""
        if self._flights is None:
            from netcache._netfs.coming import Flights

            self._flights = Flights()
        return self._flights

    @property
    def flying(self) -> bool:
        """Whether there are any flights.  Any thread."""
        return bool(self._flights)

    def reach(self, position: int) -> int:
        """How far everything from ``position`` on is known to be there."""
        with self.lock:
            found = self.present.holding(position)
        return found.end if found is not None else position

    @property
    def size(self) -> int:
        """The size of the resource in bytes; -1 while a response of unknown length runs."""
        return self.version.size

    @property
    def joins(self) -> bool:
        """Whether ranges of this version may be fetched apart."""
        return self.version.validator.joins_ranges

    @property
    def cut_off(self) -> bool:
        """Whether nothing more can be kept of it, for the cache failed."""
        if self.holding is None:
            return not self.complete and not self.due
        cached = self.cached
        return cached is not None and cached.object.withdrawn

    @property
    def cached(self) -> CachedHolding | None:
        """The holding, when it is a cache object."""
        return self.holding if isinstance(self.holding, CachedHolding) else None

    @property
    def spools(self) -> bool:
        """Whether it comes in one piece, into a private file."""
        return self.holding is not None and not isinstance(self.holding, CachedHolding)

    def clip(self, end: int) -> int:
        """``end``, not past the size where that is known."""
        return min(end, self.size) if self.size >= 0 else end

    def locate(self, start: int, end: int) -> bool:
        """Whether all of ``[start, end)`` is there and sound; moves ``window`` to it if so.

        Asks the holding about what is not known yet; may do a few seek calls, and read what is to
        be proven, never the network.
        """
        holding = self.holding
        if holding is None:
            return False
        if self.read_first(0, 0) is not None:
            return end <= self.size
        with self.lock:
            if self.holding is not holding:
                return False
            found = self.present.holding(start)
            if found is None or found.end < end:
                self.learn(holding, start, end)
                found = self.present.holding(start)
            if found is None or found.end < end:
                return False
        # Without the lock, for it may read much.
        proven = self.proven(holding, start, end)
        if proven.end < end:
            return False
        with self.lock:
            if self.holding is not holding:
                return False
            if self.window is not NO_WINDOW:
                self.windows = self.windows.joined(*self.window)
            window = found.clip(*proven)
            self.window = (holding.fileno(), *(NO_EXTENT if holding.proves_each_read else window))
            return True

    def find_window(self, start: int, end: int, *, wait: bool = True) -> tuple[int, int]:
        """The descriptor and the end that can be read from ``start`` (clipped to the size).

        An end of -1 for a miss; without ``wait`` also where the disk would have to be waited for.
        """
        size = self.version.size
        if size < 0:
            return -1, -1
        end = min(end, size)
        if end <= start:
            return -1, start
        windows = self.windows
        if windows is not NO_WINDOWS and (descriptor := windows.find(start, end)) >= 0:
            return descriptor, end
        # What is not there is not to be proven: most who ask for that are many at once.
        ready = wait or (not self.missing(start, end) and self.prove_nowait(start, end))
        if ready and self.locate(start, end):
            return self.window[0], end
        return -1, -1

    def read_first(self, start: int, end: int) -> bytes | None:
        """``[start, end)``, clipped to the size, of a small complete object of which nothing is
        known yet: the read that proves all of it.  None where it is not that."""
        holding, size = self.holding, self.version.size
        end = min(end, size)
        if holding is None or self.present or not 0 <= start <= end:
            return None
        try:
            data = holding.read_whole(start, end)
        except CacheError:
            return None
        with self.lock:
            if data is None or self.holding is not holding:
                return None
            self.present.add(0, size)
            self.window = (holding.fileno(), 0, size)
        return data

    def to_prove(self, start: int, end: int) -> bool:
        """Whether ``locate`` would have to read what it finds, to prove it."""
        holding = self.holding
        return holding is not None and not holding.is_proven(start, self.clip(end))

    def prove_nowait(self, start: int, end: int) -> bool:
        """Whether ``locate`` has nothing to wait for: what it finds is proven, or was now."""
        holding = self.holding
        if holding is None:
            return True
        try:
            return holding.prove_nowait(start, self.clip(end))
        except CacheError:
            return False

    def proven(self, holding: Holding, start: int, end: int) -> Extent:
        """What ``prove`` says; what is not proven does not count as present any more."""
        try:
            proven = holding.prove(start, end)
        except CacheError:
            proven = Extent(start, start)
        if proven.end < end:
            with self.lock:
                blocks = round_out(Extent(start, end), holding.block_size)
                self.present.remove(*blocks)
                self.window, self.windows = NO_WINDOW, NO_WINDOWS
        return proven

    def missing(self, start: int, end: int, *, ask: bool = True) -> list[Extent]:
        """The parts of ``[start, end)`` that are not known to be there, in order; without ``ask``
        the holding is not asked about them."""
        with self.lock:
            if self.holding is None:
                return [Extent(start, end)] if start < end else []
            if ask and start < end:
                self.learn(self.holding, start, end)
            return self.present.missing(start, end)

    def arrived(self, start: int, end: int) -> None:
        """``[start, end)`` has been stored: readers may have it."""
        with self.lock:
            self.present.add(start, end)

    def lose_holding(self) -> None:
        """The cache failed: go on from the server.  What was read from it stays right."""
        with self.lock:
            self.holding, old = None, self.holding
            self.window, self.windows = NO_WINDOW, NO_WINDOWS
            self.present.clear()
            if old is not None:
                self.retired.append(old)

    def take_holding(self, holding: Holding | None) -> None:
        """What was ``due``; None where the cache has no room."""
        with self.lock:
            self.due = False
            self.holding = holding

    def detach(self) -> None:
        """The holding belongs to another version now; it stays open."""
        with self.lock:
            self.holding = None
            self.window, self.windows = NO_WINDOW, NO_WINDOWS
            self.present.clear()

    def settle(self, spool: SpoolHolding, holding: Holding, version: Version) -> None:
        """A spool became complete, and perhaps a cache object: ``holding`` is where it is now."""
        with self.lock:
            self.version = version
            self._sizes = None
            self.holding = holding
            self.complete = True
            window = NO_EXTENT if holding.proves_each_read else Extent(0, version.size)
            self.window, self.windows = (holding.fileno(), *window), NO_WINDOWS
        if holding is not spool:
            spool.close()

    def close(self) -> None:
        """Let the local bytes go; reads afterwards find nothing present."""
        with self.lock:
            self.window, self.windows = NO_WINDOW, NO_WINDOWS
            self.present.clear()
            holdings: list[Holding | None] = [*self.retired, self.holding]
            self.retired, self.holding = [], None
        for holding in filter(None, holdings):
            holding.close()

    def learn(self, holding: Holding, start: int, end: int) -> int:
        """Ask the holding, once, about what of ``[start, end)`` is not known to be there.

        Returns how far the answer reaches.  The caller holds ``lock``.
        """
        unknown = self.present.missing(start, self.clip(end))
        if not unknown:
            return end
        try:
            found = holding.occupancy(unknown[0].start, unknown[-1].end)
        except CacheError:
            return end
        for extent in found:
            self.present.add(extent.start, extent.end)
        return found[-1].end if len(found) > 1 else end
