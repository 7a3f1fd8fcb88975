"""Segment arrays: pieces of memory that lie next to each other in a file, counted by reference.

A segment is a memoryview of bytes, of any length.  An array is tagged with the file position of its
first byte, with whether a gap lies in front of it, and with what is to become of the memory in
the end.  Each array holds a reference on the next one: whoever holds one holds the rest of
the chain.

Threads: references may be taken and dropped on any thread.  Everything else of an array is used
under the lock of the queue whose chain it is in.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import mmap
import threading
import weakref
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from enum import Enum, auto
from operator import itemgetter

from netcache._core.stats import Stats

SLOTS = 256
"""How many segments an array takes, unless told otherwise."""
ARRAY_BYTES = 8 << 20
"""Memory is let go an array at a time: one that holds as much as this is not added to."""
ZEROS = memoryview(bytes(1 << 16))
"""Zeros that everybody may read; as long as the largest block."""

_log = logging.getLogger("netcache")
_PAGE_BYTES = mmap.PAGESIZE
_PRUNE_AT = 64
_counting = threading.Lock()
"""Several arenas may count in the same statistics, and a gauge must not lose a change."""
_slot_end: Callable[[tuple[int, memoryview]], int] = itemgetter(0)


class Disposal(Enum):
    """What becomes of the views of an array when its last reference is dropped."""

    EXTERNAL = auto()
    """Nothing: view and memory are somebody else's, who keeps them longer than the queue lives."""
    PAGE_CACHE = auto()
    """Released, and the owner of the pages is told that they are not in use here any more."""
    PINNED = auto()
    """Released: the memory is a caller's or another queue's, and was held in place by the view."""
    ALLOCATED = auto()
    """Released, and the memory freed."""


