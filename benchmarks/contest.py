"""Contests: netcache, the machine's limit and other programs do the same work, in turn.

Each contestant does its work once a round and returns its seconds; ratios are taken within a round,
against the limit of that round, and their median counts.  Before each turn memory is touched: a
virtual machine gives pages back to its host and pays again for their first use, and that would be
paid by whoever comes first.
"""

from __future__ import annotations

import contextlib
import os
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

Work = Callable[[], float]

TOUCH_BYTES = 3 << 30
_TOUCH_STEP = 1 << 20


class Score(NamedTuple):
    """One row: the ratio of each contestant to the limit (median, least, most), and its seconds."""

    row: str
    limit: str
    limit_s: float
    reach: float
    ratios: Mapping[str, tuple[float, float, float]]
    seconds: Mapping[str, float]

    @property
    def ours(self) -> float:
        """The ratio of netcache to the limit."""
        return self.ratios["netcache"][0]

    @property
    def behind(self) -> list[str]:
        """The contestants that were faster."""
        return [name for name, (ratio, _, _) in self.ratios.items() if ratio < self.ours]


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
            seconds[name].append(works[name]())
    limits = seconds[limit[0]]
    ratios = {}
    for name in contestants:
        each = [mine / least for mine, least in zip(seconds[name], limits, strict=True)]
        ratios[name] = (statistics.median(each), min(each), max(each))
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    return Score(row, limit[0], medians[limit[0]], reach, ratios, medians)


def touch_memory(folder: Path) -> None:
    """Make the host give its memory: write a file that is as long as what comes, and remove it."""
    path = folder / "touch"
    zeros = bytes(_TOUCH_STEP)
    with contextlib.suppress(FileNotFoundError):
        with path.open("wb", buffering=0) as file:
            for _ in range(TOUCH_BYTES // _TOUCH_STEP):
                file.write(zeros)
        os.unlink(path)


def table(scores: list[Score]) -> str:
    """The rows as lines of a Markdown table."""
    lines = [
        "| row | limit | netcache (range) | to reach | others |",
        "|---|---|---|---|---|",
    ]
    for score in scores:
        ratio, least, most = score.ratios["netcache"]
        mark = "" if ratio <= score.reach else " **missed**"
        others = " · ".join(
            f"{name} {found[0]:.2f}" for name, found in score.ratios.items() if name != "netcache"
        )
        lines.append(
            f"| {score.row} | {score.limit} {_time(score.limit_s)} "
            f"| {ratio:.2f} ({least:.2f}-{most:.2f}){mark} | {score.reach:g} | {others or '-'} |"
        )
    return "\n".join(lines)


def _time(seconds: float) -> str:
    if seconds < 1e-3:
        return f"{seconds * 1e6:.1f} µs"
    if seconds < 1:
        return f"{seconds * 1e3:.0f} ms"
    return f"{seconds:.2f} s"
