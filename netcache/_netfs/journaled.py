"""Dirty files and the journal: what is recorded of a file, and how a file comes back from it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable

from netcache._core.extent import ExtentSet
from netcache._core.journal_record import JournalRecord
from netcache._core.stats import Stats
from netcache._core.urls import Resource
from netcache._finishing import finished
from netcache._netfs.base_version import BaseVersion
from netcache._netfs.dirty_file import DirtyFile
from netcache._netfs.dirty_pages import DirtyPages
from netcache._netfs.journal import JournalEntry
from netcache._netfs.under_way import UnderWay

_logger = logging.getLogger("netcache.writeback")


_NOTHING = UnderWay()


def record_of(file: DirtyFile, *, conflict: str = "") -> JournalRecord | None:
    """What has to be known of ``file`` now, a writeback that is under way included.

    None when the server has everything.
    """
    with file.lock:
        if not file.dirty:
            return None
        base, doubt, sent = file.under_way or _NOTHING
        unsent = ExtentSet(file.pages.flying)
        for extent in sent:
            unsent.remove(*extent)
        for extent in file.pages.dirty:
            unsent.add(*extent)
        if doubt is not None:
            doubt = doubt._replace(unchanged=file.pages.unchanged(doubt.span))
        sizes = file.sizes
        if base is not None:
            sizes = sizes._replace(remote=max(sizes.remote, base.size))
            sizes = sizes._replace(zero_point=sizes.remote)
        return JournalRecord(
            file.resource.url,
            base or file.base.version,
            sizes,
            tuple(unsent),
            # Of the file's own nobody has found out yet whether it has arrived.
            doubt or file.doubt,
            file.created,
            conflict,
            time.time(),
        )


def save(file: DirtyFile, *, conflict: str = "", again: bool = False) -> None:
    """Make everything unsent durable (``record_of``); ``again``: if it was asked for before.

    Blocks on the disk; raises ``OSError``.
    """

    def record_now() -> JournalRecord | None:
        with file.lock:
            file.pages.unspill()
        return record_of(file, conflict=conflict)

    if file.entry is None:
        return
    try:
        file.entry.save(record_now, again=again)
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


async def keep_up(file: DirtyFile) -> None:
    """Something was sent, or is about to be: a record that there is says so, or goes."""
    if file.entry is not None:
        await on_disk(lambda: save(file, again=True))


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
    file.doubt = record.doubt
    return file
