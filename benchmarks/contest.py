"""Contests: netcache, the machine's limit and other programs do the same work, in turn.

Each contestant does its work once a round and returns its seconds; ratios are taken within a round,
against the limit of that round, and their median counts.  Before each turn of a large transfer
memory is touched: a virtual machine gives pages back to its host and pays again for their first
use, and that would be paid by whoever comes first.  And what the ones before have written goes to
the disk, or its writing would take the processors of the next.
"""

from __future__ import annotations

import contextlib
import os
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

Work = Callable[[], float]
"""Does some work, and returns its seconds."""

OURS = "netcache"
TOUCH_BYTES = 3 << 30
_TOUCH_STEP = 1 << 20


class Score(NamedTuple):
    """One row: the ratio of each contestant to the limit (median, least, most), and the amounts.

    ``amounts`` and ``limit_amount`` are medians, in ``unit``: ``"s"``, ``"B"`` or ``"MiB"``.
    ``reach`` is the ratio that netcache is to have at most.
    """

    row: str
    limit: str
    limit_amount: float
    reach: float
    ratios: Mapping[str, tuple[float, float, float]]
    amounts: Mapping[str, float]
    unit: str = "s"

    @property
    def ours(self) -> float:
        """The ratio of netcache to the limit."""
        return self.ratios[OURS][0]

    @property
    def good(self) -> bool:
        """Whether the ratio is within reach."""
        return self.ours <= self.reach

    @property
    def others(self) -> dict[str, float]:
        """The ratios of the other programs."""
        return {name: found[0] for name, found in self.ratios.items() if name != OURS}


def contest(
    row: str,
    limit: tuple[str, Work],
    contestants: Mapping[str, Work],
    *,
    rounds: int,
    reach: float,
    touch: Path | None = None,
) -> Score:
    """Let all do their work ``rounds`` times, each round beginning with another one."""
    works = {limit[0]: limit[1], **contestants}
    seconds: dict[str, list[float]] = {name: [] for name in works}
    names = list(works)
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            if touch is not None:
                touch_memory(touch)
                os.sync()
            seconds[name].append(works[name]())
    limits = seconds[limit[0]]
    ratios = {}
    for name in contestants:
        each = [mine / least for mine, least in zip(seconds[name], limits, strict=True)]
        ratios[name] = (statistics.median(each), min(each), max(each))
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    return Score(row, limit[0], medians.pop(limit[0]), reach, ratios, medians)


def counted(
    row: str, limit: tuple[str, float], amount: float, *, unit: str, reach: float = 1.0
) -> Score:
    """A row of something that is counted once, not timed."""
    ratio = amount / limit[1]
    return Score(row, limit[0], limit[1], reach, {OURS: (ratio,) * 3}, {OURS: amount}, unit)


def touch_memory(folder: Path) -> None:
    """Make the host give its memory: write a file that is as long as what comes, and remove it."""
    path = folder / "touch"
    zeros = bytes(_TOUCH_STEP)
    with contextlib.suppress(FileNotFoundError):
        with path.open("wb", buffering=0) as file:
            for _ in range(TOUCH_BYTES // _TOUCH_STEP):
                file.write(zeros)
        os.unlink(path)


def median_of(measure: Work, times: int = 7) -> float:
    """The median of several measurements: one turn of something short."""
    return statistics.median(measure() for _ in range(times))
