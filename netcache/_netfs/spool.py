"""Spools: a response without a strong validator, in a private file until it is complete.

They are for versions whose validator does not join ranges (RFC 9110 15.3.7): a spool becomes a
cache object only when all of it is there.  Called as ``holding`` says.
"""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from netcache._core.extent import Extent
from netcache._netfs.private_file import copy_at, memory_file, private_file, write_at
from netcache.errors import CacheError

if TYPE_CHECKING:
    from netcache._core.coherency import Version
    from netcache._core.keys import ObjectKey
    from netcache._fscache.ports import CacheObject, CacheStore, NewObject


class SpoolHolding:
    """A private file, filled front to back by one response.  It needs no proof."""

    proves_each_read = False

    __slots__ = ("_descriptor", "_file", "_left", "_new", "_outgrown", "_written", "block_size")

    def __init__(self, store: CacheStore | None, key: ObjectKey) -> None:
        self._new: NewObject | None = None
        self._file: IO[bytes] | None = None
        # Of the private object, from when it is being published; it is the same one afterwards.
        self._descriptor = -1
        self._written = 0
        # The private object that could not be written any more; readers may still look at it.
        self._left: NewObject | None = None
        self._outgrown: list[IO[bytes]] = []
        self.block_size = 4096 if store is None else store.block_size
        if store is not None:
            try:
                self._new = store.begin(key)
            except CacheError:
                self._new = None
        if self._new is None:
            self._file = private_file(None)

    def fileno(self) -> int:
        """The descriptor of the private file; any thread, also while it is published."""
        if self._descriptor >= 0:
            return self._descriptor
        if self._new is not None:
            return self._new.fileno()
        assert self._file is not None
        return self._file.fileno()

    def prove(self, start: int, end: int) -> Extent:
        """We have written it ourselves just now."""
        return Extent(0, max(end, self._written))

    def read_whole(self, start: int, end: int) -> bytes | None:
        """Never: what is written so far is asked for."""
        return None

    def is_proven(self, start: int, end: int) -> bool:
        """Always."""
        return True

    def prove_nowait(self, start: int, end: int) -> bool:
        """Always."""
        return True

    def occupancy(self, start: int, end: int) -> list[Extent]:
        """What has been written so far."""
        return [Extent(0, self._written)] if self._written else []

    def write(self, start: int, view: memoryview) -> None:
        """Append; ``start`` must be where the last piece ended."""
        if start != self._written:
            raise CacheError(f"a spool was given bytes at {start} after {self._written}")
        try:
            if self._new is not None:
                self._new.write(view)
            else:
                write_at(self.fileno(), view, start)
        except OSError:
            # No room, or a broken disk: all of it goes elsewhere, and is not going to be cached.
            self._move(private_file(None) if self._file is None else memory_file())
            write_at(self.fileno(), view, start)
        self._written = start + len(view)

    def _move(self, file: IO[bytes]) -> None:
        """Go on with ``file``; what was there stays open for those who read from it."""
        try:
            copy_at(self.fileno(), file.fileno(), 0, self._written)
        except OSError as error:
            file.close()
            raise CacheError(f"what has come cannot be kept: {error.strerror}") from error
        if self._new is not None:
            self._left, self._new = self._new, None
        elif self._file is not None:
            self._outgrown.append(self._file)
        self._file = file

    def record(self, start: int, end: int) -> None:
        """It is there as soon as it is written."""

    def cancel(self, start: int, end: int) -> None:
        """A spool that failed is not published."""

    def publish(self, version: Version, checked_s: float) -> CacheObject | None:
        """Make the complete spool the cache object of ``version``; None without a cache.

        When that fails (``CacheError``) the private file goes on being read.
        """
        if self._new is None:
            return None
        self._descriptor = self._new.fileno()
        published = self._new.publish(version, checked_s=checked_s)
        self._new = None
        return published

    def close(self) -> None:
        """Throw the private file away (unless it was published)."""
        for new in (self._new, self._left):
            if new is not None:
                new.discard()
        self._new = self._left = None
        if self._file is not None:
            self._file.close()
        for file in self._outgrown:
            file.close()
