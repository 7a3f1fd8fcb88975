"""Dirty files: resources that are being edited, shared by all writers of a client.

A dirty file is the pages written here over a base version at the server.  Readers and writers at
positions work on the caller's thread as long as nothing of the server is needed; the slow variants
run on the client's loop, and so does everything that sends (``writeback``).

Rules:

1. ``lock`` guards pages, sizes and base together; it is held for local I/O only.
2. A write that covers part of a block of a cached resource reads the rest first, so that the cache
   can take whole blocks; without a cache the bytes alone are remembered (``write_decision``).
3. The cache never decides over a write: when the rest of a block cannot be had, the new bytes are
   remembered alone.
4. Errors of background uploads are kept, and each open file hears of them once (U-FS3).
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Iterator

from netcache._core.doubt import Doubt
from netcache._core.extent import Extent, round_down
from netcache._core.sizes import Sizes
from netcache._core.stats import Stats
from netcache._core.urls import Resource
from netcache._core.write_decision import BlockState, Step, decide_write
from netcache._netfs.base_version import BaseVersion
from netcache._netfs.dirty_pages import DirtyPages
from netcache._netfs.journal import JournalEntry
from netcache._netfs.under_way import UnderWay
from netcache.errors import ClosedError, ConflictError, NetCacheError, UsageError

BLOCK_BYTES_DEFAULT = 4096
"""The block of a file without a cache."""


class DirtyFile:
    """One edited resource.  ``atomic``: nothing may be published before it is asked for."""

    def __init__(
        self,
        resource: Resource,
        base: BaseVersion,
        pages: DirtyPages,
        stats: Stats,
        *,
        block_size: int | None,
        atomic: bool,
        on_dirty: Callable[[DirtyFile], None],
        entry: JournalEntry | None = None,
    ) -> None:
        self.resource = resource
        self.base = base
        self.pages = pages
        self.sizes = Sizes.of(base.size)
        self.block_size = block_size or BLOCK_BYTES_DEFAULT
        self.atomic = atomic
        self.entry = entry
        self.created = base.inode is None
        self.lock = threading.RLock()
        self.writeback_lock = asyncio.Lock()
        self.users = 0
        self.conflict: ConflictError | None = None
        self.doubt: Doubt | None = None
        self.under_way: UnderWay | None = None
        self._errors = 0
        self._error: NetCacheError | None = None
        self._stats = stats
        self._on_dirty = on_dirty
        self._closed = self._leave = self._in_turn = False

    # What is there.

    @property
    def size(self) -> int:
        """As edited, in bytes."""
        return self.sizes.local

    @property
    def dirty(self) -> bool:
        """Whether the server lacks something."""
        sizes = self.sizes
        return bool(
            self.created
            or self.pages.unsent_bytes
            or sizes.needs_whole
            or sizes.local != sizes.remote
        )

    # Reading.

    def try_read_into(self, view: memoryview, start: int) -> int | None:
        """Read at ``start``; short only at the end.  None when the server has to be asked."""
        with self.lock:
            self._need_open()
            length = max(0, min(len(view), self.size - start))
            for piece, kind in self.pieces(start, start + length):
                if kind == "zero":
                    part = view[piece.start - start : piece.end - start]
                    part[:] = bytes(len(part))
            return None if self._read_known(view[:length], start) else length

    async def read(self, start: int, length: int, ahead: int = 0) -> bytes:
        """``try_read_into`` that may wait for the server; lets up to ``ahead`` more bytes come.

        Raises ``StaleError`` when the server has another version than the base; a writeback of
        ours may have made it (``Writeback.read_in_turn``).
        """
        end = max(start, min(start + length, self.size))
        buffer = bytearray(end - start)
        view = memoryview(buffer)
        lacking = self._read_known(view, start)
        if lacking:
            self._stats.add("Reads", "RG")
        for piece in lacking:
            data = await self.base.read(*piece, ahead=min(end + ahead, self.sizes.remote_limit))
            view[piece.start - start : piece.end - start] = data
        return bytes(buffer)

    def _read_known(self, view: memoryview, start: int) -> list[Extent]:
        """Read what needs no server; returns the rest."""
        lacking = []
        with self.lock:
            self._need_open()
            for piece, kind in self.pieces(start, start + len(view)):
                part = view[piece.start - start : piece.end - start]
                if kind == "valid":
                    self.pages.read_into(part, piece.start)
                elif kind == "base" and not self.base.read_now(part, piece.start):
                    lacking.append(piece)
        return lacking

    def pieces(self, start: int, end: int) -> Iterator[tuple[Extent, str]]:
        """``[start, end)`` in order: what is "valid" here, what the "base" has, what is "zero".

        The caller holds ``lock``.
        """
        position = start
        limit = self.sizes.remote_limit
        for valid in [*self.pages.valid.within(start, end), Extent(end, end)]:
            if position < min(valid.start, limit):
                yield Extent(position, min(valid.start, limit)), "base"
                position = min(valid.start, limit)
            if position < valid.start:
                yield Extent(position, valid.start), "zero"
            if valid.length:
                yield valid, "valid"
            position = valid.end

    # Writing.

    def try_write(self, view: memoryview, start: int) -> bool:
        """Write all of ``view`` at ``start``; False when bytes of the server are needed first."""
        if start < 0:
            raise UsageError(f"write to {self.resource.url} at {start}: not a position")
        if not len(view):
            return True
        with self.lock:
            self._need_open()
            for block, step in self._steps(Extent(start, start + len(view))):
                if step is Step.ZERO_AROUND:
                    self.pages.zero(block.start, min(block.end, max(self.size, start)))
                if step.reads and not self.fill_now(block):
                    return False
            self._copy_in(view, start)
        self._on_dirty(self)
        return True

    async def write(self, view: memoryview, start: int) -> None:
        """``try_write`` that may wait for the server."""
        if not self.try_write(view, start):
            await self.prepare(view, start)
            self.put(view, start)

    async def prepare(self, view: memoryview, start: int) -> None:
        """Read what a write of ``view`` at ``start`` needs of the blocks at its ends."""
        self._stats.add("Reads", "WB")
        for block, step in self._steps(Extent(start, start + len(view))):
            if step.reads:
                await self._fill(block)

    def put(self, view: memoryview, start: int) -> None:
        """Write without reading anything first."""
        with self.lock:
            self._need_open()
            self._copy_in(view, start)
        self._on_dirty(self)

    def _steps(self, write: Extent) -> list[tuple[Extent, Step]]:
        """The steps for the two ends of a write; all blocks between are replaced whole."""
        size = self.block_size
        found = []
        for start in sorted({round_down(write.start, size), round_down(write.end - 1, size)}):
            block = Extent(start, start + size)
            records = self.pages.valid.within(*block)
            known_end = max(block.start, min(block.end, max(self.size, write.end)))
            state = BlockState(
                block,
                self.pages.valid.covers(block.start, known_end),
                records[0] if records else None,
            )
            step = decide_write(
                write.clip(*block),
                state,
                zero_point=self.sizes.remote_limit,
                cached=self.base.cached,
            )
            found.append((block, step))
        return found

    def fill_now(self, block: Extent) -> bool:
        """Complete a block from the cache; False when a part of it is not there.

        The caller holds ``lock``.
        """
        for piece, kind in list(self.pieces(block.start, min(block.end, self.size))):
            if kind == "base":
                data = bytearray(piece.length)
                if not self.base.read_now(memoryview(data), piece.start):
                    return False
                self.pages.fill(piece.start, data)
            elif kind == "zero":
                self.pages.zero(*piece)
        return True

    async def _fill(self, block: Extent) -> None:
        base = self.base
        for piece in self._of_base(block):
            try:
                data = await base.read(*piece)
            except NetCacheError:
                # The write does not fail for it: the new bytes are remembered alone.
                return
            with self.lock:
                self._need_open()
                # What was cut or written meanwhile is not the base's any more.
                for still in self._of_base(piece) if self.base is base else ():
                    self.pages.fill(still.start, data[still.start - piece.start :][: still.length])
        with self.lock:
            self.fill_now(block)

    def _of_base(self, extent: Extent) -> list[Extent]:
        with self.lock:
            pieces = self.pieces(extent.start, min(extent.end, self.size))
            return [piece for piece, kind in pieces if kind == "base"]

    def _copy_in(self, view: memoryview, start: int) -> None:
        self.pages.write(start, view)
        if self.doubt is not None:
            self.doubt = self.doubt.written(start, start + len(view))
        self.sizes = self.sizes.written(start + len(view))
        self._stats.add("Writes", "BW")

    async def truncate(self, size: int) -> None:
        """Make it ``size`` bytes long; new bytes are zeros.  Waits for a writeback to end."""
        if size < 0:
            raise UsageError(f"truncation of {self.resource.url} to {size}: not a size")
        async with self.turn():
            with self.lock:
                self.pages.truncate(size)
                self.sizes = self.sizes.truncated(size)
                if self.doubt is not None:
                    self.doubt = self.doubt.truncated(size)
        self._on_dirty(self)

    # What the writeback asks and tells.

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """One writeback or truncation at a time; ``ClosedError`` when the file was closed before.

        What is closed meanwhile is let go when the turn ends.
        """
        async with self.writeback_lock:
            self._need_open()
            self._in_turn = True
            try:
                yield
            finally:
                self._in_turn = False
                if self._closed:
                    self._let_go()

    def uploaded(self, base: BaseVersion, cut: int | None = None) -> None:
        """The server has the changes under a new version: that is the base from now on.

        ``cut``: the file was cut there after they were sent.
        """
        with self.lock:
            old, self.base = self.base, base
            self.sizes = self.sizes.uploaded(base.size, cut)
            self.created = False
            self.conflict = None
            late = self._closed
        old.close()
        if late:
            base.close()

    def failed(self, error: NetCacheError) -> None:
        """A writeback failed: the bytes are dirty again, and every open file is to hear of it."""
        with self.lock:
            self.pages.redirty()
            self._error = error
            self._errors += 1
            if isinstance(error, ConflictError):
                self.conflict = error

    def leave_in_doubt(self, doubt: Doubt) -> None:
        """What is under way may have arrived: the next writeback finds out."""
        with self.lock:
            self.doubt = doubt._replace(unchanged=self.pages.unchanged(doubt.span))

    def redirty(self) -> None:
        """A writeback was given up without a verdict."""
        with self.lock:
            self.pages.redirty()

    def error_since(self, seen: int) -> tuple[int, NetCacheError | None]:
        """The count of errors now, and the last one if there is one that is newer than ``seen``."""
        with self.lock:
            return self._errors, self._error if self._errors > seen else None

    def close(self, *, leave: bool = False) -> None:
        """Throw away what was not sent (or ``leave`` it in the journal).  Idempotent."""
        with self.lock:
            if self._closed:
                return
            self._closed, self._leave = True, leave
        if not self._in_turn:
            self._let_go()

    def _let_go(self) -> None:
        if self.entry is not None and not self._leave:
            # Not under the lock, which who saves takes behind the entry's own.
            self.entry.remove()
        with self.lock:
            self.pages.close()
        self.base.close()

    @property
    def closed(self) -> bool:
        """Whether nobody has the file open any more, and nothing of it is to be sent."""
        return self._closed

    def _need_open(self) -> None:
        if self._closed:
            raise ClosedError(f"{self.resource.url} is closed", url=self.resource.url)
