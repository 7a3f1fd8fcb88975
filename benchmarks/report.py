"""How scores are shown: a Markdown table, JSON, and a chart (SVG) for the README."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

from benchmarks.contest import OURS, Score

_WIDTH, _ROW, _LEFT, _RIGHT, _TOP = 860, 30, 300, 120, 56
_DECADES = (0.5, 1, 2, 4, 8, 16, 32, 64)


def table(scores: Sequence[Score]) -> str:
    """The rows as lines of a Markdown table; a peer that was faster is set in bold."""
    lines = [
        "| path | limit | netcache | ratio (range) | reach | others |",
        "|---|---|---|---|---|---|",
    ]
    for score in scores:
        ratio, least, most = score.ratios[OURS]
        others = " · ".join(_other(score, name) for name in score.others)
        lines.append(
            f"| {score.row} | {score.limit} {_amount(score.limit_amount, score.unit)} "
            f"| {_amount(score.amounts[OURS], score.unit)} "
            f"| {ratio:.2f} ({least:.2f}-{most:.2f}){'' if score.good else ' **missed**'} "
            f"| {score.reach:.3g} | {others or '-'} |"
        )
    return "\n".join(lines)


def _other(score: Score, name: str) -> str:
    text = f"{name} {score.others[name]:.2f}"
    return f"**{text}**" if score.others[name] < score.ours else text


def document(scores: Sequence[Score]) -> list[dict[str, Any]]:
    """The rows as JSON values."""
    return [score._asdict() for score in scores]


def _amount(value: float, unit: str) -> str:
    if unit == "B":
        return f"{value:,.0f} B"
    if unit != "s":
        return f"{value:.0f} {unit}"
    if value < 1e-3:
        return f"{value * 1e6:.1f} µs"
    return f"{value * 1e3:.0f} ms" if value < 1 else f"{value:.2f} s"


def chart(scores: Sequence[Score]) -> str:
    """The ratios of the timed rows as an SVG: a bar for netcache, a tick for its goal, a dot for
    each other program; to the left is better, and 1 is the machine's limit."""
    timed = [score for score in scores if score.unit == "s"]
    height = _TOP + _ROW * len(timed) + 16
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'width="{_WIDTH}" height="{height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        '<text x="12" y="20" font-size="14" font-weight="bold">Time, as a multiple of the '
        "machine's limit in the same run (logarithmic; less is better)</text>",
    ]
    for value in _DECADES:
        x = _x(value)
        parts.append(
            f'<line x1="{x:.1f}" y1="{_TOP - 8}" x2="{x:.1f}" y2="{height - 12}" '
            f'stroke="{"#555555" if value == 1 else "#dddddd"}"/>'
            f'<text x="{x:.1f}" y="{_TOP - 14}" text-anchor="middle" fill="#555555">'
            f"{value:g}×</text>"
        )
    for index, score in enumerate(timed):
        parts += _bar(score, _TOP + _ROW * index)
    return "\n".join([*parts, "</svg>", ""])


def _bar(score: Score, y: float) -> list[str]:
    low, high = sorted((_x(score.ours), _x(1)))
    goal, middle = _x(score.reach), y + 13
    parts = [
        f'<text x="{_LEFT - 10}" y="{middle + 4:.1f}" text-anchor="end">{escape(score.row)}</text>',
        f'<rect x="{low:.1f}" y="{y + 6:.1f}" width="{max(2.0, high - low):.1f}" height="14" '
        f'fill="{"#2a7f62" if score.good else "#c2571a"}"/>',
        f'<line x1="{goal:.1f}" y1="{y + 2:.1f}" x2="{goal:.1f}" y2="{y + 24:.1f}" '
        'stroke="#111111" stroke-width="2"/>',
        f'<text x="{_WIDTH - _RIGHT + 14}" y="{middle + 4:.1f}">{score.ours:.2f}×</text>',
    ]
    for name, ratio in score.others.items():
        parts.append(
            f'<circle cx="{_x(ratio):.1f}" cy="{middle:.1f}" r="4" fill="#4466aa">'
            f"<title>{escape(name)} {ratio:.2f}</title></circle>"
            f'<text x="{_x(ratio) + 6:.1f}" y="{middle + 4:.1f}" font-size="10" fill="#4466aa">'
            f"{escape(name)}</text>"
        )
    return parts


def _x(ratio: float) -> float:
    """Where a ratio stands on the logarithmic scale; what is beyond it stands at its end."""
    first, last = _DECADES[0], _DECADES[-1]
    share = math.log(min(max(ratio, first), last) / first) / math.log(last / first)
    return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)
