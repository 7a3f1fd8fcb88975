"""The table of mappings: every change of what a name stands for moves the generation (rule 1)."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from netcache._cachefiles.fileops import PosixFileOps
from netcache._cachefiles.mapping_table import MappingTable
from netcache._cachefiles.store import CachefilesStore, bind
from netcache._core import mapping_record as layout
from netcache._core.content import WriteKind
from netcache._core.keys import tag_of
from netcache._core.mapping_record import MappingRecord
from netcache.errors import CacheError
from tests.support.faults import FaultyFileOps
from tests.support.mapper import content_of, key, put_version, size_of
from tests.support.stores import create, found, no_fill, object_file, put, version


@pytest.fixture
def cache(tmp_path: Path) -> CachefilesStore:
    """A store with version 1 of the resource."""
    store = bind(tmp_path)
    put_version(store, 1)
    return store


@pytest.fixture
def watched(cache: CachefilesStore, tmp_path: Path) -> Watched:
    """The table as another process sees it, with a record of the resource."""
    return Watched(tmp_path)


class Watched:
    """Somebody who shares the resource, and looks at its record."""

    def __init__(self, directory: Path) -> None:
        self.ops = PosixFileOps()
        self.table = MappingTable(self.ops, self.ops.open_folder(str(directory)))
        self.place = "cache" + str(object_file(directory)).split("/cache", 1)[1]
        self.table.messages()
        with self.table.locked(self.place, 1) as locked:
            assert locked
            located = self.table.claim(self.place, lambda mask: 0)
            assert located is not None
            self.table.write(located.position, located.record.looked(5))
            self.position = located.position

    @property
    def record(self) -> MappingRecord:
        """The record now, read from the file."""
        raw = (Path(f"/proc/self/fd/{self.table.folder}") / "table").read_bytes()
        return layout.unpack(raw, self.position)


def replace(store: CachefilesStore) -> None:
    """A whole new object takes the name."""
    put_version(store, 2)


def make_anew(store: CachefilesStore) -> None:
    """An empty object of another version takes the name."""
    create(store, size_of(2), key=key(), tag="2").close()


def invalidate(store: CachefilesStore) -> None:
    """The inode is swapped."""
    found(store, key()).invalidate(version(size_of(2), "2"))


def begin_in_place(store: CachefilesStore) -> None:
    """Nobody else has it open: the file itself is going to change."""
    before = os.stat(object_file(Path(store.status().directory))).st_ino
    found(store, key()).begin_modify()
    assert os.stat(object_file(Path(store.status().directory))).st_ino == before


def begin_with_a_copy(store: CachefilesStore) -> None:
    """Somebody else has it open: a copy takes the name."""
    reader, writer = found(store, key()), found(store, key())
    writer.begin_modify()
    assert os.fstat(reader.fileno()).st_ino != os.fstat(writer.fileno()).st_ino


def drop(store: CachefilesStore) -> None:
    """It is forgotten."""
    assert store.drop(key())


def clear(store: CachefilesStore) -> None:
    """All are forgotten."""
    assert store.clear()


def cull(store: CachefilesStore) -> None:
    """It is given back for room."""
    assert store.cull(0)[0] == 1


def condemn(store: CachefilesStore) -> None:
    """Nobody believes it any more."""
    found(store, key()).condemn()  # type: ignore[attr-defined]


CHANGES = [
    replace,
    make_anew,
    invalidate,
    begin_in_place,
    begin_with_a_copy,
    drop,
    clear,
    cull,
    condemn,
]
CHANGE = pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)


@CHANGE
def test_a_change_moves_the_generation_and_clears_the_mask(
    cache: CachefilesStore, watched: Watched, change: Callable[[CachefilesStore], None]
) -> None:
    """Rule 1, in every place where it could be forgotten; also when pages are only released."""
    before = watched.record
    assert before.synced == before.users == 1 << 5
    change(cache)
    after = watched.record
    assert after.generation != before.generation
    assert after.synced == 0
    assert after.users == 1 << 5
    assert after.lazy
    assert watched.table.messages() == 0


def test_a_commit_moves_the_generation(cache: CachefilesStore, watched: Watched) -> None:
    """What was changed or has grown in place becomes visible as a generation of its own."""
    cache_object = found(cache, key())
    cache_object.begin_modify()
    cache_object.write(0, content_of(2), no_fill)
    cache_object.truncate(size_of(2))
    during = watched.record.generation
    cache_object.commit(version(size_of(2), "2"))
    assert watched.record.generation != during


def test_what_changes_no_byte_moves_nothing(cache: CachefilesStore, watched: Watched) -> None:
    """Reading, looking up, filling holes, times and counting leave everybody synchronised."""
    before = watched.record
    reader = found(cache, key())
    reader.read_into(0, bytearray(100))
    reader.mark_checked(5.0)
    reader.mark_used()
    list(reader.extents())
    list(cache.objects())
    list(cache.verify())
    cache.status()
    reader.close()
    put(cache, b"another object").close()
    assert watched.record == before


def test_filling_holes_moves_nothing(tmp_path: Path) -> None:
    """A fill adds blocks of the same version: no byte that anybody has mapped changes."""
    store = bind(tmp_path)
    cache_object = create(store, 4 * store.block_size, key=key())
    watched = Watched(tmp_path)
    before = watched.record
    cache_object.write_blocks(0, b"a" * store.block_size)
    cache_object.collect_write(WriteKind.DATA, 0, store.block_size)
    cache_object.write_blocks(2 * store.block_size, b"b" * store.block_size)
    cache_object.collect_write(WriteKind.DATA, 2 * store.block_size, 3 * store.block_size)
    assert watched.record == before
    store.close()


def test_a_modification_in_place_is_told_before_it_happens(
    cache: CachefilesStore, watched: Watched
) -> None:
    """From the first changed byte on, nobody who compares takes an old map for a current one."""
    before = watched.record.generation
    cache_object = found(cache, key())
    cache_object.begin_modify()
    assert watched.record.generation != before


def test_changes_write_nothing_where_nothing_is_shared(cache: CachefilesStore) -> None:
    """The table is sparse and stays so until somebody shares: no block, no write."""
    directory = Path(cache.status().directory)
    for change in (replace, invalidate, drop):
        change(cache)
    found_table = (directory / "mappings" / "table").stat()
    assert found_table.st_blocks == 0
    assert found_table.st_size == layout.TABLE_BYTES
    assert stat.S_IMODE(found_table.st_mode) == 0o600


def test_two_objects_do_not_disturb_each_other(cache: CachefilesStore, watched: Watched) -> None:
    """A change of one leaves the records of all others as they are."""
    before = watched.record
    for number in range(200):
        put(cache, b"x", key=key()._replace(name=b"other-%d" % number)).close()
    assert watched.record == before


@CHANGE
def test_a_change_goes_on_when_somebody_stopped_keeps_the_record(
    cache: CachefilesStore, watched: Watched, change: Callable[[CachefilesStore], None]
) -> None:
    """P6: the wait is bounded; the generation then is one that he cannot make, should he go on."""
    before = watched.record
    with watched.table.locked(watched.place, 1):
        change(cache)
    after = watched.record
    assert (after.generation - before.generation) % layout.GENERATIONS > 1 << 16
    assert after.synced == 0


@pytest.mark.parametrize("change", [replace, invalidate, begin_with_a_copy])
def test_a_change_that_cannot_be_told_does_not_happen(
    tmp_path: Path, change: Callable[[CachefilesStore], None]
) -> None:
    """No room for a word: the old object keeps the name, and the caller hears of it."""
    faults = FaultyFileOps(PosixFileOps())
    store = bind(tmp_path, fileops=faults.fileops)
    put_version(store, 1)
    watched = Watched(tmp_path)
    refused = 0
    for number in range(1, 30):
        put_version(store, 1)
        inode, before = object_file(tmp_path).stat().st_ino, watched.record
        faults.arm(errno.ENOSPC, number, only={"write_all"})
        with contextlib.suppress(CacheError):
            change(store)
        faults.disarm()
        if not faults.failed:
            break
        refused += object_file(tmp_path).stat().st_ino == inode
        if watched.record.generation == before.generation:
            assert object_file(tmp_path).stat().st_ino == inode
    assert not faults.failed
    assert refused
    assert watched.record.generation != before.generation
    store.close()


@pytest.mark.parametrize("change", [drop, clear])
def test_giving_back_does_not_depend_on_telling(
    tmp_path: Path, change: Callable[[CachefilesStore], None]
) -> None:
    """A full disk must not keep anybody from making room; the next object of the name tells."""
    faults = FaultyFileOps(PosixFileOps())
    store = bind(tmp_path, fileops=faults.fileops)
    put_version(store, 1)
    watched = Watched(tmp_path)
    before = watched.record
    faults.arm(errno.ENOSPC, 1, only={"write_all"}, lasting=True)
    change(store)
    faults.disarm()
    assert watched.record == before
    put_version(store, 2)
    assert watched.record.generation != before.generation
    store.close()


def test_a_record_goes_to_another_object_only_when_nobody_uses_it(tmp_path: Path) -> None:
    """K6: a set is full of records in use, then of dead workers' ones, then one is used again."""
    ops = PosixFileOps()
    table = MappingTable(ops, ops.open_folder(str(tmp_path)))
    table.messages()
    places = [f"cache/Iv/@00/D{number}" for number in range(50_000)]
    same = [place for place in places if layout.set_of(tag_of(place)) == 3]
    assert len(same) > layout.WAYS + 1
    first: dict[int, int] = {}
    for place in same[: layout.WAYS]:
        with table.locked(place, 1):
            located = table.claim(place, lambda mask: 0)
            assert located is not None
            table.write(located.position, located.record.looked(9))
            first[located.position] = located.record.generation
    assert len(first) == layout.WAYS
    extra = same[layout.WAYS]
    with table.locked(extra, 1):
        assert table.claim(extra, lambda mask: 0) is None
        assert table.find(extra) is None
        located = table.claim(extra, lambda mask: mask & 1 << 9)
        assert located is not None
        assert located.record.generation != first[located.position]
        assert table.find(extra) == located
    table.close()


