"""Fixtures that all tests share."""

import os
import signal
import sys
import tempfile

import pytest
from hypothesis import HealthCheck, settings

from tests.support.disk_room import lacking_room
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

# Images of containers often set this, and each program that a test starts would compile all that it
# imports: twice the time for tests of commands, and nothing that a user would see.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


def pytest_sessionstart(session: pytest.Session) -> None:
    """Say what is missing before anything fails for want of it."""
    why = None if hasattr(session.config, "workerinput") else lacking_room(tempfile.gettempdir())
    if why:
        pytest.exit(why, returncode=pytest.ExitCode.USAGE_ERROR)
