"""The chain of a buffer queue, and the cursors in it.

A chain is filled at its end and let go from its start.  Three kinds of cursor say how far it is:

* load, its end: where the next segment goes;
* dispatch, one a stream: how far subrequests have been given their parts;
* collect, its start: what lies before is done with.  It alone holds the chain from the front, so
  there is no other idea of where the queue begins.

They only go forward, and ``load >= dispatch >= collect`` for every stream.  Memory is let go an
array at a time, when the last reference on it is dropped; never under the lock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from netcache._core.extent import Extent
from netcache._netfs.queue_position import Position
from netcache._netfs.segment_array import SLOTS, Arena, Disposal, SegmentArray, release

Span = tuple[SegmentArray, int, int]
"""An array and a part of it, counted in bytes from its start."""


class QueueChain:
    """A chain that begins at the file position ``start``, and has ``streams`` dispatch cursors."""

    __slots__ = ("_collect", "_dispatch", "_load", "_lock", "_open", "_recent", "_slots", "arena")

    def __init__(
        self, arena: Arena, start: int = 0, *, streams: int = 0, slots: int = SLOTS
    ) -> None:
        self.arena = arena
        self._slots = slots
        self._lock = threading.Lock()
        self._open = True
        # Where the last search ended: only a hint to begin the next one, and no reference.  It is
        # in the chain when it begins behind the collect cursor's array; ``shorten`` forgets it.
        self._recent: SegmentArray | None = None
        first = arena.array(start, slots, Disposal.EXTERNAL)
        cursors: list[Position] = []
        try:
            for _ in range(streams + 2):
                cursors.append(Position(first))
        except BaseException:
            for cursor in cursors:
                cursor.release()
            raise
        finally:
            first.drop()
        self._collect, self._load, *self._dispatch = cursors

    def close(self) -> None:
        """Let everything go that no slice holds.  Idempotent."""
        with self._lock:
            was_open, self._open = self._open, False
        if was_open:
            for cursor in (*self._dispatch, self._load):
                cursor.release()
            self._collect.release()

    def _check_open(self) -> None:
        if not self._open:
            raise ValueError("the buffer queue is closed")

    # What is in it.

    @property
    def start(self) -> int:
        """The file position of the first byte that is not collected."""
        with self._lock:
            self._check_open()
            return self._collect.file_position

    @property
    def end(self) -> int:
        """The file position behind the last byte."""
        with self._lock:
            self._check_open()
            return self._load.file_position

    @property
    def length(self) -> int:
        """How many bytes are in it, gaps not counted."""
        return sum(run.length for run in self.runs())

    def runs(self, start: int | None = None, end: int | None = None) -> list[Extent]:
        """What is there of ``[start, end)``, or of all, in contiguous pieces."""
        runs: list[Extent] = []
        with self._lock:
            for array, low, high in self._spans(start, end):
                extent = Extent(array.start + low, array.start + high)
                if runs and runs[-1].end == extent.start:
                    extent = Extent(runs.pop().start, extent.end)
                runs.append(extent)
        return runs

    def _spans(self, start: int | None, end: int | None) -> Iterator[Span]:
        """The parts of arrays that make up what is there of ``[start, end)``.  Under the lock."""
        self._check_open()
        begin = self._collect.file_position
        start = begin if start is None else max(start, begin)
        end = self._load.file_position if end is None else end
        array: SegmentArray | None = self._nearest(start)
        while array is not None and array.end <= start:
            array = array.next
        self._recent = array
        while array is not None and array.start < end:
            low, high = max(start, array.start), min(end, array.end)
            if low < high:
                yield array, low - array.start, high - array.start
            array = array.next

    def _nearest(self, position: int) -> SegmentArray:
        """The last array that is known without a walk and does not begin behind ``position``."""
        near = self._collect.array
        known = [cursor.array for cursor in (*self._dispatch, self._load)]
        for array in (*known, self._recent):
            if array is not None and near.start < array.start <= position:
                near = array
        return near

    def _whole_spans(self, start: int, end: int) -> list[Span]:
        """The same as ``_spans``, when no byte of ``[start, end)`` is missing."""
        spans = list(self._spans(start, end))
        position = start
        for array, low, high in spans:
            if array.start + low != position:
                break
            position = array.start + high
        if position < end:
            raise ValueError(f"the buffer queue has nothing at {position}, in [{start}, {end})")
        return spans

    # Load.

    def append(
        self,
        views: Iterable[memoryview],
        disposal: Disposal,
        *,
        at: int | None = None,
        then: Callable[[], object] | None = None,
    ) -> None:
        """Put views of bytes at the end, or at the file position ``at`` behind a gap.

        The views are the queue's from now on, unless ``disposal`` says EXTERNAL.  ``then`` is
        called when the array that they are in has gone, on the thread of whoever drops the last
        reference.  On an error nothing was taken over.
        """
        views = list(views)
        if not all(view.nbytes == len(view) for view in views):
            raise ValueError("a segment of a buffer queue is a view of single bytes")
        full = [view for view in views if len(view)]
        if full:
            with self._changing():
                self._put(full, disposal, at, then)
                self._go_on()
        if disposal is not Disposal.EXTERNAL:
            for view in views:
                if not len(view):
                    release(view)
        if not full and then is not None:
            then()

    def _put(
        self,
        views: list[memoryview],
        disposal: Disposal,
        at: int | None,
        then: Callable[[], object] | None,
    ) -> None:
        tail = self._load.array
        at = tail.end if at is None else at
        if at < tail.end:
            raise ValueError(f"the buffer queue has bytes up to {tail.end} already, not {at}")
        slots, after_gap = max(self._slots, len(views)), at > tail.end
        if not tail.used:
            tail.take(views, then)
            tail.retag(at, slots, disposal, after_gap=after_gap)
        elif (
            not after_gap
            and tail.disposal is disposal
            and tail.fits(len(views), sum(map(len, views)))
        ):
            tail.take(views, then)
        else:
            array = self.arena.array(at, slots, disposal, after_gap=after_gap)
            try:
                array.take(views, then)
            except BaseException:
                array.drop()
                raise
            tail.next = array

    def _go_on(self) -> None:
        """Take cursors that waited at the end of what was there on to what is there now."""
        self._load.to_end()
        for cursor in (*self._dispatch, self._collect):
            cursor.settle()

    def shorten(self, end: int) -> None:
        """Cut off what lies at and past ``end``.  ``ValueError`` if that was dispatched already."""
        with self._changing():
            if end >= self._load.file_position:
                return
            for cursor in (self._collect, *self._dispatch):
                if end < cursor.file_position:
                    raise ValueError(f"the buffer queue was dispatched past {end}")
            last = self._nearest(end - 1)
            while last.next is not None and last.next.start < end:
                last = last.next
            self._recent = None
            load = Position(last)
            try:
                last.cut(min(end, last.end) - last.start)
            except BaseException:
                load.release()
                raise
            cut_off, last.next = last.next, None
            load.to_end()
            self._load, load = load, self._load
        load.release()
        if cut_off is not None:
            cut_off.drop()

    # Dispatch and collect.

    def dispatched(self, stream: int) -> int:
        """The file position up to which a stream has been given its parts."""
        with self._lock:
            self._check_open()
            return self._dispatch[stream].file_position

    def dispatch_to(self, stream: int, position: int) -> None:
        """Let a stream skip what lies before ``position``; one that is past it stays."""
        with self._lock:
            self._check_open()
            self._forward(self._dispatch[stream], position)

    def collect_to(self, position: int) -> None:
        """What lies before ``position`` is done with; no stream may still be before it."""
        with self._changing():
            if any(cursor.file_position < position for cursor in self._dispatch):
                raise ValueError(f"collected to {position}, which was not dispatched")
            self._forward(self._collect, position)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Hold the lock, and what the collect cursor leaves behind until the lock is given back."""
        passed: Position | None = None
        try:
            with self._lock:
                self._check_open()
                passed = self._collect.copy()
                yield
        finally:
            if passed is not None:
                passed.release()

    def _forward(self, cursor: Position, position: int) -> None:
        if position > self._load.file_position:
            raise ValueError(f"a cursor was moved past the data, to {position}")
        if position > cursor.file_position:
            cursor.advance_to(position)
