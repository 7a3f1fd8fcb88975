"""How the failures of system calls are told: as ``CacheError`` or ``NoSpaceError``.

ENOSPC and EDQUOT are want of room.  EIO means that the disk is failing: the store is dead from
then on, for this process (the kernel's state E).  Anything else fails the one operation.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from types import TracebackType
from typing import Protocol

from netcache._core.label import LabelError
from netcache._fscache.ports import NoSpaceError
from netcache.errors import CacheError, NetCacheError

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class Mortal(Protocol):
    """What may die of an I/O error."""

    dead: bool


class told_as_cache_errors:
    """Translate errors inside the block; ``undo`` is given the error first."""

    __slots__ = ("_bound", "_undo")

    def __init__(self, bound: Mortal, undo: Callable[[OSError], None] | None = None) -> None:
        self._bound = bound
        self._undo = undo

    def __enter__(self) -> None:
        if self._bound.dead:
            raise CacheError("the cache is out of use: it was withdrawn, or its disk failed")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None or isinstance(error, NetCacheError):
            return
        if isinstance(error, LabelError):
            raise CacheError(f"a cache object became stale ({error})") from error
        if not isinstance(error, OSError):
            return
        if self._undo is not None:
            try:
                self._undo(error)
            except OSError:
                self._bound.dead = True
        if error.errno in _NO_ROOM:
            raise NoSpaceError(f"no room in the cache: {error.strerror}") from error
        if error.errno == errno.EIO:
            self._bound.dead = True
        raise CacheError(f"the cache failed: {error.strerror or error}") from error
