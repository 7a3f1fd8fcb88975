"""Watermarks: when to cull, when to stop storing, and how far to go.  Pure.

Percentages are of the *available* blocks and files of the filesystem, as with cachefilesd:
``0 <= stop < cull < run < 100``.  Below ``cull`` culling begins, at ``run`` it ends (hysteresis);
below ``stop`` nothing is stored until there is room.
"""

from __future__ import annotations

from typing import NamedTuple

LIMIT_SLACK_PERCENT = 5
"""How much further than it must a cache at its own limit is culled."""


class Wanted(NamedTuple):
    """What the free space asks for."""

    below_cull: bool
    above_run: bool
    stopped: bool
    bytes_to_free: int

    def culling(self, before: bool) -> bool:
        """Whether culling is on, given whether it was."""
        if self.below_cull:
            return True
        return before and not self.above_run


class Watermarks(NamedTuple):
    """The three percentages, for blocks and files alike."""

    run_percent: int = 7
    cull_percent: int = 5
    stop_percent: int = 1

    def check(self) -> None:
        """Raise ``ValueError`` unless ``0 <= stop < cull < run < 100``."""
        if not 0 <= self.stop_percent < self.cull_percent < self.run_percent < 100:
            raise ValueError(f"watermarks out of order: {self}")

    def wanted(self, free: int, total: int, files_free: int, files: int) -> Wanted:
        """Judge free bytes and files; a filesystem that does not count files has enough."""
        worst = free * 100 / total if total else 0.0
        if files:
            worst = min(worst, files_free * 100 / files)
        return Wanted(
            worst < self.cull_percent,
            worst >= self.run_percent,
            worst < self.stop_percent,
            max(0, total * self.cull_percent // 100 - free),
        )


def culled_size(limit: int, need: int) -> int:
    """Down to which size a cache at its ``limit`` is culled to take ``need`` bytes more."""
    return max(0, limit - need - limit * LIMIT_SLACK_PERCENT // 100)