class Arena:
    """Where segment arrays and their memory come from, and where they are counted; any thread."""

    __slots__ = ("_stats", "lock")

    def __init__(self, stats: Stats) -> None:
        self._stats = stats
        self.lock = threading.Lock()

    def array(
        self, start: int, slots: int, disposal: Disposal, *, after_gap: bool = False
    ) -> SegmentArray:
        """A new array with one reference, the caller's."""
        array = SegmentArray(self, start, slots, disposal, after_gap)
        self.count(1)
        return array

    def count(self, change: int) -> None:
        """So many arrays more (or fewer) are alive."""
        with _counting:
            self._stats.add("Objs", "bq", change)

    def memory(self, length: int) -> mmap.mmap | bytearray:
        """``length`` bytes of zeros, page-aligned from one page up; ``MemoryError`` for no room."""
        if length < _PAGE_BYTES:
            return bytearray(length)
        try:
            return mmap.mmap(-1, length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        except OSError as error:
            if error.errno == errno.ENOMEM:
                raise MemoryError(f"no room for a buffer of {length} bytes") from error
            raise
        except OverflowError as error:
            raise MemoryError(f"no room for a buffer of {length} bytes") from error


def free(memory: mmap.mmap | bytearray) -> None:
    """Give memory back at once, or, while something still looks at it, as soon as that lets go."""
    if isinstance(memory, mmap.mmap):
        with contextlib.suppress(BufferError):
            memory.close()


class SegmentArray:
    """``slots`` places for segments, used front to back.

    ``end`` of a slot is counted in bytes from the start of the array.
    """

    __slots__ = (
        "_arena",
        "_lent",
        "_lent_max",
        "_refs",
        "_slots",
        "_then",
        "after_gap",
        "disposal",
        "next",
        "slots",
        "start",
    )

    def __init__(
        self, arena: Arena, start: int, slots: int, disposal: Disposal, after_gap: bool
    ) -> None:
        self.start = start
        self.slots = slots
        self.disposal = disposal
        self.after_gap = after_gap
        self.next: SegmentArray | None = None
        self._arena = arena
        self._refs = 1
        self._slots: list[tuple[int, memoryview]] = []
        self._then: list[Callable[[], object]] = []
        self._lent: list[weakref.ref[memoryview]] = []
        self._lent_max = _PRUNE_AT

    # References.

    def hold(self) -> SegmentArray:
        """Take a reference; returns the array."""
        with self._arena.lock:
            if self._refs <= 0:
                raise ValueError("a segment array was used after its last reference")
            self._refs += 1
        return self

    def drop(self) -> None:
        """Give a reference back; with the last one the array goes, and its hold on the next."""
        array: SegmentArray | None = self
        while array is not None and array._was_last():
            following, array.next = array.next, None
            array._dispose()
            array = following

    def _was_last(self) -> bool:
        with self._arena.lock:
            if self._refs <= 0:
                raise ValueError("a reference of a segment array was dropped twice")
            self._refs -= 1
            return self._refs == 0

    def _dispose(self) -> None:
        for known in self._lent:
            release(known())
        if self.disposal is not Disposal.EXTERNAL:
            for _, view in self._slots:
                release(view)
        self._slots.clear()
        for then in self._then:
            try:
                then()
            except Exception:
                # Whoever drops the last reference can do nothing about it, and the rest has to go.
                _log.exception("an owner of memory failed to take it back")
        self._then.clear()
        self._arena.count(-1)

    # Contents.

    @property
    def used(self) -> int:
        """How many slots are in use."""
        return len(self._slots)

    @property
    def length(self) -> int:
        """How many bytes are in the array."""
        return self._slots[-1][0] if self._slots else 0

    @property
    def end(self) -> int:
        """The file position behind the last byte."""
        return self.start + self.length

    def slot_start(self, slot: int) -> int:
        """Where a slot (or the one to be used next) begins, from the start of the array."""
        return self._slots[slot - 1][0] if slot else 0

    def find(self, offset: int) -> tuple[int, int]:
        """The slot that ``offset`` lies in, and how far in; at the end, the slot behind."""
        slot = bisect_right(self._slots, offset, key=_slot_end)
        return slot, offset - self.slot_start(slot)

    def _first_slot(self, low: int, high: int) -> int:
        if high > self.length:
            raise ValueError("bytes of a segment array are used after they were let go")
        return self.find(low)[0]

    def fits(self, count: int, length: int) -> bool:
        """Whether ``count`` more segments of ``length`` bytes in all may go in."""
        return self.used + count <= self.slots and self.length + length <= ARRAY_BYTES

    def take(self, views: Iterable[memoryview], then: Callable[[], object] | None) -> None:
        """Use the next slots for views, none empty; ``then`` is called when the array goes.

        All is taken over, or nothing and an error raised.
        """
        end, more = self.length, []
        for view in views:
            end += len(view)
            more.append((end, view))
        # What can fail comes before anything is changed.
        owners = self._then if then is None else [*self._then, then]
        self._slots += more
        self._then = owners

    def retag(self, start: int, slots: int, disposal: Disposal, *, after_gap: bool) -> None:
        """Make an array, that was empty until now, what its first segments need."""
        self.start, self.slots, self.disposal, self.after_gap = start, slots, disposal, after_gap

    def cut(self, length: int) -> None:
        """Shorten to ``length`` bytes."""
        slot, offset = self.find(length)
        kept = self._slots[:slot]
        if offset:
            kept.append((length, self._lend(self._slots[slot][1], 0, offset)))
        if self.disposal is not Disposal.EXTERNAL:
            # A sink has one view in many slots.
            staying = {id(view) for _, view in kept}
            for _, view in self._slots[slot:]:
                if id(view) not in staying:
                    release(view)
        self._slots = kept

    def within_slots(self, low: int, high: int, limit: int) -> tuple[int, int]:
        """``high``, brought down so that ``[low, high)`` touches at most ``limit`` slots, and how
        many it touches."""
        first, last = self.find(low)[0], self.find(high - 1)[0]
        if last - first < limit:
            return high, last - first + 1
        return self.slot_start(first + limit), limit

    def views(self, low: int, high: int) -> Iterator[memoryview]:
        """The memory of ``[low, high)``, counted from the start of the array, in order.

        A whole segment is the array's own view.  What is not is remembered as lent, and
        released with the array.
        """
        slot = self._first_slot(low, high)
        while low < high:
            end, view = self._slots[slot]
            first = end - len(view)
            if low > first or high < end:
                view = self._lend(view, low - first, min(high, end) - first)
            yield view
            low = end
            slot += 1

    def parts(self, low: int, high: int) -> list[memoryview]:
        """The same memory in views of their own, for whoever holds the array meanwhile."""
        parts: list[memoryview] = []
        slot = self._first_slot(low, high)
        while low < high:
            end, view = self._slots[slot]
            first = end - len(view)
            parts.append(view[low - first : min(high, end) - first])
            low = end
            slot += 1
        return parts

    def _lend(self, view: memoryview, low: int, high: int) -> memoryview:
        part = view[low:high]
        if len(self._lent) >= self._lent_max:
            self._lent = [known for known in self._lent if known() is not None]
            self._lent_max = max(_PRUNE_AT, 2 * len(self._lent))
        self._lent.append(weakref.ref(part))
        return part


def release(view: memoryview | None) -> None:
    """Let go of a view; one that something else was built upon stays that one's until it goes."""
    if view is not None:
        with contextlib.suppress(BufferError):
            view.release()
