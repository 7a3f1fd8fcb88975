"""Large writes: in steps, with room on the disk made before for all that is about to be written.

Where a file grows by writing, ext4 keeps account of each block alone: it looks for it in its tree
of extents, reserves it, and notes it as delayed.  With the room made before, writing takes a
quarter less (a GiB copied: 0.21 s instead of 0.29).  Other filesystems keep account of extents
anyway, and some would have more to do: tmpfs clears what is allocated, btrfs does not compress it.

The size of the file stays; what is allocated and was not written is a hole to whoever asks.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from netcache._cachefiles.statx import fallocate

__all__ = ["LargeWrites", "allocate", "allocation_helps", "filesystem_of"]

STEP_BYTES = 128 * 1024
"""How much one call writes.  The kernel takes one block of memory for all that a call brings, if
it can.  Large ones are what a virtual machine gives back to its host when they are free, and waits
for when it needs them: a GiB written by 1 MiB took up to 3 s instead of 0.5."""
_KEEP_SIZE = 1
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def filesystem_of(fd: int) -> str:
    """The type of the filesystem, as mounted; ``unknown`` when it is not told."""
    device = os.fstat(fd).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                fields = line.split(" ")
                if fields[2] == wanted:
                    return fields[fields.index("-") + 1]
    except OSError:
        return "unknown"
    return "unknown"


def allocation_helps(filesystem: str) -> bool:
    """Whether to allocate first makes writing quicker there."""
    return filesystem == "ext4"


def allocate(fd: int, start: int, length: int) -> bool:
    """Make room for ``[start, start + length)``; False where that cannot be done.

    Raises ``OSError`` when there is no room.  May block.
    """
    try:
        fallocate(fd, _KEEP_SIZE, start, length)
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise
        return False
    return True


class LargeWrites:
    """Writes to the files of one filesystem, which is asked for once."""

    def __init__(self, filesystem: Callable[[int], str] = filesystem_of) -> None:
        self._filesystem = filesystem
        # Whether room is made before; None as long as nobody has asked.
        self._allocates: bool | None = None

    def make_room(self, fd: int, start: int, length: int) -> None:
        """``allocate``, where that helps."""
        if self._allocates is None:
            self._allocates = allocation_helps(self._filesystem(fd))
        if self._allocates:
            self._allocates = allocate(fd, start, length)

    def write(self, fd: int, view: memoryview, start: int) -> None:
        """Write all of ``view`` at ``start``.  Raises ``OSError``; may block."""
        self.make_room(fd, start, len(view))
        while len(view):
            count = os.pwrite(fd, view[:STEP_BYTES], start)
            view, start = view[count:], start + count
