"""The picture of `cache map`: which parts of a resource are cached, in the width of the terminal.

Pure but for `terminal_picture`.  A cell stands for a power of two of blocks, so that borders of
cells are borders of blocks; how full it is, is drawn.  A cell that holds anything is never drawn
empty, and one that lacks anything never full.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

from netcache._core.units import format_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netcache._client.admin import ExtentMap
    from netcache._core.extent import Extent

_BLOCKS = "·░▒▓█"
_ASCII = ".-+*#"
_ROWS_MAX = 16
_WIDTH_MIN = 20


class Picture(NamedTuple):
    """What the picture is drawn on: the width in columns, and the marks from empty to full."""

    width: int
    marks: str


def terminal_picture() -> Picture:
    """The terminal's width, and block characters where its encoding has them."""
    from shutil import get_terminal_size

    return picture(get_terminal_size((80, 24)).columns, sys.stdout.encoding)


def picture(width: int, encoding: str | None) -> Picture:
    """`width` columns, in an encoding."""
    try:
        (_BLOCKS + "│").encode(encoding or "ascii")
        return Picture(max(width, _WIDTH_MIN), _BLOCKS)
    except (UnicodeEncodeError, LookupError):
        return Picture(max(width, _WIDTH_MIN), _ASCII)


def map_lines(found: ExtentMap, canvas: Picture) -> list[str]:
    """The picture with its legend, as lines no wider than the canvas (but for the URL)."""
    share = 100 * found.cached_bytes / found.size if found.size else 100.0
    head = [
        found.url,
        f"{format_size(found.size)}, {format_size(found.cached_bytes)} cached "
        f"({_percent(share)}) in {len(found.extents)} extent{'s' * (len(found.extents) != 1)}",
        f"content {found.content.name}, block size {found.block_size}",
    ]
    if not found.size:
        return head
    label_width = len(format_size(1023 * 1024))
    columns = canvas.width - label_width - 3
    cell_bytes = _cell_bytes(found.size, found.block_size, columns * _ROWS_MAX)
    cells = cell_fill(found.extents, found.size, cell_bytes)
    edge = "│" if canvas.marks == _BLOCKS else "|"
    rows = []
    for first in range(0, len(cells), columns):
        label = format_size(first * cell_bytes).rjust(label_width)
        drawn = "".join(
            _mark(filled, min(cell_bytes, found.size - at * cell_bytes), canvas.marks)
            for at, filled in enumerate(cells[first : first + columns], start=first)
        )
        rows.append(f"{label} {edge}{drawn}{edge}")
    empty, full, part = canvas.marks[0], canvas.marks[-1], canvas.marks[1:-1]
    legend = f"{full} cached   {part} partly   {empty} not   1 mark = {format_size(cell_bytes)}"
    return [*head, "", *rows, "", *_folded(legend, canvas.width)]


def cell_fill(extents: Sequence[Extent], size: int, cell_bytes: int) -> list[int]:
    """How many bytes of each cell are cached."""
    cells = [0] * -(-size // cell_bytes)
    for extent in extents:
        start, end = extent.start, min(extent.end, size)
        while start < end:
            at = start // cell_bytes
            stop = min(end, (at + 1) * cell_bytes)
            cells[at] += stop - start
            start = stop
    return cells


def _cell_bytes(size: int, block_size: int, cells_max: int) -> int:
    cell = block_size
    while -(-size // cell) > cells_max:
        cell *= 2
    return cell


def _mark(filled: int, whole: int, marks: str) -> str:
    if filled <= 0:
        return marks[0]
    if filled >= whole:
        return marks[-1]
    return marks[1 + min(2, 3 * filled // whole)]


def _percent(share: float) -> str:
    """Never 0 % of something and never 100 % of less than all."""
    if 0 < share < 0.1:
        return "under 0.1%"
    if 99.9 < share < 100:
        return "over 99.9%"
    return f"{share:.1f}%"


def _folded(text: str, width: int) -> list[str]:
    lines, line = [], ""
    for piece in text.split("   "):
        if line and len(line) + 3 + len(piece) > width:
            lines.append(line)
            line = ""
        line = f"{line}   {piece}" if line else piece
    return [*lines, line]
