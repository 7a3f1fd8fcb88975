"""Fixtures that all tests share."""

import os

from hypothesis import settings

from tests.support.fixtures import (
    block_size,
    cache_directory,
    filesystem,
    loop_filesystems,
    opener,
    store,
)
from tests.support.leaks import nothing_is_left_over

__all__ = [
    "block_size",
    "cache_directory",
    "filesystem",
    "loop_filesystems",
    "nothing_is_left_over",
    "opener",
    "store",
]

# The same examples in every run; HYPOTHESIS_PROFILE=explore looks for new ones.
settings.register_profile("repeatable", derandomize=True)
settings.register_profile("explore", derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))
