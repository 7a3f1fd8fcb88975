"""The changed parts of an edited file: what is sent of it apart, and whether that pays.

Called by the writeback, in its turn; local I/O only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

from netcache._core.extent import Extent

if TYPE_CHECKING:
    from netcache._netfs.dirty_file import DirtyFile

JOIN_GAP_BYTES = 256 << 10
"""Dirty runs no farther apart are sent as one."""
UPDATE_BYTES_MAX = 32 << 20
"""The largest part that is sent in one exchange; also the largest atomic write."""
EXCHANGE_BYTES = 1 << 20
"""How many bytes of an upload an exchange is worth, when parts are weighed against the whole."""


def take_parts(file: DirtyFile) -> list[Extent]:
    """Begin a writeback of parts: the extents to send.

    A file that was extended without a write at its new end gets one: its last byte, a zero.
    """
    with file.lock:
        last = file.size - 1
        if file.size > file.sizes.remote:
            file.pages.zero(last, last + 1)
            file.pages.mark_dirty(last, last + 1)
        _join_runs(file)
        return file.pages.take_dirty(file.block_size, file.size)


def _join_runs(file: DirtyFile) -> None:
    """Short gaps between dirty runs are sent along when their bytes are here."""
    runs = list(file.pages.dirty)
    for run, following in pairwise(runs):
        gap = Extent(run.end, following.start)
        if gap.length <= JOIN_GAP_BYTES and file.fill_now(gap):
            file.pages.mark_dirty(*gap)


def exchanges_of(runs: Iterable[Extent], together: Extent | None = None) -> Iterator[Extent]:
    """What is sent in one exchange each: ``runs``, cut where they are too long for one.

    No cut goes through ``together``, which is not: what others wrote right before and behind it
    may be in its run.
    """
    for run in runs:
        parts = [run]
        if together is not None and run.length > UPDATE_BYTES_MAX:
            low, high = together.clip(*run)
            parts = [Extent(run.start, low), Extent(low, high), Extent(high, run.end)]
        for part in parts:
            for start in range(part.start, part.end, UPDATE_BYTES_MAX):
                yield Extent(start, min(start + UPDATE_BYTES_MAX, part.end))


def whole_pays(file: DirtyFile) -> bool:
    """Whether sending everything is cheaper than parts, of several exchanges."""
    with file.lock:
        size, exchanges = file.size, 0
        for run in _distant_runs(file):
            exchanges += -(-run.length // UPDATE_BYTES_MAX)
            if exchanges * EXCHANGE_BYTES > 3 * size + 2 * EXCHANGE_BYTES:
                # The whole costs no more than this, whatever is lacking of it.
                return True
        if exchanges < 2:
            return False
        parts = file.pages.dirty_bytes + exchanges * EXCHANGE_BYTES
        whole = size + EXCHANGE_BYTES
        if lacking := _lacking_bytes(file, parts - whole):
            whole += 2 * lacking + EXCHANGE_BYTES
        return parts > whole


def _lacking_bytes(file: DirtyFile, enough: int) -> int:
    """How much of the file would have to be fetched for a whole upload; ``enough`` ends it."""
    lacking = 0
    for piece, kind in file.pieces(0, file.size):
        if kind == "base" and lacking <= enough:
            lacking += file.base.missing_bytes(*piece)
    return lacking


def _distant_runs(file: DirtyFile) -> Iterator[Extent]:
    """The dirty runs, those taken together that are sent as one."""
    runs = iter(list(file.pages.dirty))
    joined = next(runs, None)
    for run in runs:
        assert joined is not None
        gap = Extent(joined.end, run.start)
        if gap.length <= JOIN_GAP_BYTES and _is_here(file, gap):
            joined = Extent(joined.start, run.end)
        else:
            yield joined
            joined = run
    if joined is not None:
        yield joined


def _is_here(file: DirtyFile, extent: Extent) -> bool:
    return not any(
        kind == "base" and file.base.missing_bytes(*piece) for piece, kind in file.pieces(*extent)
    )
