"""One process modifies an object that others have open (P1, P6): each sees one version only."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from netcache._cachefiles.fileops import PosixFileOps
from netcache._cachefiles.store import bind
from netcache._core.content import WriteKind
from netcache._fscache.ports import CacheObject
from tests.support.bytemodel import ByteModel
from tests.support.fixtures import Opener
from tests.support.intercept import Override
from tests.support.stores import (
    KEY,
    check,
    create,
    fill_blocks,
    found,
    put,
    served,
    text,
    version,
    write,
)


def test_an_open_handle_never_shows_a_modification_by_another(opener: Opener) -> None:
    """During it, and after its commit: the old version, or nothing and a moved counter (P1)."""
    writer_store = opener()
    old = text(4 * writer_store.block_size)
    put(writer_store, old.part(0, old.size)).close()
    reader, writer = found(opener()), found(writer_store)
    counter = reader.inval_counter
    new = ByteModel(bytes(old.data))

    def still_old() -> bool:
        shown = list(served(reader))
        return reader.inval_counter != counter or (
            reader.version == version(old.size) and not old.wrong_parts(shown)
        )

    writer.begin_modify()
    assert still_old()
    write(writer, new, 100, b"changed")
    assert still_old()
    write(writer, new, new.size, b"longer")
    assert still_old()
    writer.commit(version(new.size, "b"))
    assert still_old()
    check(found(opener()), new)


@pytest.mark.parametrize("moment", ["lock_range", "setxattr", "fsync"])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_an_opener_in_the_middle_of_begin_modify_sees_one_version(
    tmp_path: Path, moment: str, number: int
) -> None:
    """Whoever opens between any two of its calls is treated like one who had it open before."""
    inner, readers, calls = PosixFileOps(), list[CacheObject](), list[str]()
    other = bind(tmp_path)
    old = text(4 * other.block_size)
    put(other, old.part(0, old.size)).close()
    armed = False

    def call(*args: Any, **options: Any) -> Any:
        if armed:
            calls.append(moment)
            if len(calls) == number:
                opened = other.lookup(KEY)
                if opened is not None:
                    check(opened, old)
                    readers.append(opened)
        return getattr(inner, moment)(*args, **options)

    store = bind(tmp_path, fileops=Override(inner, **{moment: call}).fileops)
    writer = found(store)
    armed = True
    writer.begin_modify()
    armed = False
    new = ByteModel(bytes(old.data))
    write(writer, new, 100, b"changed")
    write(writer, new, new.size, b"longer")
    for reader in readers:
        shows_only(reader, old)
    writer.commit(version(new.size, "b"))
    for reader in readers:
        shows_only(reader, old)
    check(found(other), new)
    store.close()
    other.close()


def shows_only(reader: CacheObject, model: ByteModel) -> None:
    """The version that it was opened with, or nothing and a moved counter."""
    shown = list(served(reader))
    if reader.inval_counter == 0:
        assert reader.version == version(model.size)
        assert model.wrong_parts(shown) == []


def test_a_read_under_way_never_gets_another_version_s_bytes(opener: Opener) -> None:
    """Occupancy was asked before the modification, the bytes are read after it (P1)."""
    store = opener()
    old = text(4 * store.block_size)
    put(store, old.part(0, old.size)).close()
    reader, writer = found(opener()), found(store)
    counter = reader.inval_counter
    assert reader.query_occupancy(0, old.size)
    descriptor = os.dup(reader.fileno())
    writer.begin_modify()
    writer.write(0, b"new bytes", lambda extent: old.part(*extent))
    buffer = bytearray(64)
    count = reader.read_into(0, buffer)
    direct = os.pread(descriptor, 64, 0)
    os.close(descriptor)
    if reader.inval_counter == counter:
        assert bytes(buffer[:count]) == old.part(0, count)
        assert direct == old.part(0, len(direct))


def test_an_open_handle_survives_that_another_truncates(opener: Opener) -> None:
    """Who has the file mapped never loses pages below its size: it is not shrunk under him."""
    store = opener()
    old = text(4 * store.block_size)
    put(store, old.part(0, old.size)).close()
    reader, writer = found(opener()), found(store)
    descriptor = os.dup(reader.fileno())
    writer.begin_modify()
    writer.truncate(10)
    assert os.fstat(descriptor).st_size == 4 * store.block_size
    os.close(descriptor)
    check(writer, ByteModel(old.part(0, 10)))


def test_a_copy_made_for_a_modification_is_as_long_as_its_record(opener: Opener) -> None:
    """A hole at the end of a map, somebody else has it open: INV-i holds for the copy too."""
    store = opener()
    block = store.block_size
    model = text(6 * block)
    cache_object = create(store, model.size)
    for number in (1, 4):
        fill_blocks(cache_object, model, number, number + 1)
    cache_object.collect_write(WriteKind.CANCEL, 4 * block, 5 * block)
    reader = found(opener())
    cache_object.begin_modify()
    check(cache_object, model)
    truth = ByteModel(bytes(model.data))
    write(cache_object, model, 2 * block + 5, b"changed")
    check(cache_object, model)
    check(reader, truth)


def test_an_object_that_another_process_is_modifying_is_no_problem(opener: Opener) -> None:
    """Its label is DIRTY as long as that takes; a killed process's stays so, and is one."""
    one, other = opener(), opener()
    cache_object = put(one, b"x" * 3 * one.block_size)
    cache_object.begin_modify()
    assert list(other.verify(repair=True)) == []
    cache_object.commit(version(cache_object.size, "new"))
    check(found(opener()), ByteModel(b"x" * 3 * one.block_size))
    cache_object.begin_modify()
    cache_object.close()
    (problem,) = other.verify()
    assert "dirt" in problem.why


@pytest.mark.parametrize("number", [1, 2])
def test_a_check_beside_a_modification_tells_no_damage(tmp_path: Path, number: int) -> None:
    """It read the label, the file was changed in place, and what lay there then fitted no more."""
    inner, calls = PosixFileOps(), [0]
    writer_store = bind(tmp_path)
    model = text(4 * writer_store.block_size)
    put(writer_store, model.part(0, model.size)).close()

    def getxattr(fd: int, name: str) -> bytes | None:
        raw = inner.getxattr(fd, name)
        calls[0] += 1
        if calls[0] == number:
            writer = found(writer_store)
            writer.begin_modify()
            write(writer, model, 100, b"changed")
        return raw

    store = bind(tmp_path, fileops=Override(inner, getxattr=getxattr).fileops)
    calls[0] = 0
    assert list(store.verify()) == []
    assert calls[0] >= number
    store.close()
    writer_store.close()
