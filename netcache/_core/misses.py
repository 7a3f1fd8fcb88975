"""Why something was not in the cache: one cause for each byte of a miss.  Pure.

What leaves the cache leaves a *trace*: the cause, and where it was, to a 64th of all that left for
that cause (exact for objects of up to 64 blocks).  A byte that is missed was lost for the cause of
the newest trace that covers it; without one it was never fetched.  Traces explain, and nothing
else: they may be lost, and nothing is ever read or fetched because of one.

A trace, and a note of a read, is a record of 64 bytes, big-endian:

| offset | size | field |
|---|---|---|
| 0 | 8 | tag of the object's place (as in the table of mappings); 0: the record is free |
| 8 | 8 | number: the newest of a set has the highest |
| 16 | 8 | when, ms since 1970, signed |
| 24 | 8 | start |
| 32 | 8 | end |
| 40 | 8 | mask: bit ``n`` for the ``n``-th part from ``start`` on; a note of a hit: how many |
| 48 | 1 | cause (``Cause.number``); 0 in a note of reads that hit |
| 49 | 1 | how long a part is: the binary logarithm |
| 50 | 10 | 0 |
| 60 | 4 | CRC-32 of the 60 bytes before |
"""

from __future__ import annotations

import itertools
import struct
from binascii import crc32
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import NamedTuple

from netcache._core.extent import Extent, ExtentSet, round_down

RECORD_BYTES = 64
PARTS = 64
_FIRST_PART = 9
_RECORD = struct.Struct(">QQqQQQBB10x")
_SUM = struct.Struct(">I")
END_OF_ALL = (1 << 63) - 1


class Cause(Enum):
    """Why bytes that a read wanted were not in the cache."""

    NEVER = "never fetched"
    CULLED = "culled"
    CHANGED = "version changed"
    EXPIRED = "expired"
    CHECKSUM = "checksum"
    DROPPED = "dropped"
    PARTIAL = "partial block"
    DOWN = "cache down"

    @property
    def number(self) -> int:
        """What stands for it on disk; never renumbered."""
        return _NUMBERS[self]

    @property
    def counter(self) -> str:
        """The name of its counter in the group ``Misses``."""
        return self.value.split()[0]


_NUMBERS = {cause: number for number, cause in enumerate(Cause, 1)}
_CAUSES = {number: cause for cause, number in _NUMBERS.items()}


class Trace(NamedTuple):
    """Bytes left the cache; or, in the notes of reads, were read: ``cause`` None is a hit.

    ``number`` orders the records of one object, ``when_ms`` is for people.  ``mask`` as in the
    table above.
    """

    number: int
    when_ms: int
    start: int
    end: int
    mask: int
    cause: Cause | None
    part: int

    def extents(self) -> list[Extent]:
        """What it covers, in order."""
        if self.start >= self.end:
            return []
        found: list[Extent] = []
        step = 1 << self.part
        for bit in range(PARTS):
            if not self.mask >> bit & 1:
                continue
            low = self.start + bit * step
            extent = Extent(low, min(low + step, self.end))
            if found and found[-1].end == extent.start:
                found[-1] = Extent(found[-1].start, extent.end)
            elif extent.length > 0:
                found.append(extent)
        return found


Record = tuple[int, Trace]
"""A tag, and what is on record under it."""


class Missed(NamedTuple):
    """A run of bytes that were not there, for one cause."""

    start: int
    end: int
    cause: Cause


def trace_of(cause: Cause, extents: Iterable[Extent], *, when_ms: int, number: int = 0) -> Trace:
    """The trace of what left at ``extents`` (in order); its ``start`` may lie below the first."""
    held = [extent for extent in extents if extent.length > 0]
    if not held:
        return Trace(number, when_ms, 0, 0, 0, cause, _FIRST_PART)
    low, high, part = held[0].start, held[-1].end, _FIRST_PART
    while round_down(low, 1 << part) + (PARTS << part) < high:
        part += 1
    start, mask = round_down(low, 1 << part), 0
    for extent in held:
        first, last = (extent.start - start) >> part, (extent.end - 1 - start) >> part
        mask |= (1 << last + 1) - (1 << first)
    return Trace(number, when_ms, start, high, mask, cause, part)


