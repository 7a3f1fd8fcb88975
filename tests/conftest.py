"""Fixtures that all tests share."""

from tests.support.fixtures import (
    block_size,
    cache_directory,
    filesystem,
    loop_filesystems,
    opener,
    store,
)

__all__ = ["block_size", "cache_directory", "filesystem", "loop_filesystems", "opener", "store"]
