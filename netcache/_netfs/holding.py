"""Holdings: where the bytes of an open resource are kept while it is read.

Two kinds behind one port:

* ``CachedHolding``: a cache object; any extent in any order, recorded as it arrives.
* ``SpoolHolding``: a private file, written front to back from one response.  It is for versions
  whose validator does not join ranges (RFC 9110 15.3.7), and becomes a cache object only when it
  is complete.

Both are called on the event loop's thread (``store``) and on readers' threads (``occupancy``).
"""

from __future__ import annotations

import os
from typing import IO, Protocol

from netcache._core.coherency import Version
from netcache._core.content import WriteKind
from netcache._core.extent import Extent, round_down, round_up
from netcache._fscache.ports import CacheObject, CacheStore, NewObject, ObjectKey
from netcache.errors import CacheError


class Holding(Protocol):
    """Local bytes of one version of a resource."""

    block_size: int

    def fileno(self) -> int:
        """The descriptor to read from."""

    def occupancy(self, start: int, end: int) -> list[Extent]:
        """Extents that are surely there, meeting ``[start, end)``, in order."""

    def store(self, start: int, view: memoryview, size: int | None) -> int:
        """Keep ``view``, the bytes at ``start``; returns the end of what was kept.

        That may be short of the view's end, by less than a block, when it does not end on a block
        boundary nor at ``size``, the end of the resource.  Raises ``CacheError``.
        """

    def close(self) -> None:
        """Let go."""


class CachedHolding:
    """A cache object as a holding."""

    __slots__ = ("block_size", "object")

    def __init__(self, cache_object: CacheObject) -> None:
        self.object = cache_object
        self.block_size = cache_object.block_size

    def fileno(self) -> int:
        """The descriptor of the backing file."""
        return self.object.fileno()

    def occupancy(self, start: int, end: int) -> list[Extent]:
        """What the object says; two extents a question."""
        found: list[Extent] = []
        while start < end:
            extents = self.object.query_occupancy(start, end)
            if not extents:
                break
            found += [Extent(extent.start, extent.end) for extent in extents]
            start = max(start + 1, extents[-1].end)
            if len(extents) < 2:
                break
        return found

    def store(self, start: int, view: memoryview, size: int | None) -> int:
        """Write whole blocks, then record them."""
        end = start + len(view)
        if end != size:
            end = max(start, round_down(end, self.block_size))
        if end > start:
            self.object.write_blocks(start, view[: end - start])
            self.object.collect_write(WriteKind.DATA, start, round_up(end, self.block_size))
        return end

    def close(self) -> None:
        """Close the object."""
        self.object.close()


class SpoolHolding:
    """A private file, filled front to back by one response."""

    __slots__ = ("_file", "_new", "_written", "block_size")

    def __init__(self, store: CacheStore | None, key: ObjectKey) -> None:
        self._new: NewObject | None = None
        self._file: IO[bytes] | None = None
        self._written = 0
        self.block_size = 4096 if store is None else store.block_size
        if store is not None:
            try:
                self._new = store.begin(key)
            except CacheError:
                self._new = None
        if self._new is None:
            # Imported here: reading what is cached must not pay for it.
            import tempfile

            self._file = tempfile.TemporaryFile(prefix="netcache-", buffering=0)  # noqa: SIM115

    def fileno(self) -> int:
        """The descriptor of the private file."""
        if self._new is not None:
            return self._new.fileno()
        assert self._file is not None
        return self._file.fileno()

    def occupancy(self, start: int, end: int) -> list[Extent]:
        """What has been written so far."""
        return [Extent(0, self._written)] if self._written else []

    def store(self, start: int, view: memoryview, size: int | None) -> int:
        """Append; ``start`` must be where the last piece ended."""
        if start != self._written:
            raise CacheError(f"a spool was given bytes at {start} after {self._written}")
        if self._new is not None:
            self._new.write(view)
        else:
            position = start
            while len(view):
                count = os.pwrite(self.fileno(), view, position)
                view, position = view[count:], position + count
            self._written = position
            return position
        self._written = start + len(view)
        return self._written

    def publish(self, version: Version, checked_s: float) -> CacheObject | None:
        """Make the complete spool the cache object of ``version``; None without a cache."""
        if self._new is None:
            return None
        new, self._new = self._new, None
        try:
            return new.publish(version, checked_s=checked_s)
        except CacheError:
            new.discard()
            raise

    def close(self) -> None:
        """Throw the private file away (unless it was published)."""
        if self._new is not None:
            self._new.discard()
            self._new = None
        if self._file is not None:
            self._file.close()
