"""Counters added up over all clients of a cache directory, in the file ``stats`` there."""

from __future__ import annotations

from netcache._client.saved_file import change_saved_file, read_saved_file
from netcache._core.stats import decode, encode, merge

_NAME = "stats"


def read_saved(directory: str) -> dict[str, dict[str, int]]:
    """The counters saved so far; all zero when there are none."""
    return _decoded(read_saved_file(directory, _NAME))


def add_to_saved(directory: str, groups: dict[str, dict[str, int]]) -> None:
    """Add the counters of one client to the saved ones.  Raises ``OSError``."""
    if encode(groups):
        change_saved_file(
            directory,
            _NAME,
            lambda before: encode(merge(_decoded(before), groups)).encode("ascii"),
        )


def _decoded(raw: bytes) -> dict[str, dict[str, int]]:
    return decode(raw.decode("ascii", "replace"))
