"""Recovery: edits that a killed process left in the journal are uploaded.

Each is conditional on the version it was made from.  What conflicts is kept, marked, and left to
the user: saved elsewhere, dropped, or pushed over what is there now.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import NamedTuple

from netcache._core.journal_record import JournalError, JournalRecord
from netcache._core.stats import Stats
from netcache._core.urls import parse
from netcache._core.validity import Moment
from netcache._netfs.base_version import BaseVersion
from netcache._netfs.dirty_file import DirtyFile
from netcache._netfs.engine import ReadEngine
from netcache._netfs.inode import Inode
from netcache._netfs.inodes import key_of
from netcache._netfs.journal import Journal, JournalEntry
from netcache._netfs.journaled import restore, try_to_save
from netcache._netfs.opener import Opener
from netcache._netfs.writeback import Writeback
from netcache.errors import ConflictError, NetCacheError, NotFoundError

_logger = logging.getLogger("netcache.writeback")


class Recovered(NamedTuple):
    """How the recovery of one edit ended: ``error`` is None when the server has it."""

    name: str
    url: str
    size: int
    error: NetCacheError | None


class Recovery:
    """Uploads what the journal holds.  On the client's loop."""

    def __init__(
        self,
        journal: Journal,
        writeback: Writeback,
        engine: ReadEngine,
        opener: Opener,
        stats: Stats,
    ) -> None:
        self._journal = journal
        self._writeback = writeback
        self._engine = engine
        self._opener = opener
        self._stats = stats

    async def run(self) -> list[Recovered]:
        """Upload every edit that nobody works on and that is not in conflict."""
        done = []
        loop = asyncio.get_running_loop()
        for entry in await loop.run_in_executor(None, lambda: list(self._journal.orphans())):
            try:
                record = entry.load()
            except (OSError, JournalError):
                entry.release()
                continue
            if record.conflict:
                entry.release()
                continue
            done.append(await self._recover(entry, record))
        return done

    async def push(self, entry: JournalEntry) -> Recovered:
        """Upload an edit over whatever is there now."""
        record = entry.load()._replace(doubt=None)
        resource = parse(record.url)
        try:
            inode = await self._opener.resolve(resource, time.monotonic(), Moment.OPEN, None)
            record = record._replace(
                sizes=record.sizes._replace(
                    remote=inode.size, zero_point=min(inode.size, record.sizes.zero_point)
                ),
                created=False,
            )
            base = BaseVersion(inode, self._engine)
        except NotFoundError:
            record = record._replace(created=True)
            base = BaseVersion(None, self._engine)
        except BaseException:
            entry.release()
            raise
        return await self._recover(entry, record, base)

    async def open(self, entry: JournalEntry, record: JournalRecord) -> DirtyFile:
        """The edit as a file, over the version it was made from."""
        return self._restored(entry, record, self._base_of(record))

    def _restored(self, entry: JournalEntry, record: JournalRecord, base: BaseVersion) -> DirtyFile:
        store = self._engine.store
        return restore(
            entry,
            record,
            parse(record.url),
            base,
            self._stats,
            block_size=store.block_size if store is not None else None,
            on_dirty=lambda _: None,
        )

    def _base_of(self, record: JournalRecord) -> BaseVersion:
        """The version in the record, with what is cached of it."""
        if record.base is None:
            return BaseVersion(None, self._engine)
        resource = parse(record.url)
        inode = self._engine.inodes.find(resource)
        if inode is None or not inode.version.same_as(record.base):
            inode = Inode(resource, key_of(resource), record.base, None)
        return BaseVersion(inode, self._engine)

    async def _recover(
        self, entry: JournalEntry, record: JournalRecord, base: BaseVersion | None = None
    ) -> Recovered:
        file = self._restored(entry, record, base or self._base_of(record))
        error: NetCacheError | None = None
        loop = asyncio.get_running_loop()
        try:
            await self._writeback.resume(file)
            await self._writeback.flush(file)
        except ConflictError as conflict:
            error, why = conflict, str(conflict)
            await loop.run_in_executor(None, lambda: try_to_save(file, conflict=why))
        except NetCacheError as failure:
            error = failure
        finally:
            file.close(leave=file.dirty)
        if error is not None:
            _logger.warning("an edit of %s was not uploaded: %s", record.url, error)
        else:
            _logger.info("an edit of %s was uploaded", record.url)
        return Recovered(entry.name, record.url, record.dirty_bytes, error)
