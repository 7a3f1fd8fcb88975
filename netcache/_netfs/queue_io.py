"""Buffer queues and files: positions are those of the queue, shifted where that is said.

Every function may block on the disk.  A transfer of any size is made in as many system calls as it
takes: one moves at most 2 GiB less a page, and takes at most ``IOV_MAX`` buffers.
"""

from __future__ import annotations

import errno
import os

from netcache._netfs.buffer_queue import BufferQueue


def read_into(queue: BufferQueue, fd: int, start: int, end: int, *, shift: int = 0) -> int:
    """Fill ``[start, end)`` from a file; returns how many bytes, fewer only where the file ends."""
    position = start
    while position < end:
        count = os.preadv(fd, queue.buffers(position, end), position + shift)
        if not count:
            break
        position += count
    return position - start


def write_from(queue: BufferQueue, fd: int, start: int, end: int, *, shift: int = 0) -> None:
    """Write all of ``[start, end)`` to a file."""
    position = start
    while position < end:
        count = os.pwritev(fd, queue.buffers(position, end), position + shift)
        if not count:
            raise OSError(errno.EIO, f"nothing was written at {position + shift}")
        position += count
