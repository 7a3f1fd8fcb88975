"""The port to the operating system: the system calls that the store makes.

Apart from ``fileops``, which makes them: only type checkers ask what a port is.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import mmap

    from typing_extensions import Buffer

    from netcache._cachefiles.statx import Identity


class MappingOps(Protocol):
    """The system calls of shared mappings; ``PosixMappingOps`` says what each does."""

    def open_shared(self, name: str, at: int) -> int:
        """See ``PosixMappingOps``."""

    def open_again(self, fd: int) -> int:
        """See ``PosixMappingOps``."""

    def open_bell(self, name: str, at: int) -> int:
        """See ``PosixMappingOps``."""

    def open_ringer(self, name: str, at: int) -> int:
        """See ``PosixMappingOps``."""

    def map_words(self, fd: int, length: int) -> mmap.mmap:
        """See ``PosixMappingOps``."""

    def ring(self, fd: int) -> None:
        """See ``PosixMappingOps``."""

    def await_bell(self, fd: int) -> None:
        """See ``PosixMappingOps``."""


class FileOps(MappingOps, Protocol):
    """The system calls that the store makes; ``PosixFileOps`` says what each does.

    ``holds_locks``: whether the locks hold against other processes (``lockless``).
    """

    @property
    def holds_locks(self) -> bool:
        """See the class."""

    def boot_id(self) -> bytes:
        """See ``PosixFileOps``."""

    def identify(self, fd: int) -> Identity:
        """See ``PosixFileOps``."""

    def open_folder(self, path: str, *, at: int | None = None) -> int:
        """See ``PosixFileOps``."""

    def open_file(self, name: str, at: int) -> int:
        """See ``PosixFileOps``."""

    def open_new(self, name: str, at: int) -> int:
        """See ``PosixFileOps``."""

    def open_tmpfile(self, at: int) -> int:
        """See ``PosixFileOps``."""

    def close(self, fd: int) -> None:
        """See ``PosixFileOps``."""

    def make_folder(self, path: str, *, at: int | None = None) -> None:
        """See ``PosixFileOps``."""

    def list_folder(self, fd: int) -> list[str]:
        """See ``PosixFileOps``."""

    def link(self, fd: int, name: str, at: int) -> None:
        """See ``PosixFileOps``."""

    def rename(self, old: str, old_at: int, new: str, new_at: int) -> None:
        """See ``PosixFileOps``."""

    def unlink(self, name: str, at: int) -> None:
        """See ``PosixFileOps``."""

    def remove_folder(self, name: str, at: int) -> None:
        """See ``PosixFileOps``."""

    def stat(self, fd: int) -> os.stat_result:
        """See ``PosixFileOps``."""

    def stat_name(self, name: str, at: int) -> os.stat_result:
        """See ``PosixFileOps``."""

    def read_into(self, fd: int, buffer: Buffer, start: int) -> int:
        """See ``PosixFileOps``."""

    def read_nowait(self, fd: int, buffer: Buffer, start: int) -> int:
        """See ``PosixFileOps``."""

    def write_all(self, fd: int, data: Buffer, start: int, *, in_steps: bool = False) -> None:
        """See ``PosixFileOps``."""

    def clone_range(self, source: int, fd: int, start: int, end: int) -> bool:
        """Share the blocks of ``[start, end)`` of any file; False where that cannot be."""

    def truncate(self, fd: int, size: int) -> None:
        """See ``PosixFileOps``."""

    def punch_hole(self, fd: int, start: int, length: int) -> None:
        """See ``PosixFileOps``."""

    def seek_data(self, fd: int, start: int) -> int:
        """See ``PosixFileOps``."""

    def seek_hole(self, fd: int, start: int) -> int:
        """See ``PosixFileOps``."""

    def getxattr(self, fd: int, name: str) -> bytes | None:
        """See ``PosixFileOps``."""

    def setxattr(self, fd: int, name: str, value: bytes) -> None:
        """See ``PosixFileOps``."""

    def removexattr(self, fd: int, name: str) -> None:
        """See ``PosixFileOps``."""

    def fdatasync(self, fd: int) -> None:
        """See ``PosixFileOps``."""

    def fsync(self, fd: int) -> None:
        """See ``PosixFileOps``."""

    def statvfs(self, fd: int) -> os.statvfs_result:
        """See ``PosixFileOps``."""

    def filesystem(self, fd: int) -> str:
        """See ``PosixFileOps``."""

    def touch(self, fd: int, used_s: float) -> None:
        """See ``PosixFileOps``."""

    def chmod(self, fd: int, mode: int) -> None:
        """See ``PosixFileOps``."""

    def lock_range(self, fd: int, start: int, length: int, *, shared: bool = False) -> bool:
        """See ``PosixFileOps``."""

    def unlock_range(self, fd: int, start: int, length: int) -> None:
        """See ``PosixFileOps``."""

    def lock_folder(self, fd: int) -> bool:
        """See ``PosixFileOps``."""

    def unlock_folder(self, fd: int) -> None:
        """See ``PosixFileOps``."""