def explain(gaps: Iterable[Extent], traces: Sequence[Trace], *, down: bool = False) -> list[Missed]:
    """The misses that make up ``gaps``, in order, each with its one cause.

    ``down``: no cache could have held them.
    """
    newest = sorted(traces, key=lambda trace: -trace.number)
    covers = [
        (extent, trace.cause) for trace in newest if trace.cause for extent in trace.extents()
    ]
    found: list[Missed] = []
    for gap in gaps:
        if down:
            found.append(Missed(*gap, Cause.DOWN))
        else:
            found += _explained(gap, covers)
    return found


def _explained(gap: Extent, covers: Sequence[tuple[Extent, Cause]]) -> list[Missed]:
    if not covers:
        return [Missed(*gap, Cause.NEVER)]
    edges = {gap.start, gap.end}
    for extent, _ in covers:
        edges.update(edge for edge in extent if gap.start < edge < gap.end)
    ordered, found = sorted(edges), list[Missed]()
    for start, end in itertools.pairwise(ordered):
        cause = Cause.NEVER
        for extent, known in covers:
            if extent.start <= start < extent.end:
                cause = known
                break
        if found and found[-1].cause is cause:
            found[-1] = Missed(found[-1].start, end, cause)
        else:
            found.append(Missed(start, end, cause))
    return found


def encode(tag: int, trace: Trace, number: int | None = None) -> bytes:
    """A record; ``number`` takes the place of the trace's own."""
    own, when_ms, start, end, mask, cause, part = trace
    head = _RECORD.pack(
        tag,
        own if number is None else number,
        when_ms,
        start,
        end,
        mask,
        cause.number if cause is not None else 0,
        part,
    )
    return head + _SUM.pack(crc32(head))


def decode(raw: bytes) -> Record | None:
    """The tag and what a record says; None when it is free, or not to be believed."""
    if len(raw) != RECORD_BYTES or crc32(raw[:-4]) != _SUM.unpack(raw[-4:])[0]:
        return None
    tag, number, when_ms, start, end, mask, cause, part = _RECORD.unpack(raw[:-4])
    known = _CAUSES.get(cause)
    if not tag or (cause and known is None) or part > 63 or end > END_OF_ALL:
        return None
    return tag, Trace(number, when_ms, start, end, mask, known, part)


def remember(records: Sequence[Record | None], tag: int, trace: Trace) -> dict[int, Record | None]:
    """What to write into a set (None: free the place) so that it also holds a new trace.

    What the new trace covers is taken out of the object's older ones, and the older one of the same
    cause becomes part of it.  So an object has one record a cause, and no old loss is forgotten
    for new ones of the same object.
    """
    cover = ExtentSet(trace.extents())
    covered, changes = ExtentSet(cover), dict[int, Record | None]()
    for index, found in enumerate(records):
        if found is None or found[0] != tag:
            continue
        old = found[1]
        if old.cause is trace.cause:
            for extent in old.extents():
                covered.add(*extent)
            changes[index] = None
            continue
        left = old._replace(mask=old.mask & ~_covered_parts(old, cover))
        if left.mask != old.mask:
            changes[index] = (tag, left) if left.mask else None
    assert trace.cause is not None
    number = _next_number(records)
    merged = trace_of(trace.cause, covered, when_ms=trace.when_ms, number=number)
    after = [changes.get(index, found) for index, found in enumerate(records)]
    return changes | {_place(after): (tag, merged)}


def _covered_parts(trace: Trace, cover: ExtentSet) -> int:
    step, mask = 1 << trace.part, 0
    for bit in range(PARTS):
        low = trace.start + bit * step
        if trace.mask >> bit & 1 and cover.covers(low, min(low + step, trace.end)):
            mask |= 1 << bit
    return mask


def _place(records: Sequence[Record | None]) -> int:
    """A free place of a set, or else that of the oldest record."""
    if None in records:
        return list(records).index(None)
    numbers = [found[1].number for found in records if found is not None]
    return numbers.index(min(numbers))


def _next_number(records: Iterable[Record | None]) -> int:
    """A number higher than all of a set's."""
    return max((found[1].number for found in records if found is not None), default=0) + 1
