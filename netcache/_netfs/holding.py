"""Holdings: where the bytes of an open resource are kept while it is read.

Two kinds behind one port:

* ``CachedHolding``: a cache object; any extent in any order, recorded as it arrives.
* ``SpoolHolding`` (module ``spool``): a private file, written front to back from one response.

Both are called on the event loop's thread (``store``) and on readers' threads (``occupancy``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from netcache._core.content import WriteKind
from netcache._core.extent import Extent, round_up

if TYPE_CHECKING:
    from netcache._fscache.ports import CacheObject


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

    def read_whole(self, start: int, end: int) -> bytes | None:
        """``[start, end)``, when one read tells that everything is there and proven; else None.

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

    def read_whole(self, start: int, end: int) -> bytes | None:
        """What the object finds."""
        return self.object.read_whole(start, end)

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
