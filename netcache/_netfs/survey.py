"""Surveys: what of an extent is there, by what is known and one question to the holding.

From a survey follow the pieces that a request has: each from the cache, zeros, or the server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from netcache._core.content import Occupancy
from netcache._core.read_sources import Piece, Source, choose_pieces
from netcache._netfs.request import OPEN_END

if TYPE_CHECKING:
    from netcache._core.extent import Extent, ExtentSet
    from netcache._netfs.inode import Inode

Known = tuple[int, int, Occupancy]


class Survey(NamedTuple):
    """What is known of ``[start, reach)``: the extents that are there, in order.

    Nothing is known of what lies at and past ``reach``.
    """

    extents: list[Known]
    reach: int


def survey_of(inode: Inode, start: int, end: int) -> Survey:
    """What of ``[start, end)`` is there; may do a few seek calls."""
    with inode.lock:
        reach = end if inode.holding is None else inode.learn(inode.holding, start, end)
        reach = max(min(reach, end), min(start + 1, end))
        extents: list[Known] = [
            (*extent, Occupancy.DATA) for extent in inode.present.within(start, reach)
        ]
        return Survey(extents, reach)


def on_their_way(inode: Inode, start: int, end: int) -> ExtentSet:
    """What of ``[start, end)`` the flights, and the answer to a question, are going to bring;
    perhaps with more around it."""
    coming = inode.flights.still_to_come(start, end)
    if inode.question is not None:
        coming.add(*inode.question.extent)
    return coming


def zero_limit_of(inode: Inode) -> int:
    """From where on nobody needs to be asked about the inode: there are zeros."""
    return inode.sizes.remote_limit if inode.size >= 0 else OPEN_END


def pieces_of(inode: Inode, extent: Extent, survey: Survey) -> list[Piece]:
    """The pieces of a fill of ``extent`` after ``survey``, without what is there at its ends."""
    block_size = inode.holding.block_size if inode.holding is not None else 1
    pieces = choose_pieces(
        extent, survey.extents, zero_limit=zero_limit_of(inode), block_size=block_size, copy=True
    )
    while pieces and pieces[0].source is Source.CACHE:
        del pieces[0]
    while pieces and pieces[-1].source is Source.CACHE:
        del pieces[-1]
    return pieces