def test_a_table_that_was_removed_is_made_anew(cache: CachefilesStore, watched: Watched) -> None:
    """Who removes it cuts off those who share, and nobody else: changes go to the new one."""
    directory = Path(cache.status().directory)
    (directory / "mappings" / "table").unlink()
    assert not watched.table.is_still(1)
    put_version(cache, 2)
    assert (directory / "mappings" / "table").stat().st_size == layout.TABLE_BYTES
    with watched.table.locked(watched.place, 1) as locked:
        assert not locked


def test_a_table_that_was_cut_is_whole_again_when_it_is_opened(tmp_path: Path) -> None:
    """A power cut may leave it short; all zeros is an empty table."""
    (tmp_path / "mappings").mkdir()
    (tmp_path / "mappings" / "table").write_bytes(b"\xff" * 100)
    store = bind(tmp_path)
    put_version(store, 1)
    assert (tmp_path / "mappings" / "table").stat().st_size == layout.TABLE_BYTES
    store.close()


def test_a_table_that_is_no_file_is_an_error_of_the_cache(tmp_path: Path) -> None:
    """A folder or a link in its place is not followed."""
    (tmp_path / "mappings" / "table").mkdir(parents=True)
    store = bind(tmp_path)
    with pytest.raises(CacheError):
        put_version(store, 1)
    store.close()


def test_workers_have_numbers_and_the_dead_have_none(tmp_path: Path) -> None:
    """A number is a lock: another table sees it taken, and free when its owner is gone."""
    ops = PosixFileOps()
    root = ops.open_folder(str(tmp_path))
    one, two = MappingTable(ops, root), MappingTable(ops, root)
    assert one.take_worker(3)
    assert not two.take_worker(3)
    assert two.take_worker(4)
    with two.locked("place", 1):
        assert not two.is_dead(3)
        assert two.is_dead(5)
    one.close()
    with two.locked("place", 1):
        assert two.is_dead(3)
    two.close()
