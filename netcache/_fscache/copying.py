"""Copying between local files without passing the bytes through this process."""

from __future__ import annotations

import errno
import fcntl
import os
import struct

_COPY_STEP = 64 << 20
_HAND_STEP = 1 << 20
_FICLONERANGE = 0x4020940D
"""ioctl_ficlonerange(2); where the number is another one, the kernel knows of no such request."""
_CANNOT_SHARE = (
    *(errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOTTY),
    *(errno.EPERM, errno.ETXTBSY, errno.EISDIR),
)
_SHARES_NOTHING = (errno.EXDEV, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOTTY)
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


def may_share(source: int, target: int, length: int) -> bool:
    """Whether ``target``, a file that is being made, may share blocks with ``source``.

    It is tried with the first ``length`` bytes (a block), which may be in the target then.
    """
    try:
        fcntl.ioctl(target, _FICLONERANGE, struct.pack("=qQQQ", source, 0, length, 0))
    except OSError as error:
        return error.errno not in _SHARES_NOTHING
    return True


def clone_range(source: int, target: int, start: int, end: int) -> bool:
    """Let ``target`` share the blocks of ``[start, end)`` of ``source``, at the same place.

    False where that cannot be (another filesystem, one that shares none, no whole blocks, or
    ``source`` ends before): nothing has happened then.  May block.
    """
    request = struct.pack("=qQQQ", source, start, end - start, start)
    try:
        fcntl.ioctl(target, _FICLONERANGE, request)
    except OSError as error:
        if error.errno in _CANNOT_SHARE:
            return False
        raise
    return True
