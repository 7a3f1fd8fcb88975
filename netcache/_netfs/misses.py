"""Misses: what reads wanted and the cache did not have, each with its one cause.

Counted in the group ``Misses``, told in the events (``netfs_miss``), noted in the cache's memory.
A miss is a run of bytes that a read needs and that nobody has and nobody is bringing; what is only
read ahead is none.  On the client's loop.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from netcache._core.extent import Extent, ExtentSet, round_out
from netcache._core.misses import END_OF_ALL, Cause, explain
from netcache._core.read_sources import Piece, Source
from netcache._core.readplan import wanted_blocks
from netcache._netfs import events

if TYPE_CHECKING:
    from netcache._core.keys import ObjectKey
    from netcache._core.stats import Stats
    from netcache._fscache.explaining import Memory
    from netcache._fscache.ports import CacheStore
    from netcache._netfs.inode import Inode


def downloads(pieces: Iterable[Piece], end: int) -> list[Extent]:
    """What of ``pieces`` is to be fetched below ``end``."""
    return [
        Extent(piece.start, min(piece.end, end))
        for piece in pieces
        if piece.source is Source.DOWNLOAD and piece.start < end
    ]


def _told(inode: Inode) -> ExtentSet:
    """What was told as missed, and could not be kept.  Made by the first that needs it."""
    if inode.told is None:
        inode.told = ExtentSet()
    return inode.told


class Misses:
    """Explains, counts and tells the misses of a client."""

    def __init__(self, store: CacheStore | None, stats: Stats) -> None:
        self._store = store
        self._stats = stats

    @property
    def _memory(self) -> Memory:
        if self._store is not None:
            return self._store.memory
        from netcache._fscache.explaining import NO_MEMORY

        return NO_MEMORY

    def missed_at_open(self, inode: Inode, want: Extent | None, brought: Extent) -> None:
        """The read of ``want`` is the open, and ``brought`` is what the server sends for it."""
        if want is None:
            return
        size = inode.size if inode.size >= 0 else END_OF_ALL
        block_size = inode.holding.block_size if inode.holding is not None else 1
        blocks = wanted_blocks(want.start, want.end if want.end >= 0 else size, size, block_size)
        self.missed(inode, [blocks.clip(brought.start, brought.end if brought.end >= 0 else size)])

    def missed(self, inode: Inode, gaps: Iterable[Extent], request: int = 0) -> None:
        """A read is going to wait for ``gaps``; ``request`` brings them (0: the open itself)."""
        down = self._store is None or inode.holding is None
        self.missed_of(inode.resource.url, inode.key, gaps, request, down=down)

    def missed_of(
        self, url: str, key: ObjectKey, gaps: Iterable[Extent], request: int = 0, *, down: bool
    ) -> None:
        """The same of a resource without an inode; ``down``: it cannot be kept."""
        gaps = [gap for gap in gaps if gap.length > 0]
        if not gaps:
            return
        memory = self._memory
        traces = memory.traces(key) if not down else []
        for miss in explain(gaps, traces, down=down):
            self._stats.add("Misses", miss.cause.counter)
            events.miss(request, url, miss)
            memory.note_read(key, *miss)

    def refused(self, inode: Inode, start: int, end: int) -> None:
        """``[start, end)`` was missed, and told; it could not be kept, and is read once more."""
        _told(inode).add(start, end)

    def missed_past_cache(self, inode: Inode, gaps: Iterable[Extent], request: int) -> None:
        """A read waits for ``gaps``, which cannot be kept; each of them is told once."""
        gaps, told = list(gaps), _told(inode)
        untold = [one for gap in gaps for one in told.missing(*gap)]
        told.clear()
        self.missed(inode, untold, request)
        self._left(inode, Cause.DOWN, gaps)

    def cut_off(self, inode: Inode, start: int, end: int) -> None:
        """``[start, end)`` came, but not the rest of its block, so it was not kept."""
        self._left(inode, Cause.PARTIAL, [Extent(start, end)])

    def _left(self, inode: Inode, cause: Cause, gaps: Iterable[Extent]) -> None:
        holding = inode.cached
        if holding is None:
            return
        blocks = [round_out(gap, holding.block_size) for gap in gaps]
        self._memory.left(
            inode.key, cause, [block.clip(0, inode.clip(block.end)) for block in blocks]
        )
