"""Dirty pages: the bytes of an edited file that the server does not have yet.

They lie at their own offsets in a private file, so that the page cache holds them as long as there
is memory and the disk when there is not.  The file has no name, or it is an entry's in the journal.
What the disk does
not take is kept in memory (``spilled``), and goes back to it when that is asked for.
What is known of them is four sets of extents:

* ``valid``: the private file has the bytes as the file's users are to see them;
* ``dirty``: valid, and not on its way to the server;
* ``spilled``: where the bytes of ``valid`` are not in the file but in memory;
* ``flying``: under writeback.  A write makes a part of it dirty again, and that is sent again.

Stable pages: an upload sends a copy taken at its submission, so no write waits for one and no byte
changes under a digest.

Not thread-safe: the file that owns it holds its lock.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from typing import IO

from netcache._core.extent import Extent, ExtentSet, round_out
from netcache._netfs.private_file import copy_at, memory_file, read_at, write_at
from netcache.errors import CacheError

_COPY_BYTES = 1 << 20


class DirtyPages:
    """The private bytes of one edited file; every method may block on the disk."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._memory: IO[bytes] | None = None
        self.spilled = ExtentSet()
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
        end = start + len(view)
        try:
            write_at(self._file.fileno(), view, start)
            self.spilled.remove(start, end)
        except OSError:
            write_at(self._in_memory(), view, start)
            self.spilled.add(start, end)
        self.valid.add(start, end)

    def _in_memory(self) -> int:
        if self._memory is None:
            self._memory = memory_file()
        return self._memory.fileno()

    def read_into(self, view: memoryview, start: int) -> None:
        """Read valid bytes; ``CacheError`` when the disk does not give them back."""
        end = start + len(view)
        try:
            for gap in self.spilled.missing(start, end):
                read_at(self._file.fileno(), view[gap.start - start : gap.end - start], gap.start)
            for part in self.spilled.within(start, end):
                read_at(self._in_memory(), view[part.start - start : part.end - start], part.start)
        except OSError as error:
            raise CacheError(
                f"what was written at [{start}, {end}) cannot be read back ({error.strerror})"
            ) from error

    def spill(self) -> None:
        """The disk failed to make the file durable: have everything unsent in memory as well.

        The kernel takes what it could not write for written: only writing it again is of use.
        """
        for extents in (self.dirty, self.flying):
            for extent in extents:
                for part in self.spilled.missing(*extent):
                    copy_at(self._file.fileno(), self._in_memory(), *part)
                    self.spilled.add(*part)

    def unspill(self) -> None:
        """Have everything in the file again; ``OSError`` when it does not take it."""
        for extent in list(self.spilled):
            copy_at(self._in_memory(), self._file.fileno(), *extent)
            self.spilled.remove(*extent)
        self._shrink()

    def truncate(self, size: int) -> None:
        """Nothing at or past ``size`` is known or to be sent any more (T12, T13)."""
        with contextlib.suppress(OSError):
            # Only for the room: what is not valid is never looked at.
            os.ftruncate(self._file.fileno(), size)
        for extents in (self.valid, self.dirty, self.flying, self.spilled):
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

    def unchanged(self, span: Extent) -> tuple[Extent, ...]:
        """What is under way of ``span`` and was not written again since."""
        flying = ExtentSet(self.flying.within(*span))
        for extent in self.dirty.within(*span):
            flying.remove(*extent)
        return tuple(flying)

    def landed(self, extents: Iterable[Extent]) -> None:
        """The server has these; what was written meanwhile stays dirty."""
        for extent in extents:
            self.flying.remove(*extent)
        self._count()

    def arrived(self, extents: Iterable[Extent]) -> None:
        """The server has these as they are here: nothing of them is to be sent."""
        for extent in extents:
            self.dirty.remove(*extent)
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
                self.spilled.remove(low, high)
        if not self.valid and not self._file.closed:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file.fileno(), 0)
        self._shrink()

    def _shrink(self) -> None:
        if not self.spilled and self._memory is not None:
            self._memory.close()
            self._memory = None

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
        if self._memory is not None:
            self._memory.close()
