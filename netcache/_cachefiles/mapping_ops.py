"""The system calls of shared mappings; a part of what ``fileops`` makes."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import mmap

_BELL_BYTES = 4096


class PosixMappingOps:
    """The real thing."""

    def open_shared(self, name: str, at: int) -> int:
        """Open a file for reading and writing; make it when there is none."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        return os.open(name, flags, 0o600, dir_fd=at)

    def open_again(self, fd: int) -> int:
        """Another open file description of an open file, with locks of its own; for reading.

        ``dup`` would not do: it shares the locks.
        """
        return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)

    def open_bell(self, name: str, at: int) -> int:
        """Open the FIFO for the one who waits at it; make it when there is none."""
        try:
            os.mkfifo(name, 0o600, dir_fd=at)
        except FileExistsError:
            if not stat.S_ISFIFO(os.stat(name, dir_fd=at, follow_symlinks=False).st_mode):
                raise
        # For writing too: a FIFO without a writer has an end, and reading it does not wait.
        return os.open(name, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=at)

    def open_ringer(self, name: str, at: int) -> int:
        """Open the FIFO for a message; ``ENXIO`` when nobody waits at it."""
        flags = os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        return os.open(name, flags, dir_fd=at)

    def map_words(self, fd: int, length: int) -> mmap.mmap:
        """Map the first bytes of a file, shared and read-only."""
        import mmap

        return mmap.mmap(fd, length, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ)

    def ring(self, fd: int) -> None:
        """Send a message; one that finds the FIFO full is not needed."""
        try:
            os.write(fd, b"!")
        except BlockingIOError:
            return

    def await_bell(self, fd: int) -> None:
        """Wait for messages, as long as it takes, and take all that are there."""
        os.read(fd, _BELL_BYTES)
