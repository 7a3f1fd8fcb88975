"""The journal's entries: threads of one process, and processes that recover, at the same time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from netcache._core.journal_record import JournalRecord
from netcache._core.sizes import Sizes
from netcache._netfs import journal as journal_module
from netcache._netfs.journal import Journal

RECORD = JournalRecord("http://h/x", None, Sizes(0, 0, 0), ())


def test_an_entry_that_a_recovering_process_locks_first_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its making and its lock an entry without a record is anybody's, who removes it."""
    journal, other = Journal(str(tmp_path)), Journal(str(tmp_path))
    really_open = journal_module._open_locked
    removed: list[str] = []

    def open_locked(path: str, flags: int) -> object:
        if flags and not removed:
            os.close(os.open(os.path.join(path, "data"), os.O_CREAT | os.O_WRONLY, 0o600))
            removed.append(path)
            assert list(other.orphans()) == []
        return really_open(path, flags)

    monkeypatch.setattr(journal_module, "_open_locked", open_locked)
    entry = journal.begin()
    assert entry.path not in removed
    assert journal.names() == [entry.name]
    entry.save(lambda: RECORD)
    assert journal.peek(entry.name) == RECORD
    entry.remove()


def test_a_writeback_that_ends_after_the_edit_was_thrown_away_leaves_nothing(
    tmp_path: Path,
) -> None:
    """``abort`` on one thread, the record of a part on another: gone is gone, and no error."""
    journal = Journal(str(tmp_path))
    entry = journal.begin()
    entry.save(lambda: RECORD)
    entry.remove()
    entry.save(lambda: RECORD)
    entry.settle()
    entry.remove()
    assert journal.names() == []


def test_a_record_that_was_saved_meanwhile_is_not_settled(tmp_path: Path) -> None:
    """All was sent, somebody writes and flushes, and then the record of what was sent goes."""
    journal = Journal(str(tmp_path))
    entry = journal.begin()
    entry.save(lambda: RECORD)
    saves = entry.saves
    entry.save(lambda: RECORD._replace(conflict="newer"))
    entry.settle(unless_saved_since=saves)
    found = journal.peek(entry.name)
    assert found is not None
    assert found.conflict == "newer"
    entry.settle(unless_saved_since=entry.saves)
    assert journal.peek(entry.name) is None
    entry.remove()
