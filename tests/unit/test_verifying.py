"""How far is compared ahead, and what comparing reads."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

import pytest

from netcache._cachefiles.fileops import PosixFileOps
from netcache._cachefiles.store import bind
from netcache._core.extent import Extent
from netcache._core.verifying import GROUP_BYTES, STRIDE_BYTES_MAX, Stride
from netcache._fscache.ports import CacheStore
from netcache.errors import UsageError
from tests.support.bytemodel import ByteModel
from tests.support.intercept import Override
from tests.support.stores import blocks, check, create, fill_blocks, found, object_file, put, text

KIB, MIB = 1024, 1 << 20
SIZE = 8 * MIB


class ReadBytes:
    """The system calls of a store, which count the bytes that are read from objects."""

    def __init__(self) -> None:
        self.count = 0
        self._inner = PosixFileOps()
        self.ops = Override(self._inner, read_into=self._read_into)

    def _read_into(self, fd: int, buffer: memoryview, start: int) -> int:
        if len(buffer) >= 4 * KIB:
            self.count += len(buffer)
        return self._inner.read_into(fd, buffer, start)


def complete(directory: Path, verify: str, reads: ReadBytes) -> CacheStore:
    """A store with one object of ``SIZE`` bytes, closed."""
    with_object: CacheStore = bind(directory, verify="none")
    put(with_object, text(SIZE).part(0, SIZE)).close()
    with_object.close()
    store: CacheStore = bind(directory, fileops=reads.ops.fileops, verify=verify)
    reads.count = 0
    return store


def test_scattered_reads_compare_one_group() -> None:
    """The groups that a read touches, whole."""
    stride = Stride()
    assert stride.stretch(5 * MIB + 7, 5 * MIB + 8) == Extent(5 * MIB, 5 * MIB + GROUP_BYTES)
    assert stride.stretch(MIB - 1, MIB + 1) == Extent(MIB - GROUP_BYTES, MIB + GROUP_BYTES)
    assert stride.stretch(0, 3 * MIB) == Extent(0, 3 * MIB)


def test_a_scan_compares_more_and_more() -> None:
    """Twice as much with each step, up to a limit."""
    stride, position, lengths = Stride(), 0, []
    for _ in range(7):
        extent = stride.stretch(position, position + 100)
        lengths.append(extent.length // GROUP_BYTES)
        position = extent.end
    assert lengths == [1, 2, 4, 8, 16, 16, 16]
    assert STRIDE_BYTES_MAX == 16 * GROUP_BYTES
    assert stride.stretch(100 * MIB, 100 * MIB + 1).length == GROUP_BYTES, "a seek begins anew"


def test_only_what_is_wanted_is_read(tmp_path: Path) -> None:
    """The first read of a large object costs one group, not the object."""
    reads = ReadBytes()
    store = complete(tmp_path, "open", reads)
    cache_object = found(store)
    assert not cache_object.is_proven(0, 4096)
    proven = cache_object.prove(5 * MIB + 1, 5 * MIB + 2)
    assert proven == Extent(5 * MIB, 5 * MIB + GROUP_BYTES)
    assert reads.count == GROUP_BYTES
    assert cache_object.is_proven(*proven)
    store.close()


def test_each_block_is_read_once_on_level_open(tmp_path: Path) -> None:
    """Whatever the reads are; what was stored by us is not read at all."""
    reads = ReadBytes()
    store = complete(tmp_path, "open", reads)
    cache_object = found(store)
    for step in (4 * KIB, 64 * KIB, 100_000, SIZE):
        for start in range(0, SIZE, step):
            end = min(start + step, SIZE)
            assert cache_object.prove(start, end).end >= end
    assert reads.count == SIZE
    own = create(store, SIZE, tag="b")
    fill_blocks(own, text(SIZE), 0, SIZE // store.block_size)
    assert own.prove(0, SIZE) == Extent(0, SIZE)
    assert reads.count == SIZE
    store.close()


def test_each_read_is_compared_on_level_read(tmp_path: Path) -> None:
    """Exactly its blocks, each time, also what was stored by us."""
    reads = ReadBytes()
    store = complete(tmp_path, "read", reads)
    cache_object = found(store)
    block = store.block_size
    for _ in range(3):
        assert cache_object.prove(block + 1, 2 * block + 1) == Extent(block, 3 * block)
    assert reads.count == 3 * 2 * block
    store.close()


@pytest.mark.parametrize("in_label", [64, 0], ids=["sums-in-label", "table"])
def test_level_none_reads_nothing(tmp_path: Path, in_label: int) -> None:
    """And a map asks its record all the same."""
    reads = ReadBytes()
    store = bind(tmp_path, fileops=reads.ops.fileops, verify="none", sums_in_label=in_label)
    model = text(40 * store.block_size)
    cache_object = create(store, model.size)
    for first in (30, 2, 7):
        fill_blocks(cache_object, model, first, first + 2)
    assert cache_object.is_proven(0, model.size)
    assert cache_object.prove(0, model.size).end >= model.size
    assert blocks(cache_object) == [2, 3, 7, 8, 30, 31]
    assert reads.count == 0
    store.close()


def test_an_unknown_level_is_refused(tmp_path: Path) -> None:
    """With the levels that there are."""
    with pytest.raises(UsageError, match="none, open, read"):
        bind(tmp_path, verify="sometimes")


def test_threads_prove_while_others_fill(tmp_path: Path) -> None:
    """Nothing that is proven is ever wrong, and nobody waits for ever."""
    store = bind(tmp_path, verify="open", sums_in_label=0)
    other = bind(tmp_path, verify="open", sums_in_label=0)
    model = text(400 * store.block_size - 77)
    writer, reader = create(store, model.size), found(other)
    wrong: list[str] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            for run in reader.query_occupancy(0, model.size):
                proven = reader.prove(run.start, run.end)
                end = min(proven.end, run.end)
                buffer = bytearray(end - run.start)
                count = reader.read_into(run.start, buffer)
                wrong.extend(model.wrong_parts([(run.start, bytes(buffer[:count]))]))

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    order = [*range(1, 400, 3), *range(0, 400, 3), *range(2, 400, 3)]
    for number in order:
        fill_blocks(writer, model, number, number + 1)
    done.set()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert wrong == []
    assert not reader.damaged(0, model.size)
    check(reader, ByteModel(bytes(model.data)))
    store.close()
    other.close()


def test_proving_without_waiting_takes_nothing_from_the_disk(tmp_path: Path) -> None:
    """What the page cache has is compared; where it has nothing, nothing is proven."""
    reads = ReadBytes()
    store = complete(tmp_path, "open", reads)
    cache_object = found(store)
    assert cache_object.prove_nowait(5 * MIB, 5 * MIB + 1), "it was written a moment ago"
    assert cache_object.is_proven(5 * MIB, 5 * MIB + GROUP_BYTES)
    assert reads.count == 0
    assert not cache_object.prove_nowait(0, SIZE), "too much at once"
    store.close()
    cold = Override(PosixFileOps(), read_nowait=lambda fd, buffer, start: -1)
    store = bind(tmp_path, fileops=cold.fileops)
    cache_object = found(store)
    assert not cache_object.prove_nowait(5 * MIB, 5 * MIB + 1)
    store.close()


@pytest.mark.parametrize("in_label", [64, 0], ids=["sums-in-label", "table"])
def test_proving_without_waiting_believes_no_damage_and_no_hole(
    tmp_path: Path, in_label: int
) -> None:
    """Next to them it proves block by block; on level read it proves nothing."""
    store = bind(tmp_path, sums_in_label=in_label)
    block = store.block_size
    model = text(40 * block - 100)
    cache_object = create(store, model.size)
    fill_blocks(cache_object, model, 0, 20)
    fill_blocks(cache_object, model, 30, 40)
    cache_object.close()
    with object_file(tmp_path).open("r+b") as file:
        file.seek(5 * block)
        file.write(b"damaged")
    for verify in ("open", "read"):
        with contextlib.closing(bind(tmp_path, sums_in_label=in_label, verify=verify)) as other:
            cache_object = found(other)
            believed = [
                number
                for number in range(40)
                if cache_object.prove_nowait(number * block, number * block + 1)
            ]
            whole = [number for number in range(40) if number != 5 and not 20 <= number < 30]
            assert believed == (whole if verify == "open" else [])
    store.close()
