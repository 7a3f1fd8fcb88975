"""Private files: places for bytes that nobody else is to see, wherever there is room.

A file without a name, on disk as long as that works; what a disk does not take is kept in memory.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import IO

_COPY_BYTES = 1 << 20


def private_file(folder: str | None) -> IO[bytes]:
    """A file without a name: in ``folder``, or where temporary files go, or in memory."""
    # Imported here: reading what is cached must not pay for it.
    import tempfile

    for place in (folder, None):
        with contextlib.suppress(OSError):
            return tempfile.TemporaryFile(prefix="netcache-", dir=place, buffering=0)
    return memory_file()


def memory_file() -> IO[bytes]:
    """A file that lies in memory; ``OSError`` where the system has none."""
    if not hasattr(os, "memfd_create"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return os.fdopen(os.memfd_create("netcache", os.MFD_CLOEXEC), "r+b", buffering=0)


def write_at(fd: int, view: memoryview, start: int) -> int:
    """Write all of ``view``; returns where it ends."""
    while len(view):
        count = os.pwrite(fd, view, start)
        view, start = view[count:], start + count
    return start


def read_at(fd: int, view: memoryview, start: int) -> None:
    """Fill ``view``; ``OSError`` where the file ends before that."""
    while len(view):
        count = os.preadv(fd, [view], start)
        if not count:
            raise OSError(errno.EIO, f"a private file ends at {start}")
        view, start = view[count:], start + count


def copy_at(source: int, target: int, start: int, end: int) -> None:
    """Copy ``[start, end)`` to the same place of another file."""
    for low in range(start, end, _COPY_BYTES):
        view = memoryview(bytearray(min(_COPY_BYTES, end - low)))
        read_at(source, view, low)
        write_at(target, view, low)
