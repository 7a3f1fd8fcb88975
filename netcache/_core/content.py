"""Content states of a cache object, as the attribute on disk spells them."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class Content(IntEnum):
    """What a cache object holds (reference: Linux cachefiles).  Saved on disk: never renumber."""

    NO_DATA = 0
    """Nothing is stored."""
    SINGLE = 1
    """A monolithic blob, all of it present."""
    ALL = 2
    """Everything from 0 to the stored end is present; no map is needed."""
    BACKFS_MAP = 3
    """Piecemeal: the backing filesystem's extents are the map."""
    DIRTY = 4
    """On disk only: written in place of the true value while a local modification goes on."""


COMPLETE = (Content.ALL, Content.SINGLE)
"""Of these everything below the stored end is present."""


class WriteKind(IntEnum):
    """What a finished run of cache writes was, for ``collect_write``."""

    DATA = 0
    """The blocks are stored."""
    GAP = 1
    """A discontinuity was skipped: nothing is stored there."""
    CANCEL = 2
    """The writes failed or were cancelled: nothing there may be trusted."""


class Occupancy(IntEnum):
    """What an extent of an occupancy answer holds."""

    DATA = 0
    ZERO = 1


class CachedExtent(NamedTuple):
    """A run of an occupancy answer: ``[start, end)`` is in the object as DATA or ZERO."""

    start: int
    end: int
    kind: Occupancy
