"""The port to what a cache remembers of losses and reads, so that misses can be explained.

Everything here is best effort: nothing raises, and what cannot be kept is not kept.  Short local
I/O; thread-safe.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from netcache._core.extent import Extent
    from netcache._core.keys import ObjectKey
    from netcache._core.misses import Cause, Trace


class Memory(Protocol):
    """What is remembered of the objects of a cache directory, by all processes together."""

    def left(self, key: ObjectKey, cause: Cause, extents: Sequence[Extent]) -> None:
        """Bytes of the object at ``extents`` (in order) are not cached any more, or could not be
        kept."""

    def superseded(self, key: ObjectKey) -> None:
        """What is cached of the object counts no more: its place goes to what is there now."""

    def traces(self, key: ObjectKey) -> list[Trace]:
        """What has left, in no order; the newest has the highest ``number``."""

    def note_read(self, key: ObjectKey, start: int, end: int, cause: Cause) -> None:
        """``[start, end)`` was missed for ``cause``.  Kept for a while before it is written."""

    def note_hits(self, key: ObjectKey, count: int) -> None:
        """``count`` reads of one open file were answered by the cache."""

    def reads(self, key: ObjectKey) -> list[Trace]:
        """The last reads, oldest first; ``cause`` None: ``mask`` reads that hit."""


class NoMemory:
    """The memory of a cache that cannot be used: nothing is remembered."""

    def left(self, key: ObjectKey, cause: Cause, extents: Sequence[Extent]) -> None:
        """See ``Memory``."""

    def superseded(self, key: ObjectKey) -> None:
        """See ``Memory``."""

    def traces(self, key: ObjectKey) -> list[Trace]:
        """See ``Memory``."""
        return []

    def note_read(self, key: ObjectKey, start: int, end: int, cause: Cause) -> None:
        """See ``Memory``."""

    def note_hits(self, key: ObjectKey, count: int) -> None:
        """See ``Memory``."""

    def reads(self, key: ObjectKey) -> list[Trace]:
        """See ``Memory``."""
        return []


NO_MEMORY = NoMemory()
