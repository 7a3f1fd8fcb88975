"""Copying between local files without passing the bytes through this process."""

from __future__ import annotations

import errno
import os

_COPY_STEP = 64 << 20
_HAND_STEP = 1 << 20
_CANNOT = (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS)


def copy_range(source: int, target: int, start: int, end: int) -> int:
    """Copy ``[start, end)`` from one file to the same place of another.

    By the kernel (``copy_file_range``, which shares blocks where the filesystem can) or, where the
    two filesystems do not agree to that, by hand.  Returns where the copy ended: before ``end``
    only where ``source`` ends.  May block.
    """
    while start < end:
        count = _copy_in_kernel(source, target, start, min(end - start, _COPY_STEP))
        if not count:
            data = os.pread(source, min(end - start, _HAND_STEP), start)
            if not data:
                break
            count = os.pwrite(target, data, start)
        start += count
    return start


def _copy_in_kernel(source: int, target: int, start: int, length: int) -> int:
    """How much the kernel copied; 0 when it cannot."""
    if not hasattr(os, "copy_file_range"):
        return 0
    try:
        return os.copy_file_range(source, target, length, start, start)
    except OSError as error:
        if error.errno in _CANNOT:
            return 0
        raise
