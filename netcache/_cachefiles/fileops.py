"""All system calls of the store, behind one port (``file_port``).

Nothing else in this package touches the operating system, so that a test can count, fail or drop
any call.  Methods raise ``OSError``; each may block on the disk.  Names with a leading folder
descriptor work like the ``*at`` calls.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sys
from typing import TYPE_CHECKING

from netcache._cachefiles.folders import make_folder, open_folder
from netcache._cachefiles.mapping_ops import PosixMappingOps
from netcache._cachefiles.range_locks import set_lock
from netcache._cachefiles.statx import Identity, fallocate, fgetxattr, statx

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from netcache._cachefiles.allocating import LargeWrites

_NOWAIT = getattr(os, "RWF_NOWAIT", 0)
_PROC_FD = "/proc/self/fd"
_OPEN_FLAGS = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
LARGE_WRITE_BYTES = 128 * 1024
"""From here on a write is worth more than one call: see ``allocating``."""
_FALLOC_KEEP_SIZE = 1
_FALLOC_PUNCH_HOLE = 2
_NO_ATTRIBUTE = getattr(errno, "ENODATA", getattr(errno, "ENOATTR", 0))


class PosixFileOps(PosixMappingOps):
    """The real thing, on Linux; elsewhere what is missing raises ``OSError(ENOTSUP)``."""

    holds_locks = True
    # Made by the first that is large.
    _large: LargeWrites | None = None

    def boot_id(self) -> bytes:
        """The kernel's boot id, 16 bytes; empty when there is none."""
        try:
            with open("/proc/sys/kernel/random/boot_id", "rb") as file:
                return bytes.fromhex(file.read().replace(b"-", b"").decode("ascii").strip())
        except (OSError, ValueError):
            return b""

    def identify(self, fd: int) -> Identity:
        """Which file, on which mount (statx).

        Not all filesystems tell when a file was born, and kernels before Linux 6.8 have no unique
        id of a mount.
        """
        if statx is not None:
            return statx(fd)
        found = os.fstat(fd)
        return Identity(
            found.st_mode, found.st_uid, found.st_ino, found.st_size, int(found.st_atime), 0, 0
        )

    def open_folder(self, path: str, *, at: int | None = None) -> int:
        """Open a folder; below ``at`` no component may be a symbolic link, else not the last."""
        return open_folder(path, at)

    def open_file(self, name: str, at: int) -> int:
        """Open a file for reading and writing; never waits for a FIFO, never follows a link."""
        return os.open(name, _OPEN_FLAGS, dir_fd=at)

    def open_new(self, name: str, at: int) -> int:
        """Make a file that was not there."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.open(name, flags, 0o600, dir_fd=at)

    def open_tmpfile(self, at: int) -> int:
        """Make a file without a name."""
        if not hasattr(os, "O_TMPFILE"):
            raise OSError(errno.EOPNOTSUPP, "no O_TMPFILE on this system")
        return os.open(".", os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600, dir_fd=at)

    def close(self, fd: int) -> None:
        """Close a descriptor."""
        os.close(fd)

    def make_folder(self, path: str, *, at: int | None = None) -> None:
        """Make a private folder; one that is there is fine.  Links as in ``open_folder``."""
        make_folder(path, at)

    def list_folder(self, fd: int) -> list[str]:
        """The names in a folder."""
        return os.listdir(fd)

    def link(self, fd: int, name: str, at: int) -> None:
        """Give a nameless file a name; ``FileExistsError`` when there is one."""
        # A src_dir_fd makes Python call linkat, with the flag that follows the link in procfs.
        os.link(f"{_PROC_FD}/{fd}", name, src_dir_fd=fd, dst_dir_fd=at, follow_symlinks=True)

    def rename(self, old: str, old_at: int, new: str, new_at: int) -> None:
        """Rename over whatever has the new name."""
        os.rename(old, new, src_dir_fd=old_at, dst_dir_fd=new_at)

    def unlink(self, name: str, at: int) -> None:
        """Take a file's name away."""
        os.unlink(name, dir_fd=at)

    def remove_folder(self, name: str, at: int) -> None:
        """Remove an empty folder."""
        os.rmdir(name, dir_fd=at)

    def stat(self, fd: int) -> os.stat_result:
        """``fstat``."""
        return os.fstat(fd)

    def stat_name(self, name: str, at: int) -> os.stat_result:
        """``lstat`` of a name."""
        return os.stat(name, dir_fd=at, follow_symlinks=False)

    def read_into(self, fd: int, buffer: Buffer, start: int) -> int:
        """Read until the buffer is full or the file ends."""
        if isinstance(buffer, memoryview) and buffer.format == "B" and buffer.ndim == 1:
            view = buffer
        else:
            view = memoryview(buffer).cast("B")
        # Nearly always one call is enough.
        done = os.preadv(fd, [view], start)
        while 0 < done < len(view):
            count = os.preadv(fd, [view[done:]], start + done)
            if not count:
                break
            done += count
        return done

    def read_nowait(self, fd: int, buffer: Buffer, start: int) -> int:
        """Read what the page cache has; -1 where that would have to wait, or is not to be told."""
        if not _NOWAIT:
            return -1
        try:
            return os.preadv(fd, [buffer], start, _NOWAIT)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EOPNOTSUPP):
                return -1
            raise

    def write_all(self, fd: int, data: Buffer, start: int, *, in_steps: bool = False) -> None:
        """Write all of it; ``in_steps`` where no other thread of ours waits to go on.

        (Each call that is more is a turn of the interpreter's lock more.)
        """
        view = memoryview(data).cast("B")
        if in_steps and len(view) >= LARGE_WRITE_BYTES:
            self._write_large(fd, view, start)
            return
        while len(view):
            count = os.pwrite(fd, view, start)
            view, start = view[count:], start + count

    def _write_large(self, fd: int, view: memoryview, start: int) -> None:
        from netcache._cachefiles.allocating import LargeWrites

        if self._large is None:
            self._large = LargeWrites(self.filesystem)
        self._large.write(fd, view, start)

    def clone_range(self, source: int, fd: int, start: int, end: int) -> bool:
        """``FICLONERANGE``; False where blocks cannot be shared."""
        from netcache._fscache.copying import clone_range

        return clone_range(source, fd, start, end)

    def truncate(self, fd: int, size: int) -> None:
        """``ftruncate``."""
        os.ftruncate(fd, size)

    def punch_hole(self, fd: int, start: int, length: int) -> None:
        """Make a hole."""
        fallocate(fd, _FALLOC_PUNCH_HOLE | _FALLOC_KEEP_SIZE, start, length)

    def seek_data(self, fd: int, start: int) -> int:
        """Where data begins at or after ``start``; -1 when there is none."""
        return self._seek(fd, start, getattr(os, "SEEK_DATA", -1))

    def seek_hole(self, fd: int, start: int) -> int:
        """Where a hole (or the end) begins at or after ``start``; -1 past the end."""
        return self._seek(fd, start, getattr(os, "SEEK_HOLE", -1))

    @staticmethod
    def _seek(fd: int, start: int, whence: int) -> int:
        if whence < 0:
            raise OSError(errno.EOPNOTSUPP, "no SEEK_DATA on this system")
        try:
            return os.lseek(fd, start, whence)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return -1
            raise

    def getxattr(self, fd: int, name: str) -> bytes | None:
        """An extended attribute, or None when the file has no such one."""
        try:
            if fgetxattr is not None:
                return fgetxattr(fd, name.encode())
            import xattr

            return bytes(xattr.getxattr(fd, name))
        except OSError as error:
            if error.errno == _NO_ATTRIBUTE:
                return None
            if error.errno == errno.ERANGE and sys.platform == "linux":
                return os.getxattr(fd, name)
            raise

    def setxattr(self, fd: int, name: str, value: bytes) -> None:
        """Set an extended attribute, as a whole."""
        if sys.platform == "linux":
            os.setxattr(fd, name, value)
        else:
            import xattr

            xattr.setxattr(fd, name, value)

    def removexattr(self, fd: int, name: str) -> None:
        """Remove an extended attribute; one that is not there is fine."""
        try:
            if sys.platform == "linux":
                os.removexattr(fd, name)
            else:
                import xattr

                xattr.removexattr(fd, name)
        except OSError as error:
            if error.errno != _NO_ATTRIBUTE:
                raise

    def fdatasync(self, fd: int) -> None:
        """``fdatasync``."""
        getattr(os, "fdatasync", os.fsync)(fd)

    def fsync(self, fd: int) -> None:
        """``fsync``, of a file or a folder."""
        os.fsync(fd)

    def statvfs(self, fd: int) -> os.statvfs_result:
        """``statvfs``."""
        return os.fstatvfs(fd)

    def filesystem(self, fd: int) -> str:
        """The type of the filesystem, as mounted; ``unknown`` when it is not told."""
        from netcache._cachefiles.allocating import filesystem_of

        return filesystem_of(fd)

    def touch(self, fd: int, used_s: float) -> None:
        """Set the access time (also on a mount that does not keep it), leave the other alone."""
        os.utime(fd, ns=(int(used_s * 1e9), os.fstat(fd).st_mtime_ns))

    def chmod(self, fd: int, mode: int) -> None:
        """``fchmod``."""
        os.fchmod(fd, mode)

    def lock_range(self, fd: int, start: int, length: int, *, shared: bool = False) -> bool:
        """An open-file-description lock, without waiting; True also where there are none."""
        return set_lock(fd, fcntl.F_RDLCK if shared else fcntl.F_WRLCK, start, length)

    def unlock_range(self, fd: int, start: int, length: int) -> None:
        """Undo ``lock_range``."""
        set_lock(fd, fcntl.F_UNLCK, start, length)

    def lock_folder(self, fd: int) -> bool:
        """``flock`` of a folder, without waiting."""
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    def unlock_folder(self, fd: int) -> None:
        """Undo ``lock_folder``."""
        fcntl.flock(fd, fcntl.LOCK_UN)
