"""Files in progress: complete and durable before they have a name.

Rules:

1. A file in progress has no name where the system lets it (``O_TMPFILE``), so a killed server
   leaves nothing behind.  Elsewhere it has a hidden name in the folder where it will appear.
2. It takes its place in one step: by ``link`` where nothing was (which fails if something has come
   in between), by ``rename`` over what was.
3. Whoever creates one closes it; one that was not published is gone then.

Everything here blocks on the disk: it is called in threads.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

from netcache_server.paths import PART_PREFIX

_COPY_BYTES = 1 << 20
_FICLONE = 0x40049409
_TMPFILE = getattr(os, "O_TMPFILE", 0)
_NO_TMPFILE = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT)
_MANY_BUFFERS = 64
_FATAL = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG)


class PartFile:
    """A file being written, on the filesystem of the folder that it is for."""

    __slots__ = ("_folder", "_name", "fd")

    def __init__(self, folder: int) -> None:
        self._folder = os.dup(folder)
        self._name: str | None = None
        try:
            self.fd = self._create()
        except BaseException:
            os.close(self._folder)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _create(self) -> int:
        flags = os.O_RDWR | os.O_CLOEXEC
        if _TMPFILE and os.path.isdir("/proc/self/fd"):
            try:
                return os.open(".", flags | _TMPFILE, 0o666, dir_fd=self._folder)
            except OSError as error:
                if error.errno not in _NO_TMPFILE:
                    raise
        self._name = _part_name()
        flags |= os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        return os.open(self._name, flags, 0o666, dir_fd=self._folder)

    def write(self, buffers: Sequence[bytes | memoryview]) -> None:
        """Write buffers one after the other at the file's position."""
        if len(buffers) > _MANY_BUFFERS:
            buffers = [b"".join(buffers)]
        written = os.writev(self.fd, buffers)
        if written == sum(map(len, buffers)):
            return
        rest = memoryview(b"".join(buffers))[written:]
        while rest:
            rest = rest[os.write(self.fd, rest) :]

    def publish(self, folder: int, name: str, *, replaces: bool) -> None:
        """Give the file its name.  Raises ``FileExistsError`` if it must not replace and would."""
        if self._name is None:
            if not replaces:
                self._link(folder, name)
                return
            temporary = _part_name()
            self._link(folder, temporary)
            try:
                os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                os.unlink(temporary, dir_fd=folder)
                raise
        elif replaces:
            os.rename(self._name, name, src_dir_fd=self._folder, dst_dir_fd=folder)
            self._name = None
        else:
            os.link(self._name, name, src_dir_fd=self._folder, dst_dir_fd=folder)

    def _link(self, folder: int, name: str) -> None:
        # The file descriptor's link is followed (linkat with AT_SYMLINK_FOLLOW, open(2)).
        os.link(f"/proc/self/fd/{self.fd}", name, dst_dir_fd=folder, follow_symlinks=True)

    def close(self) -> None:
        """Close it, and remove it unless it was published; again does nothing."""
        if self._folder < 0:
            return
        os.close(self.fd)
        if self._name is not None:
            with suppress(FileNotFoundError):
                os.unlink(self._name, dir_fd=self._folder)
        os.close(self._folder)
        self._folder = -1


def _part_name() -> str:
    return PART_PREFIX + secrets.token_hex(12)


def copy_around(source: int, target: int, size: int, start: int, end: int) -> None:
    """Make ``target`` like ``source`` but for ``[start, end)``, which is written anew anyway.

    Holes stay holes, and a filesystem that shares extents copies nothing.
    """
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        os.truncate(target, size)
        _copy_data(source, target, 0, min(start, size))
        _copy_data(source, target, min(end, size), size)


def _copy_data(source: int, target: int, start: int, end: int) -> None:
    """Copy the parts of ``[start, end)`` that hold data, each to its own place."""
    while start < end:
        try:
            start = os.lseek(source, start, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        stop = min(end, os.lseek(source, start, os.SEEK_HOLE))
        if start < stop:
            copy_range(source, start, target, start, stop - start)
        start = stop


def copy_range(source: int, source_start: int, target: int, start: int, length: int) -> None:
    """Copy ``length`` bytes between files, in the kernel where it can."""
    done = 0
    while done < length:
        left = length - done
        try:
            copied = os.copy_file_range(source, target, left, source_start + done, start + done)
        except (OSError, AttributeError) as error:  # neither every system nor every filesystem can
            if getattr(error, "errno", 0) in _FATAL:
                raise
            data = os.pread(source, min(_COPY_BYTES, left), source_start + done)
            copied = os.pwrite(target, data, start + done)
        if copied == 0:
            raise OSError(errno.EIO, "the source ended while it was copied")
        done += copied
