"""A filesystem whose locks do nothing, as some network filesystems are mounted.

Everybody would be given every lock.  So nobody is given what only a lock can give: to have an
object's file for himself.  Whoever wants to change one in place goes on with a copy; what another
boot left is not taken over; nothing is culled, for it could be in use; maps are not shared.  Claims
of extents are given to all who ask: an extent may then be fetched twice, and never wrongly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from netcache._cachefiles.label_file import USE_BYTE

if TYPE_CHECKING:
    from netcache._cachefiles.file_port import FileOps


def locks_work(ops: FileOps, name: str, folder: int) -> bool:
    """Try with a file of the cache, twice open, and with its folder.

    A lock that somebody else has just now (another process tries, too) works.
    """
    fds: list[int] = []
    folders: list[int] = []
    try:
        for _ in range(2):
            fds.append(ops.open_file(name, folder))
            folders.append(ops.open_folder(".", at=folder))
        files = ops.lock_range(fds[0], 0, 1) and ops.lock_range(fds[1], 0, 1)
        return not files and not (ops.lock_folder(folders[0]) and ops.lock_folder(folders[1]))
    finally:
        for fd in (*fds, *folders):
            ops.close(fd)


class Lockless:
    """A ``FileOps`` that does not trust the locks of the one it is given."""

    holds_locks = False

    def __init__(self, inner: FileOps) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def lock_range(self, fd: int, start: int, length: int, *, shared: bool = False) -> bool:
        """All but the exclusive use of an object."""
        return shared or start != USE_BYTE

    def unlock_range(self, fd: int, start: int, length: int) -> None:
        """There is nothing to undo."""

    def lock_folder(self, fd: int) -> bool:
        """As if it worked: names are taken by rename, one or the other."""
        return True

    def unlock_folder(self, fd: int) -> None:
        """There is nothing to undo."""


def without_locks(ops: FileOps) -> FileOps:
    """``ops``, with its locks not trusted."""
    return cast("FileOps", Lockless(ops))
