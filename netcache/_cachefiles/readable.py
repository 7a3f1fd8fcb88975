"""Reading cache objects: what of the one file is there, and whether it is what was stored.

Two witnesses: a block of a map is there when the filesystem and the record of sums both say so.
What content ALL promises is there without asking either.  ``prove`` then compares bytes with sums,
as far as the level of the store asks for it (see ``_core.verifying``).
Threads and processes: ``labelled``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from netcache._cachefiles.failures import out_of_use, told_as_cache_errors
from netcache._cachefiles.labelled import LabelledObject
from netcache._cachefiles.proof import STEP_BYTES, end_of_data
from netcache._core.content import COMPLETE, CachedExtent, Content, Occupancy
from netcache._core.cull_part import LARGE_BYTES_MIN, region_bits
from netcache._core.extent import Extent, ExtentSet, round_down, round_out, round_up
from netcache._core.verifying import GROUP_BYTES, STRIDE_BYTES_MAX, Verify

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from netcache._core.label import Label

_EVERYTHING = Extent(0, 1 << 62)
_OPEN = Verify.OPEN


class ReadableObject(LabelledObject):
    """An open object that can be read."""

    # What is there.

    def query_occupancy(self, start: int, end: int) -> tuple[CachedExtent, ...]:
        """Up to two cached extents that meet ``[start, end)``; no seek for ALL and SINGLE."""
        self._read_of(start, end)
        found = self._ask(start, end, round_up(end, STRIDE_BYTES_MAX), self._label.doubtful)
        return tuple(CachedExtent(*extent, Occupancy.DATA) for extent in found)

    def _read_of(self, start: int, end: int) -> None:
        """Remember what is read of an object that may be culled in parts."""
        if self.size > LARGE_BYTES_MIN:
            self._regions |= region_bits(start, min(end, self.size), self.size, self.block_size)

    def extents(self) -> Iterator[Extent]:
        """All cached extents, in order, clipped to ``S``; nothing is compared."""
        position = 0
        while position < self.size and (found := self._ask(position, self.size, self.size, False)):
            yield from found
            position = found[-1].end

    def _ask(self, start: int, end: int, horizon: int, compare: bool) -> list[Extent]:
        """Up to two extents that meet ``[start, end)``; in a map none reaches past ``horizon``."""
        found: list[Extent] = []
        with self._lock, told_as_cache_errors(self._bound):
            self.fileno()
            self._learn()
            limit = min(self._label.stored_end, self.size)
            if start >= min(end, limit) or self._label.content is Content.NO_DATA:
                return found
            if self._label.content in COMPLETE:
                whole = self._proof.damaged.missing(0, limit)
                return [run for run in whole if run.start < end and start < run.end][:2]
            for run in self._data_extents(start, min(end, limit), limit):
                for extent in self._agreed(run.clip(0, horizon), compare):
                    if found and found[-1].end == extent.start:
                        found[-1] = Extent(found[-1].start, extent.end)
                    elif len(found) == 2:
                        return found
                    else:
                        found.append(extent)
                if len(found) == 2:
                    break
        return found

    def _agreed(self, run: Extent, compare: bool) -> Iterator[Extent]:
        """What of the filesystem's ``run`` is on record too, in steps that may adjoin.

        What this process found damaged is there again when somebody has stored it anew.
        """
        label, proof = self._label, self._proof
        for low in range(run.start, run.end, STRIDE_BYTES_MAX):
            for known in proof.recorded(label, low, min(low + STRIDE_BYTES_MAX, run.end)):
                end = min(known.end, run.end)
                for bad in proof.damaged.within(known.start, end):
                    if self.is_sound(*bad):
                        proof.damaged.remove(*bad)
                if compare:
                    self._compare(known)
                    yield from proof.sound.within(known.start, end)
                else:
                    yield from proof.damaged.missing(known.start, end)

    def _data_extents(self, start: int, end: int, limit: int) -> Iterator[Extent]:
        """What the filesystem calls data, rounded in to whole blocks (the last ends with ``S``)."""
        position = round_down(start, self.block_size)
        while position < end:
            data = self._ops.seek_data(self._file.fd, position)
            if data < 0 or data >= end:
                return
            hole = self._ops.seek_hole(self._file.fd, data)
            position = max(hole, data + 1)
            low = round_up(data, self.block_size)
            high = min(round_down(hole, self.block_size), limit)
            yield from self._pending.missing(low, high)

    def read_into(self, start: int, buffer: Buffer) -> int:
        """Read cached bytes at ``start``, clamped at ``S`` and ``L``."""
        fd = self.fileno()
        view = memoryview(buffer).cast("B")
        length = min(len(view), self.size - start, self._label.stored_end - start)
        if length <= 0 or start < 0:
            return 0
        with told_as_cache_errors(self._bound):
            return self._ops.read_into(fd, view[:length], start)

    # Whether it is what was stored.

    def prove(self, start: int, end: int) -> Extent:
        """Compare ``[start, end)``, which is there, with its sums as far as the level asks for it.

        Returns a proven extent that begins at or before ``start``.  Where it ends before ``end``,
        a block was damaged: it is not cached any more.
        """
        self._read_of(start, end)
        if not self.proves:
            return _EVERYTHING
        with self._lock, told_as_cache_errors(self._bound):
            self.fileno()
            proof, unit = self._proof, self._label.unit
            if not self.proves_each_read:
                known = proof.sound.holding(start)
                if known is not None and known.end >= min(end, self.size):
                    return known
            self._learn()
            limit = end_of_data(self._label)
            wanted = Extent(round_down(start, unit), min(round_up(end, unit), limit))
            if not self.proves_each_read:
                wanted = proof.stretch(*wanted).clip(0, limit)
        if self.proves_each_read:
            return self._proven_now(wanted)
        with self._lock:
            gaps = proof.sound.missing(*wanted)
        for gap in gaps:
            self._compare(gap)
        with self._lock:
            return proof.sound.holding(start) or Extent(start, start)

    def read_whole(self, start: int, end: int) -> bytes | None:
        """``[start, end)`` when all of it is there and sound, where one comparison tells."""
        bound = self._bound
        if bound.dead:
            raise out_of_use()
        with self._lock:
            self.fileno()
            try:
                if bound.verify is not _OPEN:
                    return None
                return self._proof.read_whole(self._label, start, end)
            except OSError:
                with told_as_cache_errors(bound):
                    raise

    def _proven_now(self, wanted: Extent) -> Extent:
        """How much of ``wanted`` from its start on is sound at this moment."""
        for low in range(wanted.start, wanted.end, STEP_BYTES):
            high = min(low + STEP_BYTES, wanted.end)
            if unsound := self._compare(Extent(low, high)):
                return Extent(wanted.start, unsound[0].start)
        return wanted

    def is_proven(self, start: int, end: int) -> bool:
        """Whether ``prove`` has nothing to compare for ``[start, end)``."""
        if not self.proves:
            return True
        if self.proves_each_read:
            return start >= end
        with self._lock:
            return self._proof.sound.covers(start, min(end, self.size))

    def prove_nowait(self, start: int, end: int) -> bool:
        """Whether ``[start, end)`` is proven, or was now, from memory alone.

        The bytes are not waited for; their sums are, a page of a table for every 2 MiB of bytes.
        """
        if self.is_proven(start, end):
            return True
        if self.proves_each_read or end - start > GROUP_BYTES:
            return False
        with self._lock, told_as_cache_errors(self._bound):
            self.fileno()
            self._learn()
            return self._proof.prove_in_memory(self._label, start, end)

    def is_sound(self, start: int, end: int) -> bool:
        """Compare ``[start, end)`` now, whatever the level: it is about to get new sums."""
        return not self._compare(round_out(Extent(start, end), self._label.unit))

    def believe(self) -> None:
        """All that is recorded was just written by us."""
        with self._lock:
            self._proof.stored(0, end_of_data(self._label))

    def damaged(self, start: int, end: int) -> bool:
        """Whether part of ``[start, end)`` was found damaged and has not come again since."""
        with self._lock:
            return bool(self._proof.damaged.within(start, end))

    def _compare(self, extent: Extent) -> list[Extent]:
        """Compare blocks with their sums; returns what is not sound, in order.

        The lock is not held all the time, for others fill the object meanwhile.
        """
        unsound: list[Extent] = []
        for low in range(extent.start, extent.end, STEP_BYTES):
            high = min(low + STEP_BYTES, extent.end)
            with self._lock, told_as_cache_errors(self._bound):
                self.fileno()
                wrong, absent = self._proof.unsound(self._label, low, high)
                if not wrong and not absent:
                    self._proof.sound.add(low, high)
                    continue
                bad = ExtentSet([*wrong, *absent])
                for sound in bad.missing(low, high):
                    self._proof.sound.add(*sound)
                unsound += bad
                # In a map, what has no record was never there.
                complete = self._label.content in COMPLETE
                self._found_damaged(list(bad) if complete else wrong)
        return unsound

    def _found_damaged(self, extents: list[Extent], *, strict: bool = False) -> None:
        """Forget what does not fit, unless somebody has stored it anew by now.

        It is known to be damaged from then on, also where the disk does not let its record go:
        else it would be there for whoever asks, and never proven.
        """
        if not extents:
            return
        found: list[Extent] = []

        def forget(label: Label) -> Label:
            for extent in extents:
                complete = label.content in COMPLETE
                wrong, absent = self._proof.unsound(label, *extent, strict=strict)
                for part in [*wrong, *(absent if complete else ())]:
                    found.append(part)
                    label = self._proof.forget(label, *part)
            return label

        try:
            self._change(forget)
        finally:
            for extent in found:
                self._proof.damaged.add(*extent)
                self._bound.damaged(self.key, extent)
