"""Rows of the table of growth, and how one point of them is measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

BATCHES = 20


class Row(NamedTuple):
    """One operation: its seconds at each size, and whether they are to be the same."""

    name: str
    is_flat: bool
    points: tuple[tuple[int, float], ...]


class Points:
    """Collects points row by row."""

    def __init__(self) -> None:
        self._rows: dict[str, tuple[bool, list[tuple[int, float]]]] = {}

    def add(self, name: str, size: int, seconds: float, *, is_flat: bool = True) -> None:
        """A point of the row ``name``."""
        self._rows.setdefault(name, (is_flat, []))[1].append((size, seconds))

    def rows(self) -> list[Row]:
        """All rows, in the order in which they came up."""
        return [Row(name, flat, tuple(points)) for name, (flat, points) in self._rows.items()]


def each(work: Callable[[int], object], batches: Iterable[list[int]]) -> float:
    """Seconds of one ``work``: of the best of the batches, for other programs only add to it."""
    best = float("inf")
    for batch in batches:
        begin = time.perf_counter()
        for item in batch:
            work(item)
        best = min(best, (time.perf_counter() - begin) / len(batch))
    return best


def once(work: Callable[[], object], times: int = BATCHES) -> float:
    """Seconds of one ``work``, the best of ``times``."""
    return each(lambda _: work(), ([turn] for turn in range(times)))
