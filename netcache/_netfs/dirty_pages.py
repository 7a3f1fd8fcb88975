"""Dirty pages: the bytes of an edited file that the server does not have yet.

They lie at their own offsets in a private file, so that the page cache holds them as long as there
is memory and the disk when there is not.  The file has no name, or it is an entry's in the journal.
What is known of them is three sets of extents:

* ``valid``: the private file has the bytes as the file's users are to see them;
* ``dirty``: valid, and not on its way to the server;
* ``flying``: under writeback.  A write makes a part of it dirty again, and that is sent again.

Stable pages: an upload sends a copy taken at its submission, so no write waits for one and no byte
changes under a digest (reference 7.5, the snapshot variant).

Not thread-safe: the file that owns it holds its lock.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from typing import IO

from netcache._core.extent import Extent, ExtentSet, round_out

_COPY_BYTES = 1 << 20


def private_file(folder: str | None) -> IO[bytes]:
    """A file without a name, in ``folder`` or where temporary files go."""
    return tempfile.TemporaryFile(prefix="netcache-", dir=folder, buffering=0)


class DirtyPages:
    """The private bytes of one edited file; every method may block on the disk."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.valid = ExtentSet()
        self.dirty = ExtentSet()
        self.flying = ExtentSet()
        self.dirty_bytes = 0
        self.flying_bytes = 0

    @property
    def unsent_bytes(self) -> int:
        """How much the server does not have."""
        return self.dirty_bytes + self.flying_bytes

    def write(self, start: int, view: memoryview) -> None:
        """Put ``view`` at ``start``: valid and dirty."""
        self._put(start, view)
        self.mark_dirty(start, start + len(view))

    def mark_dirty(self, start: int, end: int) -> None:
        """``[start, end)``, which is valid, has to be sent."""
        known = sum(extent.length for extent in self.dirty.within(start, end))
        self.dirty_bytes += end - start - known
        self.dirty.add(start, end)

    def fill(self, start: int, data: bytes | bytearray | memoryview) -> None:
        """Take the server's bytes at ``start`` where nothing newer is."""
        view = memoryview(data)
        for gap in self.valid.missing(start, start + len(view)):
            self._put(gap.start, view[gap.start - start : gap.end - start])

    def zero(self, start: int, end: int) -> None:
        """``[start, end)`` is zeros where nothing is known of it."""
        for gap in self.valid.missing(start, end):
            for low in range(gap.start, gap.end, _COPY_BYTES):
                self._put(low, memoryview(bytes(min(_COPY_BYTES, gap.end - low))))

    def _put(self, start: int, view: memoryview) -> None:
        position = start
        while len(view):
            count = os.pwrite(self._file.fileno(), view, position)
            view, position = view[count:], position + count
        self.valid.add(start, position)

    def read_into(self, view: memoryview, start: int) -> None:
        """Read valid bytes."""
        while len(view):
            count = os.preadv(self._file.fileno(), [view], start)
            if not count:
                raise OSError(f"the private file of an edited file ends at {start}")
            view, start = view[count:], start + count

    def truncate(self, size: int) -> None:
        """Nothing at or past ``size`` is known or to be sent any more (T12, T13)."""
        os.ftruncate(self._file.fileno(), size)
        for extents in (self.valid, self.dirty, self.flying):
            extents.remove(size, 1 << 62)
        self._count()

    # Writeback.

    def take_dirty(self, block: int, size: int) -> list[Extent]:
        """Begin a writeback of all that is dirty: it is flying now.

        Extents are rounded out to ``block`` where the bytes around them are known.
        """
        for extent in self.dirty:
            wide = round_out(extent, block).clip(0, size)
            if self.valid.covers(*wide):
                extent = wide
            self.flying.add(*extent)
        self.dirty.clear()
        self._count()
        return list(self.flying)

    def snapshot(self, extent: Extent) -> bytearray:
        """A copy of the bytes of a flying extent, as they are now."""
        data = bytearray(extent.length)
        self.read_into(memoryview(data), extent.start)
        return data

    def landed(self, extents: Iterable[Extent]) -> None:
        """The server has these; what was written meanwhile stays dirty."""
        for extent in extents:
            self.flying.remove(*extent)
        self._count()

    def redirty(self) -> None:
        """The writeback ended early: all that is still flying is dirty again."""
        for extent in self.flying:
            self.dirty.add(*extent)
        self.flying.clear()
        self._count()

    def forget(self, extents: Iterable[Extent]) -> None:
        """These can be had from elsewhere now: keep of them only what is to be sent."""
        for extent in extents:
            for low, high in self._clean_parts(extent):
                self.valid.remove(low, high)
        if not self.valid and not self._file.closed:
            os.ftruncate(self._file.fileno(), 0)

    def _clean_parts(self, extent: Extent) -> list[Extent]:
        busy = ExtentSet(self.dirty.within(*extent))
        for flying in self.flying.within(*extent):
            busy.add(*flying)
        return busy.missing(*extent)

    def adopt(self, extents: Iterable[Extent]) -> None:
        """The file has these already: valid, and to be sent."""
        for extent in extents:
            self.valid.add(*extent)
            self.dirty.add(*extent)
        self._count()

    def _count(self) -> None:
        self.dirty_bytes = self.dirty.total_bytes
        self.flying_bytes = self.flying.total_bytes

    def close(self) -> None:
        """Throw everything away.  Idempotent."""
        self._file.close()
