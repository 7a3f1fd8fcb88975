"""Resources as lines and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from netcache._core.units import format_size
from netcache_cli.text import columns, format_time, printable

if TYPE_CHECKING:
    from netcache.spi import ResourceInfo

_PIPE_COLUMNS = "{:<9} {:>15} {:<20} {}"


def info_as_json(info: ResourceInfo) -> dict[str, Any]:
    """`{url, type, size, mtime, etag}`; times in seconds since 1970, null for the unknown."""
    mtime = info.mtime_s
    return {
        "url": info.url,
        "type": info.type,
        "size": info.size,
        "mtime": int(mtime) if mtime is not None and mtime == int(mtime) else mtime,
        "etag": info.etag,
    }


def listing_lines(entries: Sequence[ResourceInfo], *, long: bool, on_terminal: bool) -> list[str]:
    """A line each: the name (folders end in a slash), and with `long` type, size and time.

    In a pipe the columns have fixed places, sizes are bytes and times UTC; on a terminal they are
    as wide as they need to be, and made for reading.
    """
    names = [_name(entry) for entry in entries]
    if not long:
        return names
    if on_terminal:
        rows = [
            (
                "-" if entry.size is None else format_size(entry.size),
                format_time(entry.mtime_s, exact=False),
                name,
            )
            for entry, name in zip(entries, names, strict=True)
        ]
        return columns(rows, right=frozenset({0}))
    return [
        _PIPE_COLUMNS.format(
            entry.type,
            "-" if entry.size is None else entry.size,
            format_time(entry.mtime_s, exact=True),
            name,
        )
        for entry, name in zip(entries, names, strict=True)
    ]


def _name(entry: ResourceInfo) -> str:
    name = printable(entry.name)
    is_folder = entry.type == "directory" and not name.endswith("/")
    return name + "/" if is_folder else name
