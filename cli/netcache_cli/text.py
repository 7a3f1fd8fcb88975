"""Text for people: names made harmless, times, columns."""

from __future__ import annotations

from collections.abc import Sequence


def printable(text: str) -> str:
    """`text` with everything escaped that would move the cursor or break the line."""
    if text.isprintable():
        return text
    return "".join(
        mark if mark.isprintable() or "\udc80" <= mark <= "\udcff" else _escaped(mark)
        for mark in text
    )


def _escaped(mark: str) -> str:
    return mark.encode("unicode_escape").decode("ascii")


def format_time(seconds: float | None, *, exact: bool) -> str:
    """A moment: UTC as ISO 8601 writes it when `exact`, else local time to the minute."""
    if seconds is None:
        return "-"
    import time

    try:
        if exact:
            return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
    except (OverflowError, ValueError, OSError):
        return "-"


def columns(rows: Sequence[Sequence[str]], right: frozenset[int] = frozenset()) -> list[str]:
    """Rows as lines with aligned columns; those in `right` are aligned to the right."""
    if not rows:
        return []
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return [
        "  ".join(
            cell.rjust(width) if at in right else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
