"""Counters added up over all clients of a cache directory, in the file ``stats`` there.

Written by one process at a time (``flock``, never waited for: a client that finds it taken drops
its figures rather than wait) and replaced by rename.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat

from netcache._core.stats import decode, encode, merge

_NAME = "stats"
_BYTES_MAX = 1 << 20
_NOT_OURS = (errno.ENOENT, errno.ELOOP, errno.ENXIO, errno.EISDIR, errno.ENODEV)


def read_saved(directory: str) -> dict[str, dict[str, int]]:
    """The counters saved so far; all zero when there are none."""
    try:
        # Neither a link out of the directory nor a FIFO that nobody writes to.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        fd = os.open(os.path.join(directory, _NAME), flags)
    except OSError as error:
        if error.errno in _NOT_OURS:
            return decode("")
        raise
    try:
        ours = stat.S_ISREG(os.fstat(fd).st_mode)
        return decode(os.read(fd, _BYTES_MAX).decode("ascii", "replace") if ours else "")
    finally:
        os.close(fd)


def add_to_saved(directory: str, groups: dict[str, dict[str, int]]) -> None:
    """Add the counters of one client to the saved ones."""
    if not encode(groups):
        return
    lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        text = encode(merge(read_saved(directory), groups))
        new = os.path.join(directory, f".{_NAME}.{os.urandom(8).hex()}")
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, text.encode("ascii"))
        finally:
            os.close(fd)
        os.rename(new, os.path.join(directory, _NAME))
    finally:
        os.close(lock)
