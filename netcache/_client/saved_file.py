"""Small files that clients keep at the top of a cache directory: read whole, replaced by rename.

One process at a time writes (``flock`` of the directory, never waited for: who finds it taken drops
what he had rather than wait).  Anything may stand in a file's place; only a regular file is read,
and nothing is written through a link or waits for the other end of a FIFO.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Callable

_BYTES_MAX = 1 << 20
_NOT_OURS = (errno.ENOENT, errno.ELOOP, errno.ENXIO, errno.EISDIR, errno.ENODEV)


def read_saved_file(directory: str, name: str) -> bytes:
    """The first MiB of the file; empty where no regular file is.  Raises ``OSError``."""
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        fd = os.open(os.path.join(directory, name), flags)
    except OSError as error:
        if error.errno in _NOT_OURS:
            return b""
        raise
    try:
        return os.read(fd, _BYTES_MAX) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
    finally:
        os.close(fd)


def change_saved_file(directory: str, name: str, change: Callable[[bytes], bytes]) -> None:
    """Replace what the file holds by what ``change`` makes of it, unless that is the same.

    Raises ``OSError``; ``BlockingIOError`` when another process is at it.
    """
    lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        before = read_saved_file(directory, name)
        after = change(before)
        if after != before:
            _replace(directory, name, after)
    finally:
        os.close(lock)


def _replace(directory: str, name: str, data: bytes) -> None:
    new = os.path.join(directory, f".{name}.{os.urandom(8).hex()}")
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(fd, "wb") as file:
            file.write(data)
        os.rename(new, os.path.join(directory, name))
    except OSError:
        os.unlink(new)
        raise
