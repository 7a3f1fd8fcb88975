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

# The same examples in every run; HYPOTHESIS_PROFILE=explore looks for new ones.  No deadline: how
# long an example takes says more of the machine than of us.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("explore", derandomize=False, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))
