"""The journal's entries: threads of one process, and processes that recover, at the same time."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from netcache._core.doubt import Doubt
from netcache._core.extent import Extent
from netcache._core.journal_record import JournalRecord, decode_record, encode_record
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
    entry.remove()
    assert journal.names() == []


def test_what_is_saved_again_waits_for_a_save_under_way(tmp_path: Path) -> None:
    """It found no record yet, and left the one that was just being written: of what was sent."""
    journal = Journal(str(tmp_path))
    entry = journal.begin()
    saving, ended = threading.Event(), threading.Event()

    def slowly() -> JournalRecord:
        saving.set()
        ended.wait()
        return RECORD

    with ThreadPoolExecutor() as pool:
        first = pool.submit(entry.save, slowly)
        saving.wait()
        again = pool.submit(entry.save, lambda: None, again=True)
        ended.set()
        first.result()
        again.result()
    assert journal.peek(entry.name) is None
    entry.remove()


def test_nothing_is_saved_again_that_was_not_saved(tmp_path: Path) -> None:
    """Nobody was promised anything: the record is not even asked for."""
    entry = Journal(str(tmp_path)).begin()

    def asked() -> JournalRecord:
        raise AssertionError

    entry.save(asked, again=True)
    entry.save(lambda: RECORD)
    entry.save(lambda: RECORD._replace(conflict="newer"), again=True)
    assert entry.load().conflict == "newer"
    entry.save(lambda: None)
    assert not entry.saved
    entry.remove()


def test_a_record_that_nobody_could_read_is_not_written(tmp_path: Path) -> None:
    """``flush`` raises, and what was promised before is still there."""
    entry = Journal(str(tmp_path)).begin()
    entry.save(lambda: RECORD)
    many = tuple(Extent(start, start + 1) for start in range(10**9, 10**9 + 1_600_000, 2))
    with pytest.raises(OSError, match="too many parts"):
        entry.save(lambda: RECORD._replace(dirty=many))
    assert entry.load() == RECORD
    entry.remove()


def test_a_doubt_is_read_as_it_was_written() -> None:
    """Of a part, and of the whole; with a cut and without."""
    for doubt in (
        Doubt.of_part(9, Extent(3, 5), [memoryview(b"ab")]),
        Doubt(9, None, frozenset([b"\1" * 32, b"\2" * 32]), (Extent(0, 2), Extent(4, 9)), 7),
    ):
        record = RECORD._replace(doubt=doubt)
        assert decode_record(encode_record(record)) == record
