"""Filesystems where locks do nothing: what the store and the journal then do without (P1, P6)."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from pathlib import Path

import pytest

from netcache._cachefiles.store import bind
from netcache._fscache.ports import CacheStore
from netcache._netfs.journal import Journal
from netcache.errors import CacheError
from tests.stress.no_locks import without_locks
from tests.support.bytemodel import ByteModel
from tests.support.epochs import in_epoch
from tests.support.stores import KEY, check, found, put, text, version


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[list[CacheStore]]:
    """Two processes on one cache."""
    bound: list[CacheStore] = [bind(tmp_path, fileops=without_locks().fileops) for _ in range(2)]
    yield bound
    for store in bound:
        store.close()


def test_the_status_names_what_is_missing(stores: list[CacheStore], tmp_path: Path) -> None:
    """And a directory where locks work does not."""
    assert "locks" in stores[0].status().missing
    other = bind(tmp_path / "other")
    assert "locks" not in other.status().missing
    other.close()


def test_nobody_changes_a_file_that_another_process_may_have_open(
    stores: list[CacheStore],
) -> None:
    """Its bytes, and its length, stay under a reader: changes go to a copy."""
    old = text(4 * stores[0].block_size)
    put(stores[0], old.part(0, old.size)).close()
    reader, writer = found(stores[0]), found(stores[1])
    writer.begin_modify()
    writer.truncate(1)
    writer.write(0, b"y", lambda extent: bytes(extent.length))
    writer.commit(version(1, "new"))
    check(reader, old)
    check(found(stores[0]), ByteModel(b"y"))


def test_nothing_is_culled_that_could_be_in_use(stores: list[CacheStore]) -> None:
    """It cannot be told; ``drop`` and ``clear`` are somebody's wish."""
    put(stores[0], b"x" * 100).close()
    assert stores[1].cull(0) == (0, 0)
    assert stores[1].lookup(KEY) is not None
    assert stores[1].clear() > 0
    assert stores[0].lookup(KEY) is None


def test_what_another_boot_left_is_fetched_again(tmp_path: Path) -> None:
    """Two processes could take it over at once, and one cut off what the other has filled."""
    before = bind(tmp_path, fileops=in_epoch(1))
    put(before, b"x" * 100).close()
    before.close()
    after = bind(tmp_path, fileops=without_locks(in_epoch(2)).fileops)
    assert after.lookup(KEY) is None
    put(after, b"z" * 50)
    check(found(after), ByteModel(b"z" * 50))
    after.close()


def test_the_journal_says_that_it_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes would upload the same edit, and one throw away what the other works on."""
    journal = Journal(str(tmp_path))
    entry = journal.begin()
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    with pytest.raises(CacheError, match="locks do nothing"):
        journal.begin()
    assert journal.take(entry.name) is None
    entry.release()
