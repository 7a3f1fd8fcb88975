"""A complete filesystem in memory behind the port ``FileOps``, which logs all that was asked of it.

What it shows is what a running system shows: everything that was done.  What a crash leaves is
decided afterwards, from the log (``crash_disk``, ``crash_states``).  Its files are of this model
only: descriptors begin at ``FIRST``, and no other system call knows them.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, NoReturn, cast

from netcache._cachefiles.statx import Identity
from tests.support.crash_content import SECTOR
from tests.support.crash_ops import (
    ROOT,
    Attribute,
    Cut,
    Leave,
    Move,
    Punch,
    Sync,
    SyncData,
    Write,
)
from tests.support.crash_system import FIRST, System, error

if TYPE_CHECKING:
    import mmap

    from typing_extensions import Buffer

    from netcache._cachefiles.file_port import FileOps

_BLOCKS = 1 << 24
_FILES = 1 << 20


class CrashFileOps(System):
    """The system calls of a ``System``.  Not for threads: all calls come from one."""

    holds_locks = True

    @property
    def fileops(self) -> FileOps:
        """This model as what ``bind`` takes."""
        return cast("FileOps", self)

    # The port: who we are.

    def boot_id(self) -> bytes:
        """16 bytes that are others after a reboot."""
        self.calls["boot_id"] += 1
        return self.boot.to_bytes(16, "big")

    def identify(self, fd: int) -> Identity:
        """The time of birth stays through crashes; the mount is another one after each."""
        self.calls["identify"] += 1
        inode = self.inode_of(fd)
        found = self.status(inode)
        return Identity(
            found.st_mode,
            found.st_uid,
            found.st_ino,
            found.st_size,
            int(found.st_atime),
            self.live.inodes[inode].born_ns,
            self.mount,
        )

    # The port: opening.

    def open_folder(self, path: str, *, at: int | None = None) -> int:
        """As ``PosixFileOps``."""
        self.calls["open_folder"] += 1
        inode = self.find(*self.parent(path, at))
        self.names(inode)
        return self.new_fd(inode)

    def open_file(self, name: str, at: int) -> int:
        """As ``PosixFileOps``."""
        self.calls["open_file"] += 1
        inode = self.find(*self.parent(name, at))
        if inode in self.live.folders:
            raise error(errno.EISDIR, name)
        return self.new_fd(inode)

    def open_new(self, name: str, at: int) -> int:
        """As ``PosixFileOps``."""
        self.calls["open_new"] += 1
        folder, last = self.parent(name, at)
        if last in self.names(folder):
            raise error(errno.EEXIST, name)
        inode = self.make(folder=False)
        self.enter(folder, last, inode)
        return self.new_fd(inode)

    def open_tmpfile(self, at: int) -> int:
        """As ``PosixFileOps``."""
        self.calls["open_tmpfile"] += 1
        self.names(self.inode_of(at))
        if not self.nameless:
            raise error(errno.EOPNOTSUPP)
        return self.new_fd(self.make(folder=False))

    def open_shared(self, name: str, at: int) -> int:
        """As ``PosixFileOps``."""
        folder, last = self.parent(name, at)
        if last in self.names(folder):
            return self.open_file(name, at)
        return self.open_new(name, at)

    def open_again(self, fd: int) -> int:
        """As ``PosixFileOps``."""
        self.calls["open_again"] += 1
        return self.new_fd(self.inode_of(fd))

    def close(self, fd: int) -> None:
        """As ``PosixFileOps``."""
        self.calls["close"] += 1
        inode = self.inode_of(fd)
        self.locks.release(inode, fd)
        del self.open[fd]
        if inode != ROOT:
            self.let_go(inode)

    # The port: names.

    def make_folder(self, path: str, *, at: int | None = None) -> None:
        """As ``PosixFileOps``."""
        self.calls["make_folder"] += 1
        folder, last = self.parent(path, at)
        if last not in self.names(folder):
            self.enter(folder, last, self.make(folder=True))

    def list_folder(self, fd: int) -> list[str]:
        """As ``PosixFileOps``."""
        self.calls["list_folder"] += 1
        return list(self.names(self.inode_of(fd)))

    def link(self, fd: int, name: str, at: int) -> None:
        """As ``PosixFileOps``."""
        self.calls["link"] += 1
        folder, last = self.parent(name, at)
        if last in self.names(folder):
            raise error(errno.EEXIST, name)
        self.enter(folder, last, self.inode_of(fd))

    def rename(self, old: str, old_at: int, new: str, new_at: int) -> None:
        """As ``PosixFileOps``."""
        self.calls["rename"] += 1
        folder, last = self.parent(old, old_at)
        new_folder, new_last = self.parent(new, new_at)
        inode = self.find(folder, last)
        over = self.names(new_folder).get(new_last)
        if over == inode:
            return
        if over is not None:
            self._may_replace(over, inode)
            self.links[over] -= 1
            self.let_go(over)
        self.do(Move(folder, last, new_folder, new_last, inode))

    def _may_replace(self, over: int, inode: int) -> None:
        folder, goes = inode in self.live.folders, self.live.folders.get(over)
        if goes is not None and not folder:
            raise error(errno.EISDIR)
        if goes is None and folder:
            raise error(errno.ENOTDIR)
        if goes:
            raise error(errno.ENOTEMPTY)

    def unlink(self, name: str, at: int) -> None:
        """As ``PosixFileOps``."""
        self.calls["unlink"] += 1
        folder, last = self.parent(name, at)
        inode = self.find(folder, last)
        if inode in self.live.folders:
            raise error(errno.EISDIR, name)
        self.do(Leave(folder, last, inode))
        self.links[inode] -= 1
        self.let_go(inode)

    def remove_folder(self, name: str, at: int) -> None:
        """As ``PosixFileOps``."""
        self.calls["remove_folder"] += 1
        folder, last = self.parent(name, at)
        inode = self.find(folder, last)
        if self.names(inode):
            raise error(errno.ENOTEMPTY, name)
        self.do(Leave(folder, last, inode))
        self.links[inode] -= 1
        self.let_go(inode)

    # The port: bytes.

    def stat(self, fd: int) -> os.stat_result:
        """As ``PosixFileOps``."""
        self.calls["stat"] += 1
        return self.status(self.inode_of(fd))

    def stat_name(self, name: str, at: int) -> os.stat_result:
        """As ``PosixFileOps``."""
        self.calls["stat_name"] += 1
        return self.status(self.find(*self.parent(name, at)))

    def read_into(self, fd: int, buffer: Buffer, start: int) -> int:
        """As ``PosixFileOps``; also of a file of the system."""
        self.calls["read_into"] += 1
        view = memoryview(buffer).cast("B")
        if fd < FIRST:
            return os.preadv(fd, [view], start)
        data = self.content(fd).read(start, len(view))
        view[: len(data)] = data
        return len(data)

    def read_nowait(self, fd: int, buffer: Buffer, start: int) -> int:
        """Nothing has to be waited for."""
        return self.read_into(fd, buffer, start)

    def write_all(self, fd: int, data: Buffer, start: int, *, in_steps: bool = False) -> None:
        """As ``PosixFileOps``."""
        self.calls["write_all"] += 1
        self.content(fd)
        raw = bytes(data)
        if raw:
            self.do(Write(self.inode_of(fd), start, raw))

    def clone_range(self, source: int, fd: int, start: int, end: int) -> bool:
        """It shares no blocks."""
        return False

    def truncate(self, fd: int, size: int) -> None:
        """As ``PosixFileOps``."""
        self.calls["truncate"] += 1
        if self.content(fd).size != size:
            self.do(Cut(self.inode_of(fd), size))

    def punch_hole(self, fd: int, start: int, length: int) -> None:
        """As ``PosixFileOps``."""
        self.calls["punch_hole"] += 1
        self.content(fd)
        if length <= 0:
            raise error(errno.EINVAL)
        self.do(Punch(self.inode_of(fd), start, start + length))

    def seek_data(self, fd: int, start: int) -> int:
        """As ``PosixFileOps``."""
        self.calls["seek_data"] += 1
        return self.content(fd).next_data(start)

    def seek_hole(self, fd: int, start: int) -> int:
        """As ``PosixFileOps``."""
        self.calls["seek_hole"] += 1
        return self.content(fd).next_hole(start)

    # The port: attributes, syncs, figures.

    def getxattr(self, fd: int, name: str) -> bytes | None:
        """As ``PosixFileOps``."""
        self.calls["getxattr"] += 1
        return self.live.attributes[self.inode_of(fd)].get(name)

    def setxattr(self, fd: int, name: str, value: bytes) -> None:
        """As ``PosixFileOps``."""
        self.calls["setxattr"] += 1
        self.do(Attribute(self.inode_of(fd), name, bytes(value)))

    def removexattr(self, fd: int, name: str) -> None:
        """As ``PosixFileOps``."""
        self.calls["removexattr"] += 1
        if name in self.live.attributes[self.inode_of(fd)]:
            self.do(Attribute(self.inode_of(fd), name, None))

    def fdatasync(self, fd: int) -> None:
        """As ``PosixFileOps``."""
        self.calls["fdatasync"] += 1
        self.log.append(SyncData(self.inode_of(fd)))

    def fsync(self, fd: int) -> None:
        """As ``PosixFileOps``."""
        self.calls["fsync"] += 1
        self.log.append(Sync(self.inode_of(fd)))

    def statvfs(self, fd: int) -> os.statvfs_result:
        """As ``PosixFileOps``; there is always room."""
        self.calls["statvfs"] += 1
        free = _BLOCKS * 9 // 10
        fields = (SECTOR, SECTOR, _BLOCKS, free, free, _FILES, _FILES - 1, _FILES - 1, 0, 255)
        return os.statvfs_result(fields)

    def filesystem(self, fd: int) -> str:
        """As ``PosixFileOps``."""
        return "model"

    def touch(self, fd: int, used_s: float) -> None:
        """As ``PosixFileOps``; times are always durable here, nothing rests on them."""
        self.calls["touch"] += 1
        self.used[self.inode_of(fd)] = int(used_s * 1e9)

    def chmod(self, fd: int, mode: int) -> None:
        """As ``PosixFileOps``; modes do not matter here."""
        self.calls["chmod"] += 1

    # The port: locks.

    def lock_range(self, fd: int, start: int, length: int, *, shared: bool = False) -> bool:
        """As ``PosixFileOps``."""
        self.calls["lock_range"] += 1
        return self.locks.lock(self.inode_of(fd), fd, start, start + length, shared=shared)

    def unlock_range(self, fd: int, start: int, length: int) -> None:
        """As ``PosixFileOps``."""
        self.calls["unlock_range"] += 1
        self.locks.unlock(self.inode_of(fd), fd, start, start + length)

    def lock_folder(self, fd: int) -> bool:
        """As ``PosixFileOps``."""
        self.calls["lock_folder"] += 1
        return self.locks.lock_folder(self.inode_of(fd), fd)

    def unlock_folder(self, fd: int) -> None:
        """As ``PosixFileOps``."""
        self.calls["unlock_folder"] += 1
        self.locks.unlock_folder(self.inode_of(fd), fd)

    # The port: shared maps, which this filesystem does not have.

    def open_bell(self, name: str, at: int) -> int:
        """There are no FIFOs."""
        return self._no_maps()

    def open_ringer(self, name: str, at: int) -> int:
        """There are no FIFOs."""
        return self._no_maps()

    def map_words(self, fd: int, length: int) -> mmap.mmap:
        """There are no maps."""
        return self._no_maps()

    def ring(self, fd: int) -> None:
        """There are no FIFOs."""
        self._no_maps()

    def await_bell(self, fd: int) -> None:
        """There are no FIFOs."""
        self._no_maps()

    @staticmethod
    def _no_maps() -> NoReturn:
        raise error(errno.EOPNOTSUPP)
