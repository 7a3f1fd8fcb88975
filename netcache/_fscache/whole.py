"""The port to small objects that are read whole: what a tree's file that is cached needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from netcache._core.coherency import Version


class WholeObject(Protocol):
    """An object of the cache that is open, and in use, for somebody who wants all of it once.

    One caller at a time; nothing else can be done with it.
    """

    @property
    def version(self) -> Version:
        """The version whose bytes it holds."""

    @property
    def checked_s(self) -> float:
        """When the version was last found current (wall clock), 0.0 for never."""

    def read(self, *, wait: bool = True) -> bytes | None:
        """All of it, after one comparison with its sums.

        None: it is not complete, too large to be compared at once, or damaged; with ``wait`` False
        also where the disk would have to be waited for.
        """

    def mark_used(self) -> None:
        """As ``CacheObject.mark_used``."""

    def mark_checked(self, when_s: float) -> None:
        """As ``CacheObject.mark_checked``, unless it stands for another version by now."""

    def close(self) -> None:
        """Let the object go.  Idempotent."""
