"""Holdings: where the bytes of an open resource are kept while it is read.

Two kinds behind one port:

* ``CachedHolding``: a cache object; any extent in any order, recorded as it arrives.
* ``SpoolHolding``: a private file, written front to back from one response.  It is for versions
  whose validator does not join ranges (RFC 9110 15.3.7), and becomes a cache object only when it
  is complete.

Both are called on the event loop's thread (``store``) and on readers' threads (``occupancy``).
"""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Protocol

from netcache._core.content import WriteKind
from netcache._core.extent import Extent, round_up
from netcache._netfs.private_file import copy_at, memory_file, private_file, write_at
from netcache.errors import CacheError

if TYPE_CHECKING:
    from netcache._core.coherency import Version
    from netcache._core.keys import ObjectKey
    from netcache._fscache.ports import CacheObject, CacheStore, NewObject


class Holding(Protocol):
    """Local bytes of one version of a resource."""

    block_size: int

    def fileno(self) -> int:
        """The descriptor to read from."""

    def occupancy(self, start: int, end: int) -> list[Extent]:
        """Up to two extents that are surely there, meeting ``[start, end)``, in order."""

    @property
    def proves_each_read(self) -> bool:
        """Whether what ``prove`` returned holds for one read only."""

    def prove(self, start: int, end: int) -> Extent:
        """A proven extent from ``start``, or before it, on; it ends before ``end`` where a block
        was damaged, which is not there any more.  Raises ``CacheError``."""

    def prove_whole(self) -> bool:
        """Whether everything is there and proven, where one step tells; else False.

        Raises ``CacheError``."""

    def is_proven(self, start: int, end: int) -> bool:
        """Whether ``prove`` has nothing to read for ``[start, end)``."""

    def prove_nowait(self, start: int, end: int) -> bool:
        """Whether ``[start, end)`` is proven without waiting for the disk; False says nothing.

        Raises ``CacheError``."""

    def write(self, start: int, view: memoryview) -> None:
        """Write ``view``, the bytes at ``start``; nobody may read them before ``record``.

        In whole blocks; only the last one of the resource may be short.  Raises ``CacheError``.
        """

    def record(self, start: int, end: int) -> None:
        """Let what was written at ``[start, end)`` be there.  Raises ``CacheError``."""

    def cancel(self, start: int, end: int) -> None:
        """A write there failed, or is not to be believed.  Raises ``CacheError``."""

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

    @property
    def proves_each_read(self) -> bool:
        """What the store's level says."""
        return self.object.proves_each_read

    def prove(self, start: int, end: int) -> Extent:
        """What the object finds."""
        return self.object.prove(start, end)

    def prove_whole(self) -> bool:
        """What the object finds."""
        return self.object.prove_whole()

    def is_proven(self, start: int, end: int) -> bool:
        """What the object knows."""
        return self.object.is_proven(start, end)

    def prove_nowait(self, start: int, end: int) -> bool:
        """What the object finds."""
        return self.object.prove_nowait(start, end)

    def occupancy(self, start: int, end: int) -> list[Extent]:
        """What the object answers to one question."""
        return [
            Extent(extent.start, extent.end) for extent in self.object.query_occupancy(start, end)
        ]

    def write(self, start: int, view: memoryview) -> None:
        """Write blocks."""
        self.object.write_blocks(start, view)

    def record(self, start: int, end: int) -> None:
        """Record a run of blocks; runs of one request come in order of position."""
        self.object.collect_write(WriteKind.DATA, start, round_up(end, self.block_size))

    def cancel(self, start: int, end: int) -> None:
        """Nothing of these blocks may be trusted."""
        self.object.collect_write(WriteKind.CANCEL, start, end)

    def close(self) -> None:
        """Close the object."""
        self.object.close()


class SpoolHolding:
    """A private file, filled front to back by one response.  It needs no proof."""

    proves_each_read = False

    __slots__ = ("_descriptor", "_file", "_left", "_new", "_outgrown", "_written", "block_size")

    def __init__(self, store: CacheStore | None, key: ObjectKey) -> None:
        self._new: NewObject | None = None
        self._file: IO[bytes] | None = None
        # Of the private object, from when it is being published; it is the same one afterwards.
        self._descriptor = -1
        self._written = 0
        # The private object that could not be written any more; readers may still look at it.
        self._left: NewObject | None = None
        self._outgrown: list[IO[bytes]] = []
        self.block_size = 4096 if store is None else store.block_size
        if store is not None:
            try:
                self._new = store.begin(key)
            except CacheError:
                self._new = None
        if self._new is None:
            self._file = private_file(None)

    def fileno(self) -> int:
        """The descriptor of the private file; any thread, also while it is published."""
        if self._descriptor >= 0:
            return self._descriptor
        if self._new is not None:
            return self._new.fileno()
        assert self._file is not None
        return self._file.fileno()

    def prove(self, start: int, end: int) -> Extent:
        """We have written it ourselves just now."""
        return Extent(0, max(end, self._written))

    def prove_whole(self) -> bool:
        """Never: what is written so far is asked for."""
        return False

    def is_proven(self, start: int, end: int) -> bool:
        """Always."""
        return True

    def prove_nowait(self, start: int, end: int) -> bool:
        """Always."""
        return True

    def occupancy(self, start: int, end: int) -> list[Extent]:
        """What has been written so far."""
        return [Extent(0, self._written)] if self._written else []

    def write(self, start: int, view: memoryview) -> None:
        """Append; ``start`` must be where the last piece ended."""
        if start != self._written:
            raise CacheError(f"a spool was given bytes at {start} after {self._written}")
        try:
            if self._new is not None:
                self._new.write(view)
            else:
                write_at(self.fileno(), view, start)
        except OSError:
            # No room, or a broken disk: all of it goes elsewhere, and is not going to be cached.
            self._move(private_file(None) if self._file is None else memory_file())
            write_at(self.fileno(), view, start)
        self._written = start + len(view)

    def _move(self, file: IO[bytes]) -> None:
        """Go on with ``file``; what was there stays open for those who read from it."""
        try:
            copy_at(self.fileno(), file.fileno(), 0, self._written)
        except OSError as error:
            file.close()
            raise CacheError(f"what has come cannot be kept: {error.strerror}") from error
        if self._new is not None:
            self._left, self._new = self._new, None
        elif self._file is not None:
            self._outgrown.append(self._file)
        self._file = file

    def record(self, start: int, end: int) -> None:
        """It is there as soon as it is written."""

    def cancel(self, start: int, end: int) -> None:
        """A spool that failed is not published."""

    def publish(self, version: Version, checked_s: float) -> CacheObject | None:
        """Make the complete spool the cache object of ``version``; None without a cache.

        When that fails (``CacheError``) the private file goes on being read.
        """
        if self._new is None:
            return None
        self._descriptor = self._new.fileno()
        published = self._new.publish(version, checked_s=checked_s)
        self._new = None
        return published

    def close(self) -> None:
        """Throw the private file away (unless it was published)."""
        for new in (self._new, self._left):
            if new is not None:
                new.discard()
        self._new = self._left = None
        if self._file is not None:
            self._file.close()
        for file in self._outgrown:
            file.close()
