"""Locks on byte ranges that belong to an open file description, not to a process."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import sys

_OFD_SETLK = 37
_FLOCK = struct.Struct("hhqqi4x")
_HAS_LOCKS = sys.platform == "linux"


def set_lock(fd: int, kind: int, start: int, length: int) -> bool:
    """Set a lock of this kind (``F_RDLCK``, ``F_WRLCK``, ``F_UNLCK``) without waiting.

    False when somebody else has one there; True also where there are no such locks.
    """
    if not _HAS_LOCKS:
        return True
    try:
        fcntl.fcntl(fd, _OFD_SETLK, _FLOCK.pack(kind, os.SEEK_SET, start, length, 0))
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        if error.errno in (errno.EINVAL, errno.ENOLCK, errno.EOPNOTSUPP):
            return True
        raise
    return True
