"""A complete filesystem in memory behind the port ``FileOps``, which logs all that was asked of it.

What it shows is what a running system shows: everything that was done.  What a crash leaves is
decided afterwards, from the log (``crash_disk``, ``crash_states``).  Its files are of this model
only: descriptors begin at ``FIRST``, and no other system call knows them.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import Counter
from typing import TYPE_CHECKING, NoReturn, cast

from tests.support.crash_content import SECTOR, Content
from tests.support.crash_image import Image
from tests.support.crash_locks import Locks
from tests.support.crash_ops import (
    ROOT,
    Attribute,
    Change,
    Cut,
    Enter,
    Entry,
    Inode,
    Leave,
    Move,
    Note,
    Punch,
    Settle,
    Sync,
    SyncData,
    Write,
)

if TYPE_CHECKING:
    import mmap

    from typing_extensions import Buffer

    from netcache._cachefiles.fileops import FileOps

FIRST = 1_000_000
"""The lowest descriptor of a model."""

_BLOCKS = 1 << 24
_FILES = 1 << 20


class CrashFileOps:
    """A running system with one filesystem.  Not for threads: all calls come from one.

    ``boot`` and ``mount`` name the epoch.  ``nameless`` False: without O_TMPFILE.  New inodes
    have numbers from ``next_inode`` on.
    """

    def __init__(
        self,
        image: Image | None = None,
        *,
        boot: int = 1,
        mount: int = 1,
        nameless: bool = True,
        next_inode: int = ROOT + 1,
    ) -> None:
        self.boot, self.mount, self.nameless = boot, mount, nameless
        self.live = image.copy() if image is not None else Image()
        self.log: list[Entry] = []
        self.calls: Counter[str] = Counter()
        self.open: dict[int, int] = {}
        self._next_fd = FIRST
        self.next_inode = max(next_inode, *self.live.inodes) + 1
        self._links = Counter(
            number for names in self.live.folders.values() for number in names.values()
        )
        self._used: dict[int, int] = {}
        self._locks = Locks()

    # For tests.

    @property
    def fileops(self) -> FileOps:
        """This model as what ``bind`` takes."""
        return cast("FileOps", self)

    def note(self, what: object) -> None:
        """Write into the log what is known at this moment."""
        self.log.append(Note(what))

    def settle(self) -> None:
        """Let time pass: the filesystem writes everything back by itself."""
        self.log.append(Settle())

    def _do(self, change: Change) -> None:
        self.log.append(change)
        self.live.apply(change)

    # Descriptors and names.

    def _new_fd(self, inode: int) -> int:
        self._next_fd += 1
        self.open[self._next_fd] = inode
        return self._next_fd

    def _inode(self, fd: int) -> int:
        try:
            return self.open[fd]
        except KeyError:
            raise _error(errno.EBADF, str(fd)) from None

    def _content(self, fd: int) -> Content:
        content = self.live.files.get(self._inode(fd))
        if content is None:
            raise _error(errno.EISDIR)
        return content

    def _names(self, inode: int) -> dict[str, int]:
        names = self.live.folders.get(inode)
        if names is None:
            raise _error(errno.ENOTDIR)
        return names

    def _parent(self, path: str, at: int | None) -> tuple[int, str]:
        """The folder of a path's last part, and that part."""
        *parts, last = [part for part in path.split("/") if part not in ("", ".")] or ["."]
        inode = ROOT if at is None or path.startswith("/") else self._inode(at)
        for part in parts:
            inode = self._find(inode, part)
        return inode, last

    def _find(self, folder: int, name: str) -> int:
        if name == ".":
            return folder
        try:
            return self._names(folder)[name]
        except KeyError:
            raise _error(errno.ENOENT, name) from None

    def _make(self, *, folder: bool) -> int:
        number, self.next_inode = self.next_inode, self.next_inode + 1
        self.live.add(Inode(number, folder=folder))
        return number

    def _enter(self, folder: int, name: str, inode: int) -> None:
        self._do(Enter(folder, name, inode))
        self._links[inode] += 1

    # The port: who we are.

    def boot_id(self) -> bytes:
        """16 bytes that are others after a reboot."""
        self.calls["boot_id"] += 1
        return self.boot.to_bytes(16, "big")

    def mount_id(self, fd: int) -> int:
        """Another number after another mount."""
        self.calls["mount_id"] += 1
        return self.mount

    def birth(self, fd: int) -> int:
        """When the inode was made; stays through crashes."""
        self.calls["birth"] += 1
        return self.live.inodes[self._inode(fd)].born_ns

    # The port: opening.

    def open_folder(self, path: str, *, at: int | None = None) -> int:
        """As ``PosixFileOps``."""
        self.calls["open_folder"] += 1
        inode = self._find(*self._parent(path, at))
        self._names(inode)
        return self._new_fd(inode)

    def open_file(self, name: str, at: int) -> int:
        """As ``PosixFileOps``."""
        self.calls["open_file"] += 1
        inode = self._find(*self._parent(name, at))
        if inode in self.live.folders:
            raise _error(errno.EISDIR, name)
        return self._new_fd(inode)

    def open_new(self, name: str, at: int) -> int:
        """As ``PosixFileOps``."""
        self.calls["open_new"] += 1
        folder, last = self._parent(name, at)
        if last in self._names(folder):
            raise _error(errno.EEXIST, name)
        inode = self._make(folder=False)
        self._enter(folder, last, inode)
        return self._new_fd(inode)

    def open_tmpfile(self, at: int) -> int:
        """As ``PosixFileOps``."""
        self.calls["open_tmpfile"] += 1
        self._names(self._inode(at))
        if not self.nameless:
            raise _error(errno.EOPNOTSUPP)
        return self._new_fd(self._make(folder=False))

    def open_shared(self, name: str, at: int) -> int:
        """As ``PosixFileOps``."""
        folder, last = self._parent(name, at)
        if last in self._names(folder):
            return self.open_file(name, at)
        return self.open_new(name, at)

    def open_again(self, fd: int) -> int:
        """As ``PosixFileOps``."""
        self.calls["open_again"] += 1
        return self._new_fd(self._inode(fd))

    def close(self, fd: int) -> None:
        """As ``PosixFileOps``."""
        self.calls["close"] += 1
        self._locks.release(self._inode(fd), fd)
        del self.open[fd]

    # The port: names.

    def make_folder(self, path: str, *, at: int | None = None) -> None:
        """As ``PosixFileOps``."""
        self.calls["make_folder"] += 1
        folder, last = self._parent(path, at)
        if last not in self._names(folder):
            self._enter(folder, last, self._make(folder=True))

    def list_folder(self, fd: int) -> list[str]:
        """As ``PosixFileOps``."""
        self.calls["list_folder"] += 1
        return list(self._names(self._inode(fd)))

    def link(self, fd: int, name: str, at: int) -> None:
        """As ``PosixFileOps``."""
        self.calls["link"] += 1
        folder, last = self._parent(name, at)
        if last in self._names(folder):
            raise _error(errno.EEXIST, name)
        self._enter(folder, last, self._inode(fd))

    def rename(self, old: str, old_at: int, new: str, new_at: int) -> None:
        """As ``PosixFileOps``."""
        self.calls["rename"] += 1
        folder, last = self._parent(old, old_at)
        new_folder, new_last = self._parent(new, new_at)
        inode = self._find(folder, last)
        over = self._names(new_folder).get(new_last)
        if over == inode:
            return
        if over is not None:
            self._may_replace(over, inode)
            self._links[over] -= 1
        self._do(Move(folder, last, new_folder, new_last, inode))

    def _may_replace(self, over: int, inode: int) -> None:
        folder, goes = inode in self.live.folders, self.live.folders.get(over)
        if goes is not None and not folder:
            raise _error(errno.EISDIR)
        if goes is None and folder:
            raise _error(errno.ENOTDIR)
        if goes:
            raise _error(errno.ENOTEMPTY)

    def unlink(self, name: str, at: int) -> None:
        """As ``PosixFileOps``."""
        self.calls["unlink"] += 1
        folder, last = self._parent(name, at)
        inode = self._find(folder, last)
        if inode in self.live.folders:
            raise _error(errno.EISDIR, name)
        self._do(Leave(folder, last, inode))
        self._links[inode] -= 1

    def remove_folder(self, name: str, at: int) -> None:
        """As ``PosixFileOps``."""
        self.calls["remove_folder"] += 1
        folder, last = self._parent(name, at)
        inode = self._find(folder, last)
        if self._names(inode):
            raise _error(errno.ENOTEMPTY, name)
        self._do(Leave(folder, last, inode))
        self._links[inode] -= 1

    # The port: bytes.

    def stat(self, fd: int) -> os.stat_result:
        """As ``PosixFileOps``."""
        self.calls["stat"] += 1
        return self._stat(self._inode(fd))

    def stat_name(self, name: str, at: int) -> os.stat_result:
        """As ``PosixFileOps``."""
        self.calls["stat_name"] += 1
        return self._stat(self._find(*self._parent(name, at)))

    def _stat(self, inode: int) -> os.stat_result:
        content = self.live.files.get(inode)
        links = self._links[inode] if inode != ROOT else 1
        if content is None:
            mode, size, allocated = stat.S_IFDIR | 0o700, 0, SECTOR
            links = 2 if links else 0
        else:
            mode, size, allocated = stat.S_IFREG | 0o600, content.size, content.allocated
        used_ns = self._used.get(inode, 0)
        fields = (mode, inode, 1, links, os.getuid(), os.getgid(), size, used_ns // 10**9, 0, 0)
        more = {"st_blksize": SECTOR, "st_blocks": allocated // 512, "st_atime_ns": used_ns}
        return os.stat_result(fields, more)

    def read_into(self, fd: int, buffer: Buffer, start: int) -> int:
        """As ``PosixFileOps``."""
        self.calls["read_into"] += 1
        view = memoryview(buffer).cast("B")
        data = self._content(fd).read(start, len(view))
        view[: len(data)] = data
        return len(data)

    def write_all(self, fd: int, data: Buffer, start: int) -> None:
        """As ``PosixFileOps``."""
        self.calls["write_all"] += 1
        self._content(fd)
        raw = bytes(data)
        if raw:
            self._do(Write(self._inode(fd), start, raw))

    def copy_range(self, source: int, fd: int, start: int, end: int) -> int:
        """As ``PosixFileOps``; the source is a file of the system or of the model."""
        if source < FIRST:
            data = os.pread(source, end - start, start)
        else:
            data = self._content(source).read(start, end - start)
        self.write_all(fd, data, start)
        return start + len(data)

    def truncate(self, fd: int, size: int) -> None:
        """As ``PosixFileOps``."""
        self.calls["truncate"] += 1
        if self._content(fd).size != size:
            self._do(Cut(self._inode(fd), size))

    def punch_hole(self, fd: int, start: int, length: int) -> None:
        """As ``PosixFileOps``."""
        self.calls["punch_hole"] += 1
        self._content(fd)
        if length <= 0:
            raise _error(errno.EINVAL)
        self._do(Punch(self._inode(fd), start, start + length))

    def seek_data(self, fd: int, start: int) -> int:
        """As ``PosixFileOps``."""
        self.calls["seek_data"] += 1
        return self._content(fd).next_data(start)

    def seek_hole(self, fd: int, start: int) -> int:
        """As ``PosixFileOps``."""
        self.calls["seek_hole"] += 1
        return self._content(fd).next_hole(start)

    # The port: attributes, syncs, figures.

    def getxattr(self, fd: int, name: str) -> bytes | None:
        """As ``PosixFileOps``."""
        self.calls["getxattr"] += 1
        return self.live.attributes[self._inode(fd)].get(name)

    def setxattr(self, fd: int, name: str, value: bytes) -> None:
        """As ``PosixFileOps``."""
        self.calls["setxattr"] += 1
        self._do(Attribute(self._inode(fd), name, bytes(value)))

    def removexattr(self, fd: int, name: str) -> None:
        """As ``PosixFileOps``."""
        self.calls["removexattr"] += 1
        if name in self.live.attributes[self._inode(fd)]:
            self._do(Attribute(self._inode(fd), name, None))

    def fdatasync(self, fd: int) -> None:
        """As ``PosixFileOps``."""
        self.calls["fdatasync"] += 1
        self.log.append(SyncData(self._inode(fd)))

    def fsync(self, fd: int) -> None:
        """As ``PosixFileOps``."""
        self.calls["fsync"] += 1
        self.log.append(Sync(self._inode(fd)))

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
        self._used[self._inode(fd)] = int(used_s * 1e9)

    def chmod(self, fd: int, mode: int) -> None:
        """As ``PosixFileOps``; modes do not matter here."""
        self.calls["chmod"] += 1

    # The port: locks.

    def lock_range(self, fd: int, start: int, length: int, *, shared: bool = False) -> bool:
        """As ``PosixFileOps``."""
        self.calls["lock_range"] += 1
        return self._locks.lock(self._inode(fd), fd, start, start + length, shared=shared)

    def unlock_range(self, fd: int, start: int, length: int) -> None:
        """As ``PosixFileOps``."""
        self.calls["unlock_range"] += 1
        self._locks.unlock(self._inode(fd), fd, start, start + length)

    def lock_folder(self, fd: int) -> bool:
        """As ``PosixFileOps``."""
        self.calls["lock_folder"] += 1
        return self._locks.lock_folder(self._inode(fd), fd)

    def unlock_folder(self, fd: int) -> None:
        """As ``PosixFileOps``."""
        self.calls["unlock_folder"] += 1
        self._locks.unlock_folder(self._inode(fd), fd)

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
        raise _error(errno.EOPNOTSUPP)


def _error(number: int, name: str = "") -> OSError:
    return OSError(number, os.strerror(number), name)
