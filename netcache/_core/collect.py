"""What a finished cache write does to an object's metadata: the decision table of cachefiles.

The rows are those of ``cachefiles_collect_write`` in the kernel.
``old`` is the stored end before the write, ``[start, end)`` the run, both multiples of ``B``;
``size`` is the object size as far as data reaches.  Pure.
"""

from __future__ import annotations

from typing import NamedTuple

from netcache._core.content import Content, WriteKind
from netcache._core.extent import Extent


class Collected(NamedTuple):
    """The outcome: the row that decided, the new content and stored end, padding to zero."""

    row: str
    content: Content
    stored_end: int
    padding: Extent | None = None


def collect_write(
    kind: WriteKind, start: int, end: int, *, old: int, size: int, content: Content
) -> Collected:
    """Decide, top down; the first row that fits counts.

    GAP and CANCEL store nothing, so by themselves they record nothing: it is the data that later
    comes to lie above them that makes a hole of them (rows 1', 2' and 7).
    """
    if kind is not WriteKind.DATA or start == end:
        return Collected("-", content, old)
    reached = max(old, end)
    if old == 0:
        if start == 0:
            return Collected("1", Content.ALL, end)
        return Collected("1'", Content.BACKFS_MAP, end)
    if old <= size:
        if start <= old:
            return Collected("2", content, reached)
        return Collected("2'", Content.BACKFS_MAP, reached)
    if end <= old:
        return Collected("3", content, old)
    if start < old:
        return Collected("4", content, reached)
    padding = Extent(size, old)
    if start == old:
        return Collected("6", content, reached, padding)
    return Collected("7", Content.BACKFS_MAP, reached, padding)
