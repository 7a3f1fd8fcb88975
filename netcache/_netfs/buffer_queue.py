"""Buffer queues: the memory of a request, shared by its subrequests.

A part of a queue is a queue itself, over the same memory.  It holds references on the arrays that
it looks into, and lives on when the queue it was cut from is collected or closed: a subrequest
keeps its part until it is complete, whatever has become of the request.

Functions on a range ``[start, end)`` want all of it to be there, unless they say otherwise;
``runs`` tells what is.

Threads: any method may be called on any thread; one lock guards the chain and its cursors, so that
one thread may append while others dispatch and collect.  It does not guard the bytes: who
writes and who reads them is for the users to agree upon.  A view that was handed out is good until
its bytes are collected or cut off, or the queue is closed; whoever needs them longer holds a slice.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Protocol, Self

from netcache._netfs.byte_view import byte_view
from netcache._netfs.queue_chain import QueueChain, Span
from netcache._netfs.segment_array import ZEROS, Disposal, free, release

if TYPE_CHECKING:
    from typing_extensions import Buffer  # collections.abc has it from Python 3.12 on

IOV_MAX = os.sysconf("SC_IOV_MAX")
"""How many buffers one system call takes."""
CHUNK_BYTES = 1 << 20
SINK_BYTES = 1 << 18


class Hasher(Protocol):
    """What hashlib and xxhash make."""

    def update(self, data: Buffer, /) -> object:
        """Take more bytes."""


class BufferQueue(QueueChain):
    """A queue of memory; ``close`` it, or use it in a ``with``."""

    __slots__ = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # Memory of its own.

    def allocate(
        self, length: int, *, at: int | None = None, segment_bytes: int | None = None
    ) -> None:
        """Put ``length`` bytes of zeros at the end, in one segment or in many of the same length.

        They are one piece of memory, whatever the number of segments.
        """
        if length <= 0:
            return
        step = segment_bytes or length
        memory = self.arena.memory(length)
        views: list[memoryview] = []
        try:
            with memoryview(memory) as whole:
                for low in range(0, length, step):
                    views.append(whole[low : low + step])
            self.append(views, Disposal.ALLOCATED, at=at, then=partial(free, memory))
        except BaseException:
            for view in views:
                release(view)
            free(memory)
            raise

    def append_sink(self, length: int, *, at: int | None = None) -> None:
        """Put ``length`` bytes at the end, all the same little memory, for what is not wanted.

        It goes with the last reference, like all memory: not while a subrequest still writes to it.
        """
        if length <= 0:
            return
        memory = self.arena.memory(min(length, SINK_BYTES))
        views: list[memoryview] = []
        try:
            views.append(memoryview(memory))
            views *= length // len(memory)
            if rest := length % len(memory):
                views.append(views[0][:rest])
            self.append(views, Disposal.ALLOCATED, at=at, then=partial(free, memory))
        except BaseException:
            for view in views:
                release(view)
            free(memory)
            raise

    def append_zeros(self, length: int, *, at: int | None = None) -> None:
        """Put ``length`` zeros at the end, which cannot be written to and take no memory."""
        views = [ZEROS] * (length // len(ZEROS))
        if rest := length % len(ZEROS):
            views.append(ZEROS[:rest])
        self.append(views, Disposal.EXTERNAL, at=at)

    # Parts.

    def slice(self, start: int, end: int) -> BufferQueue:
        """A queue over what is there of ``[start, end)``, gaps and all, in the same memory."""
        part = BufferQueue(self.arena, start)
        try:
            self.lend(start, end, part)
        except BaseException:
            part.close()
            raise
        return part

    def lend(self, start: int, end: int, to: BufferQueue) -> None:
        """Put what is there of ``[start, end)`` at the end of another queue, in the same memory.

        On an error the other queue may have got a part of it.
        """
        with self._lock:
            shares = [_Share(span) for span in self._spans(start, end)]
            try:
                for share in shares:
                    share.take()
            except BaseException:
                for share in shares:
                    share.give_back()
                raise
        try:
            for share in shares:
                share.give(to)
        finally:
            for share in shares:
                share.give_back()

    def take(self, stream: int, length: int, *, segments: int | None = None) -> BufferQueue | None:
        """The next part for a stream, whose cursor moves on; None at the end.

        It is contiguous, and has at most ``length`` bytes in at most so many segments.  Only one
        thread at a time may take for a stream.
        """
        if length <= 0 or (segments is not None and segments <= 0):
            raise ValueError("a part of a buffer queue was to be empty")
        start = self.dispatched(stream)
        with self._lock:
            end = _contiguous_end(self._spans(start, start + length), start, segments)
        if end == start:
            return None
        part = self.slice(start, end)
        self.dispatch_to(stream, end)
        return part

    # The bytes.

    def buffers(self, start: int, end: int, *, limit: int = IOV_MAX) -> list[memoryview]:
        """The memory of ``[start, end)`` for one preadv, pwritev or sendmsg.

        There are at most ``limit`` views.  They may fall short of ``end``, as the call may: go on
        from where it stopped.
        """
        views: list[memoryview] = []
        with self._lock:
            for array, low, high in self._whole_spans(start, end):
                if limit <= 0:
                    break
                high, touched = array.within_slots(low, high, limit)
                limit -= touched
                views += array.views(low, high)
        return views

    def chunks(
        self, start: int | None = None, end: int | None = None, *, limit: int = CHUNK_BYTES
    ) -> Iterator[memoryview]:
        """The memory of ``[start, end)``, or of all, in views of at most ``limit`` bytes."""
        for array, low, high in self._checked_spans(start, end):
            while low < high:
                with self._lock:
                    views = list(array.views(low, min(low + limit, high)))
                yield from views
                low += limit

    def _checked_spans(self, start: int | None, end: int | None) -> list[Span]:
        with self._lock:
            self._check_open()
            start = self._collect.file_position if start is None else start
            end = self._load.file_position if end is None else end
            return self._whole_spans(start, end)

    def copy_in(self, start: int, data: Buffer) -> None:
        """Copy ``data`` over the bytes from ``start`` on."""
        with byte_view(data) as source:
            done = 0
            for view in self._writable(start, start + len(source)):
                view[:] = source[done : done + len(view)]
                done += len(view)

    def copy_out(self, start: int, into: Buffer) -> None:
        """Fill ``into`` with the bytes from ``start`` on."""
        with byte_view(into, writable=True) as target:
            done = 0
            for view in self.chunks(start, start + len(target)):
                target[done : done + len(view)] = view
                done += len(view)

    def tobytes(self, start: int | None = None, end: int | None = None) -> bytes:
        """A copy of ``[start, end)``, or of all."""
        return b"".join(self.chunks(start, end))

    def update(self, hasher: Hasher, start: int | None = None, end: int | None = None) -> None:
        """Feed ``[start, end)``, or all, to a hash."""
        for view in self.chunks(start, end):
            hasher.update(view)

    def clear(self, start: int | None = None, end: int | None = None) -> None:
        """Overwrite what is there of ``[start, end)``, or of all, with zeros."""
        runs = self.runs(start, end)
        for view in [view for run in runs for view in self._writable(*run)]:
            for low in range(0, len(view), len(ZEROS)):
                part = ZEROS[: len(view) - low]
                view[low : low + len(part)] = part

    def _writable(self, start: int, end: int) -> list[memoryview]:
        """The memory of ``[start, end)``; ``TypeError``, before anything is written, if some of it
        is read-only."""
        views = list(self.chunks(start, end))
        if any(view.readonly for view in views):
            raise TypeError(f"the buffer queue has read-only memory in [{start}, {end})")
        return views


class _Share:
    """A part of an array on its way into another queue, with a reference for it."""

    __slots__ = ("array", "held", "high", "low", "views")

    def __init__(self, span: Span) -> None:
        self.array, self.low, self.high = span
        self.views: list[memoryview] = []
        self.held = False

    def take(self) -> None:
        """Take the reference and make the views."""
        self.array.hold()
        self.held = True
        self.views = self.array.parts(self.low, self.high)

    def give(self, to: BufferQueue) -> None:
        """Hand both over."""
        position = self.array.start + self.low
        to.append(self.views, Disposal.PINNED, at=position, then=self.array.drop)
        self.held = False
        self.views = []

    def give_back(self) -> None:
        """Let go of what was not handed over."""
        for view in self.views:
            release(view)
        if self.held:
            self.held = False
            self.array.drop()


def _contiguous_end(spans: Iterable[Span], start: int, segments: int | None) -> int:
    """How far spans go on from ``start`` without a gap, in at most so many segments."""
    end = start
    for array, low, high in spans:
        if array.start + low != end or segments == 0:
            break
        if segments is not None:
            high, touched = array.within_slots(low, high, segments)
            segments -= touched
        end = array.start + high
    return end
