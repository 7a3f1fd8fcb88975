"""Uploads under way: what a record of the journal has to say of them."""

from __future__ import annotations

from typing import NamedTuple

from netcache._core.coherency import Version
from netcache._core.doubt import Doubt
from netcache._core.extent import Extent


class UnderWay(NamedTuple):
    """What a writeback has begun and not ended: who takes the edit up has to know.

    ``base``: the version that it has reached, of which the server has acknowledged ``sent``; None:
    the file's.  ``doubt``: what the server may have besides.
    """

    base: Version | None = None
    doubt: Doubt | None = None
    sent: tuple[Extent, ...] = ()
