"""How the failures of system calls are told: as ``CacheError`` or ``NoSpaceError``.

=========================  ======================================================================
ENOSPC, EDQUOT             want of room: fails the one operation
EIO and its like           the disk is failing, or gone: the store withdraws (the kernel's state E)
ENOENT, directory removed  the store withdraws
anything else              fails the one operation
=========================  ======================================================================

Whatever happens is told to the store's ``on_trouble``, on one line.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from types import TracebackType
from typing import Protocol

from netcache._core.label import LabelError, Why
from netcache.errors import CacheError, NetCacheError, NoSpaceError

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_NOTHING_THERE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
_NOT_AN_OBJECT = (errno.ELOOP, errno.ENXIO, errno.ENODEV)
_BROKEN = frozenset(
    {errno.EIO, errno.ENXIO, errno.ENODEV, errno.ESTALE, errno.ENOTCONN, errno.ESHUTDOWN}
    # How ext4, XFS and btrfs call structures and sums that are wrong.
    | {getattr(errno, "EUCLEAN", errno.EIO), errno.EBADMSG, getattr(errno, "EREMOTEIO", errno.EIO)}
)


class Mortal(Protocol):
    """What may die of an error."""

    dead: bool

    def die(self, error: CacheError) -> None:
        """Be of no use from now on."""

    def tell(self, error: CacheError) -> None:
        """Say that an operation failed."""

    def is_removed(self) -> bool:
        """Whether the directory is not there any more."""


def out_of_use() -> CacheError:
    """What every call on a dead store raises."""
    return CacheError("the cache is out of use: it was withdrawn, or its disk failed")


class told_as_cache_errors:
    """Translate errors inside the block; ``undo`` is given the error first.

    Entering and leaving it costs as much as a small system call.  Where that counts, the block is
    tried, and what it raises is raised once more inside one of these.
    """

    __slots__ = ("_bound", "_undo")

    def __init__(self, bound: Mortal, undo: Callable[[OSError], None] | None = None) -> None:
        self._bound = bound
        self._undo = undo

    def __enter__(self) -> None:
        if self._bound.dead:
            raise out_of_use()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            return
        if isinstance(error, NoSpaceError):
            self._bound.tell(error)
        if isinstance(error, NetCacheError):
            return
        if isinstance(error, LabelError):
            raise CacheError(f"a cache object became stale ({error})") from error
        if not isinstance(error, OSError):
            return
        broken = error.errno in _BROKEN
        if self._undo is not None:
            try:
                self._undo(error)
            except OSError:
                broken = True
        raise self._told(error, broken) from error

    def _told(self, error: OSError, broken: bool) -> CacheError:
        bound, why = self._bound, error.strerror or str(error)
        told = CacheError(f"the cache failed: {why}")
        if error.errno in _NO_ROOM:
            told = NoSpaceError(f"no room in the cache: {why}")
        elif error.errno in (errno.ENOENT, errno.ENOTDIR) and bound.is_removed():
            broken, told = True, CacheError("the cache directory was removed while it was in use")
        told.__cause__ = error
        if broken:
            bound.die(told)
        else:
            bound.tell(told)
        return told


def as_a_miss(error: OSError | LabelError) -> None:
    """What opening an object raised: returns when there is just none that can be used, else raises
    what is the matter."""
    if isinstance(error, OSError):
        if not isinstance(error, _NOTHING_THERE) and error.errno not in _NOT_AN_OBJECT:
            raise error
    elif error.why is Why.NEWER:
        raise CacheError("an object has a newer format than this version knows") from error
