"""Target files: local files that appear under their name only when they are complete.

The bytes go to a file without a name in the target's folder (``O_TMPFILE``), so that a killed
process leaves nothing; where the filesystem has none, to a hidden one that is removed on failure.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING

from netcache._cachefiles.fileops import LARGE_WRITE_BYTES
from netcache._client.items import not_replaced
from netcache._fscache.copying import copy_range
from netcache.errors import CacheError

if TYPE_CHECKING:
    from netcache._cachefiles.allocating import LargeWrites

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_MODES = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)
_NO_TMPFILE = (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL)


async def begin_target(path: str) -> TargetFile:
    """A ``TargetFile``, opened in a worker thread; none is left when the caller is cancelled."""
    # Here, for a short command makes a target without a loop (``get_here``).
    import asyncio

    from netcache._finishing import finished

    opening = asyncio.get_running_loop().run_in_executor(None, TargetFile, path)
    try:
        return await finished(opening)
    except asyncio.CancelledError:
        if opening.exception() is None:
            opening.result().discard()
        raise


class TargetFile:
    """A file being made at ``path``.  Every method may block on the disk."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._folder = os.path.dirname(path) or "."
        self._hidden: str | None = None
        self._large: LargeWrites | None = None
        self._fd = self._open()

    def _open(self) -> int:
        flag = getattr(os, "O_TMPFILE", 0)
        if flag:
            try:
                return os.open(self._folder, flag | os.O_RDWR | os.O_CLOEXEC, 0o666)
            except OSError as error:
                if error.errno not in _NO_TMPFILE or not os.path.isdir(self._folder):
                    raise
        self._hidden = self._hidden_name()
        return os.open(self._hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)

    def _hidden_name(self) -> str:
        name = f".netcache-{os.urandom(8).hex()}.part"
        return os.path.join(self._folder, name)

    def fileno(self) -> int:
        """The descriptor."""
        return self._fd

    def write(self, start: int, view: memoryview) -> None:
        """Write all of ``view`` at ``start``."""
        if len(view) >= LARGE_WRITE_BYTES:
            self._large_writes().write(self._fd, view, start)
            return
        while len(view):
            count = os.pwrite(self._fd, view, start)
            view, start = view[count:], start + count

    def copy_from(self, source: int, start: int, end: int) -> None:
        """Copy ``[start, end)`` of the file ``source`` to the same place."""
        if end - start >= LARGE_WRITE_BYTES:
            # For no more than is there to be copied: sizes are only said.
            self._large_writes().make_room(self._fd, start, end - start)
        if copy_range(source, self._fd, start, end) < end:
            raise OSError(errno.EIO, "the cached copy became shorter while it was copied")

    def _large_writes(self) -> LargeWrites:
        from netcache._cachefiles.allocating import LargeWrites

        if self._large is None:
            self._large = LargeWrites()
        return self._large

    def take_from(self, source: int, start: int, end: int) -> None:
        """``copy_from`` a file of the cache; ``CacheError`` when it may be that which fails.

        The kernel does not tell which of the two disks did: if it was ours, the next write does.
        """
        try:
            self.copy_from(source, start, end)
        except OSError as error:
            if error.errno in _NO_ROOM:
                raise
            raise CacheError(f"the cache failed: {error.strerror or error}") from error

    def finish(self, size: int | None, mtime_s: float | None) -> None:
        """Make it ``size`` bytes long (None: as it is), give it its time and its name; close it.

        It replaces a file, whose permissions it takes over, or a symbolic link that has the name;
        a folder is refused, and so is what is special.
        """
        if size is not None:
            os.ftruncate(self._fd, size)
        if mtime_s is not None:
            os.utime(self._fd, (mtime_s, mtime_s))
        try:
            self._publish()
        finally:
            self.discard()

    def _publish(self) -> None:
        is_nameless = self._hidden is None
        if is_nameless and self._link(self.path):
            return
        self._follow_what_is_there()
        if is_nameless:
            # There is no link that replaces.
            hidden = self._hidden_name()
            while not self._link(hidden):
                hidden = self._hidden_name()
            self._hidden = hidden
        assert self._hidden is not None
        os.replace(self._hidden, self.path)
        self._hidden = None

    def _link(self, name: str) -> bool:
        """Name the nameless file; False when something has the name."""
        source = f"/proc/self/fd/{self._fd}"
        try:
            # src_dir_fd, of no meaning beside an absolute path, makes Python call linkat, with the
            # flag that follows the link in procfs.
            os.link(source, name, src_dir_fd=self._fd, follow_symlinks=True)
        except FileExistsError:
            return False
        return True

    def _follow_what_is_there(self) -> None:
        """Take over the permissions of a file; refuse to replace what is special."""
        try:
            mode = os.lstat(self.path).st_mode
        except FileNotFoundError:
            return
        if stat.S_ISREG(mode):
            try:
                os.fchmod(self._fd, mode & 0o777)
            except OSError as error:
                # Where files have no permissions of their own, none can be given.
                if error.errno not in _NO_MODES:
                    raise
        elif not (stat.S_ISLNK(mode) or stat.S_ISDIR(mode)):
            raise not_replaced(self.path)

    def discard(self) -> None:
        """Close it, and leave nothing of it unless it was finished.  Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        if self._hidden is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._hidden)
            self._hidden = None


def place_file(path: str, source: int, size: int, mtime_s: float | None) -> None:
    """A file at ``path`` with the first ``size`` bytes of the file ``source`` of the cache.

    Raises ``CacheError`` when it may be that which fails.
    """
    target = TargetFile(path)
    try:
        target.take_from(source, 0, size)
        target.finish(size, mtime_s)
    finally:
        target.discard()


def place_bytes(path: str, data: bytes, mtime_s: float | None) -> None:
    """A file at ``path`` with these bytes."""
    target = TargetFile(path)
    try:
        target.write(0, memoryview(data))
        target.finish(None, mtime_s)
    finally:
        target.discard()
