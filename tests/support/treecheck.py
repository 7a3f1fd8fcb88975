"""What tests of trees look at."""

from __future__ import annotations

from pathlib import Path

from netcache._client.report import Report


def names_below(folder: Path) -> list[str]:
    """All relative names in a folder."""
    return sorted(str(place.relative_to(folder)) for place in folder.rglob("*"))


def failures(report: Report) -> dict[str, int]:
    """The names that failed, with their codes."""
    return {error.name: error.code for error in report.errors}
