"""Fixtures that all tests share."""

import os
import signal

from hypothesis import HealthCheck, settings

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
for name, derandomized in (("repeatable", True), ("explore", False)):
    settings.register_profile(
        name,
        derandomize=derandomized,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

# A shell starts what runs in the background with Ctrl-C ignored, and so would be each program that
# a test starts, and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)
