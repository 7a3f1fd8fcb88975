"""Large writes have room made for them; what else a write does stays the same."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from netcache._cachefiles.allocating import allocation_helps, filesystem_of
from netcache._cachefiles.fileops import PosixFileOps
from netcache._client.target import TargetFile
from tests.support.costs import counted
from tests.support.served import random_bytes

MIB = 1 << 20
DATA = random_bytes(3 * MIB + 4096, 3)


class Elsewhere(PosixFileOps):
    """Takes whatever is there for a filesystem where it helps."""

    def filesystem(self, fd: int) -> str:
        """Not what it is."""
        return "ext4"


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    """A new file."""
    found = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT, 0o600)
    yield found
    os.close(found)


def content(fd: int) -> bytes:
    """All of a file."""
    return os.pread(fd, os.fstat(fd).st_size + 1, 0)


@pytest.mark.parametrize("ops", [PosixFileOps(), Elsewhere()])
def test_what_is_written_is_what_is_there_and_no_more(fd: int, ops: PosixFileOps) -> None:
    """The size is that of what was written; a hole that was left stays one."""
    ops.write_all(fd, DATA, 4 * MIB, in_steps=True)
    ops.write_all(fd, DATA[:100], 0, in_steps=True)
    assert os.fstat(fd).st_size == 4 * MIB + len(DATA)
    assert content(fd) == DATA[:100] + bytes(4 * MIB - 100) + DATA
    os.fsync(fd)
    assert ops.seek_data(fd, MIB) == 4 * MIB
    assert os.fstat(fd).st_blocks * 512 <= len(DATA) + 64 * 1024


@pytest.mark.parametrize("filesystem", ["ext4-4096"], indirect=True)
def test_a_large_write_is_one_allocation_and_steps_of_128_kib(
    filesystem: str, cache_directory: Path
) -> None:
    """On ext4, which is asked for once; a small write is one call as ever, and one that another
    thread has to wait for."""
    ops = PosixFileOps()
    folder = ops.open_folder(str(cache_directory))
    fd = ops.open_new("file", folder)
    try:
        assert allocation_helps(filesystem_of(fd))
        ops.write_all(fd, DATA[:MIB], 0, in_steps=True)
        with counted() as costs:
            ops.write_all(fd, DATA[:MIB], MIB, in_steps=True)
        assert costs.kernel == {"fallocate": 1, "pwrite": 8}
        with counted() as costs:
            ops.write_all(fd, DATA[:65536], 2 * MIB, in_steps=True)
        assert costs.kernel == {"pwrite": 1}
        with counted() as costs:
            ops.write_all(fd, DATA[:MIB], 3 * MIB)
        assert costs.kernel == {"pwrite": 1}
        target = TargetFile(str(cache_directory / "out"))
        target.write(0, memoryview(DATA)[:MIB])
        with counted() as costs:
            target.write(MIB, memoryview(DATA)[:MIB])
        assert costs.kernel == {"fallocate": 1, "pwrite": 8}
        with counted() as costs:
            target.copy_from(fd, 2 * MIB, 4 * MIB)
        assert costs.kernel == {"fallocate": 1, "copy_file_range": 1}
        target.discard()
    finally:
        ops.close(fd)
        ops.close(folder)


def fill(folder: Path) -> None:
    """Leave less than a MiB."""
    with (folder / "filler").open("wb") as file, contextlib.suppress(OSError):
        for number in range(1 << 20):
            os.posix_fallocate(file.fileno(), number * MIB, MIB)


@pytest.mark.parametrize("filesystem", ["ext4-4096"], indirect=True)
def test_no_room_is_told_before_anything_is_written(filesystem: str, cache_directory: Path) -> None:
    """To the cache and to targets."""
    ops = PosixFileOps()
    folder = ops.open_folder(str(cache_directory))
    fd = ops.open_new("file", folder)
    target = TargetFile(str(cache_directory / "out"))
    try:
        fill(cache_directory)
        with pytest.raises(OSError, match="No space"):
            ops.write_all(fd, DATA, 0, in_steps=True)
        with pytest.raises(OSError, match="No space"):
            target.write(0, memoryview(DATA))
        assert os.fstat(fd).st_size == os.fstat(target.fileno()).st_size == 0
    finally:
        target.discard()
        ops.close(fd)
        ops.close(folder)


def test_where_it_cannot_be_done_it_is_not_missed(fd: int) -> None:
    """A device refuses it, for one."""
    ops = Elsewhere()
    device = os.open("/dev/zero", os.O_RDWR)
    try:
        with counted() as costs:
            ops.write_all(device, DATA[:MIB], 0, in_steps=True)
            ops.write_all(device, DATA[:MIB], 0, in_steps=True)
    finally:
        os.close(device)
    assert (costs.kernel["fallocate"], costs.kernel["pwrite"]) == (1, 16)
    ops.write_all(fd, DATA, 0, in_steps=True)
    assert content(fd) == DATA
