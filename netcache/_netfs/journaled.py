"""Dirty files and the journal: what is recorded of a file, and how a file comes back from it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable

from netcache._core.extent import Extent, ExtentSet
from netcache._core.journal_record import JournalRecord
from netcache._core.stats import Stats
from netcache._core.urls import Resource
from netcache._finishing import finished
from netcache._netfs.base_version import BaseVersion
from netcache._netfs.dirty_file import DirtyFile
from netcache._netfs.dirty_pages import DirtyPages
from netcache._netfs.doubt import Doubt
from netcache._netfs.journal import JournalEntry
from netcache._netfs.under_way import UnderWay

_logger = logging.getLogger("netcache.writeback")


_NOTHING = UnderWay(None, None)


def record_of(file: DirtyFile, *, conflict: str = "") -> JournalRecord:
    """What has to be known of ``file`` now, a writeback that is under way included."""
    with file.lock:
        base, sending, whole, sent = file.under_way or _NOTHING
        unsent = ExtentSet(file.pages.flying)
        for extent in sent:
            unsent.remove(*extent)
        for extent in file.pages.dirty:
            unsent.add(*extent)
        if sending is None and file.doubt is not None:
            # Nobody has found out yet whether that has arrived.
            sending, whole = file.doubt.span, bool(file.doubt.digests)
        sizes = file.sizes
        if base is not None:
            sizes = sizes._replace(remote=max(sizes.remote, base.size))
            sizes = sizes._replace(zero_point=sizes.remote)
        return JournalRecord(
            file.resource.url,
            base or file.base.version,
            sizes,
            tuple(unsent),
            sending,
            whole,
            file.created,
            conflict,
            time.time(),
        )


def save(file: DirtyFile, *, conflict: str = "") -> None:
    """Make everything unsent durable (``record_of``).  Blocks on the disk; raises ``OSError``."""
    if file.entry is None:
        return
    try:
        with file.lock:
            file.pages.unspill()
        file.entry.save(lambda: record_of(file, conflict=conflict))
    except OSError:
        with file.lock, contextlib.suppress(OSError):
            file.pages.spill()
        raise


def try_to_save(file: DirtyFile, *, conflict: str = "") -> None:
    """``save`` where something worse has happened already: trouble is only logged."""
    try:
        save(file, conflict=conflict)
    except OSError as error:
        _warn(error)


def _warn(error: OSError) -> None:
    _logger.warning("the journal of edits cannot be kept up to date: %s", error.strerror or error)


def keep_up(file: DirtyFile) -> None:
    """After a writeback: the record says what is left, or goes.  Blocks on the disk."""
    if file.entry is None or not file.entry.saved:
        return
    saves = file.entry.saves
    if file.dirty:
        save(file)
    else:
        file.entry.settle(unless_saved_since=saves)


def _cut_since(record: JournalRecord, sending: Extent) -> int:
    """Where the file was cut after ``sending`` was sent, as far as the record tells; else its size.

    What of a part is not unsent any more was cut off; the whole may have been cut before as well.
    """
    sizes = record.sizes
    cut = sizes.zero_point if sizes.zero_point < sizes.remote else sizes.local
    lacking = [] if record.whole else ExtentSet(record.dirty).missing(*sending)
    return min(cut, sizes.local, *(piece.start for piece in lacking))


async def on_disk(work: Callable[[], None]) -> None:
    """Do journal work on a worker thread; a journal that fails does not stop an upload."""
    try:
        await finished(asyncio.get_running_loop().run_in_executor(None, work))
    except OSError as error:
        _warn(error)


def restore(
    entry: JournalEntry,
    record: JournalRecord,
    resource: Resource,
    base: BaseVersion,
    stats: Stats,
    *,
    block_size: int | None,
    on_dirty: Callable[[DirtyFile], None],
) -> DirtyFile:
    """The file that ``record`` speaks of, over ``base``."""
    pages = DirtyPages(entry.data)
    pages.adopt(record.dirty)
    file = DirtyFile(
        resource,
        base,
        pages,
        stats,
        block_size=block_size,
        atomic=False,
        on_dirty=on_dirty,
        entry=entry,
    )
    file.sizes = record.sizes
    file.created = record.created
    if record.sending is not None:
        size = max(record.sizes.remote, record.sending.end)
        file.doubt = Doubt(
            record.sending.end if record.whole else size,
            ExtentSet(record.dirty).within(*record.sending),
            pages.snapshot,
        ).truncated(_cut_since(record, record.sending))
    return file
