"""Edits that are not at the server: those of the journal, for their users."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from netcache._core.journal_record import JournalError, JournalRecord
from netcache._netfs.journal import Journal, JournalEntry
from netcache.errors import CacheError, NotFoundError

if TYPE_CHECKING:
    from netcache._client.core import ClientCore
    from netcache._client.runner import Runner
    from netcache._netfs.recovery import Recovered


class UnsentEdit(NamedTuple):
    """An edit in the journal; ``conflict`` says why it was given up, else it is empty.

    ``size`` is what is unsent, in bytes; ``saved_s`` when it was last made durable.
    """

    name: str
    url: str
    size: int
    saved_s: float
    conflict: str
    record: JournalRecord


def unsent_edits(journal: Journal) -> list[UnsentEdit]:
    """All edits in the journal, the oldest first; of any process.  Never asks a server."""
    found = []
    for name in journal.names():
        record = journal.peek(name)
        if record is not None:
            found.append(
                UnsentEdit(
                    name, record.url, record.dirty_bytes, record.saved_s, record.conflict, record
                )
            )
    return sorted(found, key=lambda edit: edit.saved_s)


class AsyncEdits:
    """``client.edits``: what ``durability="journal"`` kept of edits that are not at the server."""

    def __init__(self, core: ClientCore) -> None:
        self._core = core

    def unsent(self) -> list[UnsentEdit]:
        """All edits that are not at the server, of any process, the oldest first."""
        self._core.need_open()
        return unsent_edits(self._core.journal)

    async def recover(self) -> list[Recovered]:
        """Upload what killed processes left; returns when that has ended, well or not.

        An edit that conflicts is kept and marked.  Those of living processes are theirs.
        """
        self._core.need_online("recovery of edits in", self._core.journal.folder)
        return await self._core.remote().recover()

    async def save(
        self, name: str, path: str | os.PathLike[str], *, changes_only: bool = False
    ) -> int:
        """Save an edit to a local file, with the bytes around it; returns the size.

        ``changes_only`` leaves holes where nothing was changed.  Raises ``StaleError`` when
        unchanged bytes are needed that neither the cache nor the server has any more.
        """
        # Imported here: to list edits must not cost the network code.
        from netcache._client.items import refuse_special
        from netcache._client.target import TargetFile
        from netcache._netfs.edit_handle import copy_edit

        refuse_special(os.fspath(path))
        entry, record = self._take(name)
        remote = self._core.remote()
        file = await remote.recovery.open(entry, record)
        try:
            target = TargetFile(os.fspath(path))
            try:
                size = await copy_edit(file, target.fileno(), changes_only=changes_only)
                target.finish(size, None)
                return size
            finally:
                target.discard()
        finally:
            file.close(leave=True)

    def drop(self, name: str) -> None:
        """Throw an edit away for good."""
        entry, _ = self._take(name)
        entry.remove()

    async def push(self, name: str) -> Recovered:
        """Upload an edit over what is at the server now, whoever made that."""
        self._core.need_online("upload of", name)
        entry, _ = self._take(name)
        return await self._core.remote().recovery.push(entry)

    def _take(self, name: str) -> tuple[JournalEntry, JournalRecord]:
        self._core.need_open()
        journal = self._core.journal
        entry = journal.take(name) if name in journal.names() else None
        if entry is None:
            if name in journal.names():
                raise CacheError(f"the edit {name} is in use by a running process")
            raise NotFoundError(f"there is no unsent edit {name} (netcache conflicts ls)")
        try:
            return entry, entry.load()
        except (OSError, JournalError) as error:
            entry.release()
            raise CacheError(f"the record of the edit {name} is not usable: {error}") from error


class Edits:
    """``AsyncEdits`` for threads; every call may block."""

    def __init__(self, core: ClientCore, runner: Runner) -> None:
        self._inner = AsyncEdits(core)
        self._runner = runner

    def unsent(self) -> list[UnsentEdit]:
        """All edits that are not at the server, of any process, the oldest first."""
        return self._inner.unsent()

    def recover(self) -> list[Recovered]:
        """Upload what killed processes left; returns when that has ended, well or not."""
        return self._runner.run(self._inner.recover())

    def save(self, name: str, path: str | os.PathLike[str], *, changes_only: bool = False) -> int:
        """Save an edit to a local file; see ``AsyncEdits.save``."""
        return self._runner.run(self._inner.save(name, path, changes_only=changes_only))

    def drop(self, name: str) -> None:
        """Throw an edit away for good."""
        self._inner.drop(name)

    def push(self, name: str) -> Recovered:
        """Upload an edit over what is at the server now, whoever made that."""
        return self._runner.run(self._inner.push(name))
