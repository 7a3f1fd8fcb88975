"""Watermarks: when to cull, when to stop storing, and how far to go.  Pure.

Percentages are of the *available* blocks and files of the filesystem, as with cachefilesd:
``0 <= stop < cull < run < 100``.  Below ``cull`` culling begins, at ``run`` it ends (hysteresis);
below ``stop`` nothing is stored until there is room.  A limit of the cache itself works the same
way: at the limit culling begins, and nothing is stored past it; it ends ``LIMIT_SLACK_PERCENT``
below.
"""

from __future__ import annotations

from typing import NamedTuple

LIMIT_SLACK_PERCENT = 5
"""How much further than it must a cache at its own limit is culled."""

MARGIN_PART = 128
"""This part of a limit is left free, for what filesystems take later (blocks of extents)."""


class Verdict(NamedTuple):
    """Whether more may be stored, and what has to go.

    ``must_bytes`` and ``must_files`` have to go before; ``bytes`` and ``files`` (no less) until
    culling ends.
    """

    must_bytes: int = 0
    must_files: int = 0
    bytes: int = 0
    files: int = 0

    @property
    def allowed(self) -> bool:
        """Whether it may be stored now."""
        return not self.must_bytes and not self.must_files

    @property
    def culling(self) -> bool:
        """Whether culling is on."""
        return bool(self.bytes or self.files)

    def and_also(self, other: Verdict) -> Verdict:
        """What satisfies both."""
        return Verdict(*map(max, self, other))


NOTHING = Verdict()
"""It may be stored, and nothing has to go."""


class Watermarks(NamedTuple):
    """The three percentages, for blocks and files alike."""

    run_percent: int = 7
    cull_percent: int = 5
    stop_percent: int = 1

    def check(self) -> None:
        """Raise ``ValueError`` unless ``0 <= stop < cull < run < 100``."""
        if not 0 <= self.stop_percent < self.cull_percent < self.run_percent < 100:
            raise ValueError(f"watermarks out of order: {self}")

    def judge(
        self, free: int, total: int, files_free: int, files: int, *, culling: bool
    ) -> Verdict:
        """Judge what is free once more is stored, given whether culling was on.

        A filesystem that does not count files has enough.
        """
        must, some = self._shortage(free, total, culling)
        must_files, some_files = self._shortage(files_free, files, culling) if files else (0, 0)
        return Verdict(must, must_files, some, some_files)

    def _shortage(self, free: int, total: int, culling: bool) -> tuple[int, int]:
        stop, low, high = (-(-total * percent // 100) for percent in self._rising())
        begun = free < low or (culling and free < high)
        return max(0, stop - free), high - free if begun else 0

    def _rising(self) -> tuple[int, int, int]:
        return self.stop_percent, self.cull_percent, self.run_percent


def judge_limit(limit: int, taken: int, *, culling: bool) -> Verdict:
    """Judge a cache that takes ``taken`` once more is stored, given whether culling was on."""
    high = most(limit)
    low = high - high * LIMIT_SLACK_PERCENT // 100
    begun = taken > high or (culling and taken > low)
    return Verdict(max(0, taken - high), 0, taken - low if begun else 0, 0)


def most(limit: int) -> int:
    """How much a cache with this limit may take."""
    return limit - limit // MARGIN_PART
