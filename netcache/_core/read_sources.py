"""Where each part of a read comes from: the cache, zeros, or the server.

Pure.  The rules are those of netfslib.  At position ``p``, with ``zero_limit`` the smaller of the
zero point and the size:

1. ``p`` lies in a cached extent: from the cache, to the end of that extent;
2. else ``p`` is at or past ``zero_limit``: zeros, to the end or to the next cached extent; nobody
   is asked, and the zeros are copied to the cache (else an object that holds everything would get
   a hole);
3. else from the server, up to ``zero_limit`` or the next cached extent, and copied to the cache.

The cache takes whole blocks, so what is copied there ends on a block boundary: a download that
``zero_limit`` cuts inside a block goes on to the block's end, and that tail is cleared, not asked
for.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

from netcache._core.content import Occupancy
from netcache._core.extent import Extent, round_up
from netcache._core.invariant import invariant


class Source(Enum):
    """Where the bytes of a subrequest come from; the values are the kernel's names."""

    ZERO = "ZERO"
    DOWNLOAD = "DOWN"
    CACHE = "READ"


class Piece(NamedTuple):
    """A part of a read with one source.

    ``copy``: the cache lacks them and is to get them.
    """

    start: int
    end: int
    source: Source
    copy: bool

    @property
    def length(self) -> int:
        """How many bytes."""
        return self.end - self.start


def choose_pieces(
    wanted: Extent,
    cached: Sequence[tuple[int, int, Occupancy]],
    *,
    zero_limit: int,
    block_size: int,
    copy: bool,
) -> list[Piece]:
    """Cut ``wanted`` into pieces, in order, without gaps; none of them is empty.

    ``cached`` are the extents of one occupancy answer, in order.  ``copy``: a cache is attached
    that takes what it lacks.
    """
    pieces: list[Piece] = []
    position, rest = wanted.start, [extent for extent in cached if extent[0] < extent[1]]
    while position < wanted.end:
        while rest and rest[0][1] <= position:
            del rest[0]
        if rest and rest[0][0] <= position:
            piece = _from_cache(position, wanted.end, rest[0], block_size)
        else:
            limit = min(wanted.end, rest[0][0]) if rest else wanted.end
            piece = _from_elsewhere(position, limit, zero_limit, block_size, copy=copy)
        invariant(piece.length > 0, "a subrequest is never empty", piece=piece)
        pieces.append(piece)
        position = piece.end
    return pieces


def _from_cache(
    position: int, end: int, extent: tuple[int, int, Occupancy], block_size: int
) -> Piece:
    # The last block of an object is padded with zeros: it is read to its end.
    stop = min(end, round_up(extent[1], block_size))
    if extent[2] is Occupancy.ZERO:
        return Piece(position, stop, Source.ZERO, False)
    return Piece(position, stop, Source.CACHE, False)


def _from_elsewhere(
    position: int, limit: int, zero_limit: int, block_size: int, *, copy: bool
) -> Piece:
    if position >= zero_limit:
        return Piece(position, limit, Source.ZERO, copy)
    stop = min(limit, zero_limit)
    if copy:
        stop = min(limit, round_up(stop, block_size))
    return Piece(position, stop, Source.DOWNLOAD, copy)
