"""Tables of sums: one file beside each large object, found by the inode number of its file.

``cache/+sums/@xx/<inode number>``.  The name is free as soon as the inode is, the head binds the
table to one file (inode, birth) and to one number in that file's label.  So a table that is
missing, that was swapped, copied, or left by an earlier file is simply not there, and nothing that
it says is needed to read what is cached: a doubt is a miss.

A table is in use, by a lock, as long as it is open: whoever tidies up leaves it alone.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from netcache._cachefiles.label_file import USE_BYTE
from netcache._cachefiles.layout import STORE, SUMS
from netcache._core.checksums import HEAD_BYTES, TableHead
from netcache._core.label import SUM_BYTES

if TYPE_CHECKING:
    from netcache._cachefiles.file_port import FileOps

_FOLDER = f"{STORE}/{SUMS}"


def table_folder(inode: int) -> str:
    """The folder of the table of a file, from the cache directory on."""
    return f"{_FOLDER}/@{inode & 0xFF:02x}"


def table_name(inode: int) -> str:
    """The name of the table of a file, in its folder."""
    return f"{inode:x}"


def new_number() -> int:
    """A number for a new table; never 0."""
    return int.from_bytes(os.urandom(8), "big") | 1


class SumTable:
    """An open table.  The owner serialises the calls.  ``named``: its name is durable."""

    __slots__ = ("_named", "_ops", "fd", "number")

    def __init__(self, ops: FileOps, fd: int, number: int, *, named: bool = True) -> None:
        self._ops = ops
        self.fd = fd
        self.number = number
        self._named = named

    def read(self, first: int, last: int) -> bytes:
        """The sums of blocks ``first`` up to ``last``; absent where the table ends before."""
        buffer = bytearray((last - first) * SUM_BYTES)
        self._ops.read_into(self.fd, buffer, HEAD_BYTES + first * SUM_BYTES)
        return bytes(buffer)

    def write(self, first: int, sums: bytes) -> None:
        """Set the sums of the blocks from ``first`` on."""
        self._ops.write_all(self.fd, sums, HEAD_BYTES + first * SUM_BYTES)

    def clear(self, first: int, last: int) -> None:
        """No block from ``first`` up to ``last`` is recorded any more."""
        end = self._ops.stat(self.fd).st_size
        low, high = (min(HEAD_BYTES + block * SUM_BYTES, end) for block in (first, last))
        if low < high:
            self._ops.write_all(self.fd, bytes(high - low), low)

    def cut(self, blocks: int) -> None:
        """No block from number ``blocks`` on is recorded any more."""
        end = HEAD_BYTES + blocks * SUM_BYTES
        if self._ops.stat(self.fd).st_size > end:
            self._ops.truncate(self.fd, end)

    def sync(self) -> None:
        """Make what was written durable, and the first time the table's name."""
        if self._named:
            self._ops.fdatasync(self.fd)
        else:
            self._ops.fsync(self.fd)
            self._named = True

    def close(self) -> None:
        """Let go.  Idempotent."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            self._ops.close(fd)


def open_table(ops: FileOps, root: int, head: TableHead) -> SumTable | None:
    """The table with this head, and no other; None when it is not there."""
    inode = head.binding.inode
    try:
        fd = ops.open_file(f"{table_folder(inode)}/{table_name(inode)}", root)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EISDIR, errno.ENXIO):
            return None
        raise
    try:
        raw = bytearray(HEAD_BYTES)
        if ops.read_into(fd, raw, 0) == HEAD_BYTES and raw == head.pack():
            ops.lock_range(fd, USE_BYTE, 1, shared=True)
            return SumTable(ops, fd, head.number)
    except BaseException:
        ops.close(fd)
        raise
    ops.close(fd)
    return None


def make_table(ops: FileOps, root: int, head: TableHead, *, sync: bool) -> SumTable:
    """A new empty table, in place of whatever has its name; durable with ``sync``."""
    folder, name = table_folder(head.binding.inode), table_name(head.binding.inode)
    try:
        at = ops.open_folder(folder, at=root)
    except FileNotFoundError:
        ops.make_folder(STORE, at=root)
        ops.make_folder(_FOLDER, at=root)
        ops.make_folder(folder, at=root)
        at = ops.open_folder(folder, at=root)
    try:
        fd = _open_anew(ops, name, at)
        try:
            ops.lock_range(fd, USE_BYTE, 1, shared=True)
            ops.write_all(fd, head.pack(), 0)
            if sync:
                ops.fsync(fd)
                ops.fsync(at)
        except BaseException:
            ops.close(fd)
            raise
        return SumTable(ops, fd, head.number, named=sync)
    finally:
        ops.close(at)


def _open_anew(ops: FileOps, name: str, folder: int) -> int:
    """A new file; one with this name belonged to a file that is gone, or was lost track of."""
    try:
        return ops.open_new(name, folder)
    except FileExistsError:
        ops.unlink(name, folder)
        return ops.open_new(name, folder)


def remove_table(ops: FileOps, root: int, inode: int) -> None:
    """Forget the table of a file that has no name any more.

    Whoever has it open keeps it.  What cannot be removed now is found by the next tidying up.
    """
    if not inode:
        return
    try:
        ops.unlink(f"{table_folder(inode)}/{table_name(inode)}", root)
    except OSError:
        return


@contextmanager
def table_going(ops: FileOps, root: int, inode: int, name: str, folder: int) -> Iterator[None]:
    """Inside the block the file of this inode loses its ``name`` in ``folder``; its table goes too.

    The file is open until then: as soon as it is free, its number, and so the name of its table,
    may be a new object's.  What cannot be removed now is found by the next tidying up.
    """
    fd = -1
    if inode:
        with suppress(OSError):
            ops.stat_name(f"{table_folder(inode)}/{table_name(inode)}", root)
            fd = ops.open_file(name, folder)
    try:
        yield
        if fd >= 0:
            remove_table(ops, root, inode)
    finally:
        if fd >= 0:
            ops.close(fd)
