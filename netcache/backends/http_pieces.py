"""Pieces: the bytes of a body on their way to a sink, in large page-aligned memory.

Rules:

1. A piece ends at a multiple of ``notice_bytes`` of the resource, except the last.
2. While bytes come in faster than they are taken, pieces grow up to the buffer: fewer, larger
   writes (one of 1 MiB costs far less than four of 256 KiB).  As soon as nothing more waits in the
   socket, what is complete is handed over.
3. Bytes beyond the extent never reach the sink.
"""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING

from netcache.errors import RemoteProtocolError

if TYPE_CHECKING:
    from netcache.spi import BodySink

__all__ = ["BUFFER_BYTES", "BufferPool", "Pieces"]

BUFFER_BYTES = 1 << 20
_PAGE_BYTES = 4096
_POOLED_BYTES = BUFFER_BYTES + _PAGE_BYTES
_KEPT_MAX = 8


class BufferPool:
    """Keeps a few buffers for the next body: the first touch of fresh memory is not free."""

    def __init__(self) -> None:
        self._kept: list[mmap.mmap] = []
        self._closed = False

    def take(self, size: int) -> mmap.mmap:
        """A buffer of at least ``size`` bytes."""
        if size <= _POOLED_BYTES and self._kept:
            return self._kept.pop()
        return mmap.mmap(-1, max(size, _POOLED_BYTES))

    def give(self, buffer: mmap.mmap) -> None:
        """Give back a buffer that nothing points into any more."""
        if len(buffer) == _POOLED_BYTES and len(self._kept) < _KEPT_MAX and not self._closed:
            self._kept.append(buffer)

    def close(self) -> None:
        """Let go of what is kept; it is freed as soon as no traceback holds a view of it."""
        self._closed = True
        self._kept.clear()


class Pieces:
    """Takes the bytes ``[start, end)`` of a resource in order (``end`` -1: as many as come).

    The owner writes into ``room()`` and calls ``added``, or calls ``put``; then ``finish`` when the
    body is over, and ``release`` in any case.
    """

    def __init__(
        self,
        pool: BufferPool,
        start: int,
        end: int,
        sink: BodySink,
        notice_bytes: int,
        step_bytes: int = 1 << 62,
    ) -> None:
        self._pool = pool
        self._size = max(BUFFER_BYTES, notice_bytes)
        # One page more: room for the byte that shows a body that is too long.
        self._buffer = pool.take(self._size + _PAGE_BYTES)
        self._view = memoryview(self._buffer)
        self._sink = sink
        self._notice = notice_bytes
        self._step = step_bytes
        self.start = start
        self.end = end
        self.excess = False
        # The buffer holds the resource's bytes from _base on; [_given, _filled) wait for the sink.
        self._base = start & -_PAGE_BYTES
        self._given = self._filled = start - self._base
        self._limit = self._limit_of(self._base)

    @property
    def position(self) -> int:
        """The position in the resource of the next byte to come."""
        return self._base + self._filled

    @property
    def taken_bytes(self) -> int:
        """How many bytes the sink has taken."""
        return self._base + self._given - self.start

    @property
    def complete(self) -> bool:
        """Whether every byte of a known length has come."""
        return self.end >= 0 and self.position >= self.end

    def room(self) -> memoryview:
        """Where the next bytes go: at most one byte more than are still due."""
        size = min(self._limit - self._filled, self._step)
        if 0 <= self.end - self.position <= size:
            size = self.end - self.position + 1
        return self._view[self._filled : self._filled + size]

    def added(self, count: int, *, more_waiting: bool) -> None:
        """``count`` bytes were written into ``room()``; hands over what is due."""
        if self.end >= 0 and self.position + count > self.end:
            self.excess = True
            count = self.end - self.position
        self._filled += count
        if self.complete:
            self._give(self._filled)
        elif self._filled == self._limit:
            self._give(self._filled)
            self._rewind()
        elif not more_waiting:
            boundary = (self.position & -self._notice) - self._base
            if boundary > self._given:
                self._give(boundary)
                if boundary == self._filled:
                    self._rewind()

    def put(self, data: bytes | memoryview) -> None:
        """Copy ``data`` in; raises ``RemoteProtocolError`` at the first byte too many."""
        rest = memoryview(data)
        while len(rest) and not self.excess:
            room = self.room()
            count = min(len(room), len(rest))
            room[:count] = rest[:count]
            self.added(count, more_waiting=count < len(rest))
            rest = rest[count:]
        self.check_length()

    def check_length(self) -> None:
        """Raise ``RemoteProtocolError`` when a byte too many has come."""
        if self.excess:
            raise RemoteProtocolError(f"the server sent more bytes than it said (past {self.end})")

    def finish(self) -> None:
        """The body is over: hand over what is left."""
        self._give(self._filled)

    def release(self) -> None:
        """Give the memory back.  Idempotent."""
        if self._size:
            self._size = 0
            self._view.release()
            self._pool.give(self._buffer)

    def _limit_of(self, base: int) -> int:
        """How far the buffer may be filled: to a boundary, or to the end if that fits."""
        if 0 <= self.end < base + self._size:
            return self._size
        return ((base + self._size) & -self._notice) - base

    def _give(self, until: int) -> None:
        if until > self._given:
            view = self._view[self._given : until]
            try:
                self._sink(self._base + self._given, view)
            finally:
                view.release()
            self._given = until

    def _rewind(self) -> None:
        self._base += self._filled
        self._given = self._filled = 0
        self._limit = self._limit_of(self._base)
