"""Locks that do nothing, as on some network filesystems: every one is given, to everybody."""

from __future__ import annotations

import fcntl
from typing import Any

from netcache._cachefiles import store
from netcache._cachefiles.file_port import FileOps
from netcache._cachefiles.fileops import PosixFileOps
from tests.support.intercept import Override


def _given(*_: Any, **__: Any) -> bool:
    return True


def without_locks(inner: FileOps | None = None) -> Override:
    """The system calls of a store, but for its locks."""
    return Override(
        inner or PosixFileOps(),
        lock_range=_given,
        unlock_range=_given,
        lock_folder=_given,
        unlock_folder=_given,
    )


def disable_locks() -> None:
    """In this process no cache that is bound from now on locks anything, nor does the journal."""
    setattr(store, "PosixFileOps", without_locks)  # noqa: B010 - a function in a class's place
    setattr(fcntl, "flock", _given)  # noqa: B010 - the journal's, by the same name
