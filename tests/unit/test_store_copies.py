"""New objects copied out of another file: by sharing its blocks where the filesystem can."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from netcache._cachefiles.fileops import PosixFileOps
from netcache._cachefiles.new_object import COPY_BYTES, GRANT_BYTES
from netcache._cachefiles.store import bind
from netcache._fscache.ports import CacheStore
from tests.support.counting import CountingFileOps
from tests.support.filesystems import FILESYSTEMS
from tests.support.stores import KEY, check, found, text, version

SHARING = ("xfs-4096", "btrfs-4096")
SIZES = (1, 4096, COPY_BYTES + 1, GRANT_BYTES, 2 * GRANT_BYTES + 4097)


class WritesCounted(CountingFileOps):
    """Counts writes to one file, too; the store has others."""

    fd = -1
    writes = 0

    def around(self, name: str, args: tuple[Any, ...], call: Callable[[], Any]) -> Any:
        """Count, then perform."""
        self.writes += name == "write_all" and args[0] == self.fd
        return super().around(name, args, call)


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """A descriptor to read a file by."""
    fd = os.open(path, os.O_RDONLY)
    try:
        yield fd
    finally:
        os.close(fd)


@pytest.mark.parametrize("filesystem", ["ext4-4096", *SHARING], indirect=True)
@pytest.mark.parametrize("size", SIZES)
def test_a_copied_object_has_the_bytes_and_their_sums(
    filesystem: str, cache_directory: Path, size: int
) -> None:
    """Shared or copied: every byte is there, and proved when it is read."""
    ops = WritesCounted(PosixFileOps())
    store: CacheStore = bind(
        cache_directory, fileops=ops, block_size=FILESYSTEMS[filesystem].block_size
    )
    model = text(size, seed=size)
    source = cache_directory / "source"
    source.write_bytes(model.part(0, size))
    new = store.begin(KEY)
    ops.fd = new.fileno()
    with opened(source) as fd:
        assert new.copy_from(fd, size) == size
    grants = -(-size // GRANT_BYTES)
    if filesystem in SHARING:
        assert ops.counts["clone_range"] == grants
        assert ops.writes == 0
    else:
        assert ops.counts["clone_range"] == 1
        assert ops.writes == -(-size // COPY_BYTES)
    new.publish(version(size), checked_s=0).close()
    # What is written to the source afterwards is not in the object.
    source.write_bytes(bytes(size))
    cache_object = found(store)
    check(cache_object, model)
    cache_object.close()
    store.close()


def test_a_source_that_is_shorter_ends_the_copy(store: CacheStore, tmp_path: Path) -> None:
    """What there was is appended, and counted."""
    model = text(COPY_BYTES + 100)
    (tmp_path / "source").write_bytes(model.part(0, model.size))
    new = store.begin(KEY)
    with opened(tmp_path / "source") as fd:
        assert new.copy_from(fd, 3 * COPY_BYTES) == model.size
        assert new.copy_from(fd, COPY_BYTES) == 0
    new.publish(version(model.size), checked_s=0).close()
    cache_object = found(store)
    check(cache_object, model)
    cache_object.close()


def test_a_source_that_cannot_be_read_is_no_failure_of_the_cache(
    store: CacheStore, tmp_path: Path
) -> None:
    """The error is the caller's; the store goes on."""
    new = store.begin(KEY)
    with opened(tmp_path) as fd, pytest.raises(IsADirectoryError):
        new.copy_from(fd, 4096)
    new.write(b"good")
    new.publish(version(4), checked_s=0).close()
    cache_object = found(store)
    assert cache_object.size == 4
    cache_object.close()
