"""A running system of the crash model: what it shows, who has what open, and the log of it all."""

from __future__ import annotations

import errno
import heapq
import os
import stat
from collections import Counter

from tests.support.crash_content import SECTOR, Content
from tests.support.crash_image import Image
from tests.support.crash_locks import Locks
from tests.support.crash_ops import ROOT, Change, Enter, Entry, Inode, Note, Settle

FIRST = 1_000_000
"""The lowest descriptor of a model."""


class System:
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
        shown = {inode.shown for inode in self.live.inodes.values()}
        self._free = [number for number in range(1, max(shown) + 2) if number not in shown]
        self.links = Counter(
            number for names in self.live.folders.values() for number in names.values()
        )
        self.used: dict[int, int] = {}
        self.locks = Locks()

    # For tests.

    def note(self, what: object) -> None:
        """Write into the log what is known at this moment."""
        self.log.append(Note(what))

    def settle(self) -> None:
        """Let time pass: the filesystem writes everything back by itself."""
        self.log.append(Settle())

    def do(self, change: Change) -> None:
        """Make a change, and log it."""
        self.log.append(change)
        self.live.apply(change)

    # Descriptors and names.

    def new_fd(self, inode: int) -> int:
        """A new open file description."""
        self._next_fd += 1
        self.open[self._next_fd] = inode
        return self._next_fd

    def inode_of(self, fd: int) -> int:
        """What a descriptor is open on."""
        try:
            return self.open[fd]
        except KeyError:
            raise error(errno.EBADF, str(fd)) from None

    def content(self, fd: int) -> Content:
        """The bytes of an open file."""
        content = self.live.files.get(self.inode_of(fd))
        if content is None:
            raise error(errno.EISDIR)
        return content

    def names(self, inode: int) -> dict[str, int]:
        """The names in a folder."""
        names = self.live.folders.get(inode)
        if names is None:
            raise error(errno.ENOTDIR)
        return names

    def parent(self, path: str, at: int | None) -> tuple[int, str]:
        """The folder of a path's last part, and that part."""
        if at is not None and "/" not in path and path not in ("", "."):
            return self.inode_of(at), path
        *parts, last = [part for part in path.split("/") if part not in ("", ".")] or ["."]
        inode = ROOT if at is None or path.startswith("/") else self.inode_of(at)
        for part in parts:
            inode = self.find(inode, part)
        return inode, last

    def find(self, folder: int, name: str) -> int:
        """What a name stands for."""
        if name == ".":
            return folder
        try:
            return self.names(folder)[name]
        except KeyError:
            raise error(errno.ENOENT, name) from None

    def make(self, *, folder: bool) -> int:
        """A new inode without a name."""
        number, self.next_inode = self.next_inode, self.next_inode + 1
        shown = heapq.heappop(self._free)
        if not self._free:
            self._free.append(shown + 1)
        self.live.add(Inode(number, folder=folder, shown=shown))
        return number

    def let_go(self, inode: int) -> None:
        """The inode lost a name or a descriptor; without both, its number is free."""
        if not self.links[inode] and inode not in self.open.values():
            heapq.heappush(self._free, self.live.inodes[inode].shown)

    def enter(self, folder: int, name: str, inode: int) -> None:
        """Give an inode a name."""
        self.do(Enter(folder, name, inode))
        self.links[inode] += 1

    def status(self, inode: int) -> os.stat_result:
        """``stat`` of an inode."""
        content = self.live.files.get(inode)
        links = self.links[inode] if inode != ROOT else 1
        if content is None:
            mode, size, allocated = stat.S_IFDIR | 0o700, 0, SECTOR
            links = 2 if links else 0
        else:
            mode, size, allocated = stat.S_IFREG | 0o600, content.size, content.allocated
        used_ns = self.used.get(inode, 0)
        shown = self.live.inodes[inode].shown
        fields = (mode, shown, 1, links, os.getuid(), os.getgid(), size, used_ns // 10**9, 0, 0)
        more = {"st_blksize": SECTOR, "st_blocks": allocated // 512, "st_atime_ns": used_ns}
        return os.stat_result(fields, more)


def error(number: int, name: str = "") -> OSError:
    """The error of a system call, of the class that Python gives it."""
    return OSError(number, os.strerror(number), name)
