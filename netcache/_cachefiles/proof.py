"""Comparing what lies in an object's file with its sums.

``sound`` are blocks that were compared, or written by us or others, since the object was opened:
they are believed as long as it stays open (but not with ``Verify.READ``).  ``damaged`` are blocks
that were found not to fit, until somebody stores them again: they count as not cached, and their
record is cleared, so that they are fetched again, alone.

The owner (the object) holds its lock around every call.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from netcache._core.checksums import Run, block_sums, differing_runs, recorded_runs
from netcache._core.content import COMPLETE, Content
from netcache._core.extent import Extent, ExtentSet, round_down, round_up
from netcache._core.verifying import GROUP_BYTES, Stride

if TYPE_CHECKING:
    from netcache._cachefiles.file_port import FileOps
    from netcache._cachefiles.sums import ObjectSums
    from netcache._core.label import Label

STEP_BYTES = 256 * 1024
"""What is read and compared at once: it stays in a processor's own cache."""


_ZEROS = memoryview(bytes(4096))
"""What pads the last block of most objects."""


_ASIDE = 48
"""How far the buffer lies from the start of its block of memory."""


class _Scratch(threading.local):
    """A buffer for each thread: making one costs more than comparing."""

    def __init__(self) -> None:
        # Large blocks of memory begin 16 bytes behind the start of a page, where the copy of whole
        # pages is slow (see ``_fscache.buffers``, which would be one module more for each command
        # that reads).  It is where the destination lies less than 32 bytes behind the source, by
        # their low 12 bits.
        self.buffer = memoryview(bytearray(STEP_BYTES + _ASIDE))[_ASIDE:]


_scratch = _Scratch()


def end_of_data(label: Label) -> int:
    """Where the last block that may be read ends."""
    return round_up(min(label.stored_end, label.version.size), label.unit)


class Proof:
    """What is known of the blocks of one backing file."""

    __slots__ = ("_damaged", "_fd", "_ops", "_sound", "_stride", "sums")

    def __init__(self, ops: FileOps, fd: int, sums: ObjectSums) -> None:
        self._ops = ops
        self._fd = fd
        self.sums = sums
        # Made by the first that needs them: most objects are read once, as a whole, and sound.
        self._sound: ExtentSet | None = None
        self._damaged: ExtentSet | None = None
        self._stride: Stride | None = None

    @property
    def sound(self) -> ExtentSet:
        """See the module."""
        if self._sound is None:
            self._sound = ExtentSet()
        return self._sound

    @property
    def damaged(self) -> ExtentSet:
        """See the module."""
        if self._damaged is None:
            self._damaged = ExtentSet()
        return self._damaged

    def stored(self, start: int, end: int) -> None:
        """We have stored and recorded ``[start, end)``."""
        self.sound.add(start, end)
        self.damaged.remove(start, end)

    def stretch(self, start: int, end: int) -> Extent:
        """How far to compare for a read of ``[start, end)``."""
        if self._stride is None:
            self._stride = Stride()
        return self._stride.stretch(start, end)

    def lost(self, start: int, end: int) -> None:
        """``[start, end)`` is not cached any more."""
        self.sound.remove(start, end)

    def recorded(self, label: Label, start: int, end: int) -> list[Extent]:
        """The parts of ``[start, end)`` (whole blocks) that have a sum."""
        unit = label.unit
        first, last = start // unit, -(-end // unit)
        runs = recorded_runs(self.sums.read(label, first, last), first)
        return [Extent(low * unit, high * unit) for low, high in runs]

    def unsound(
        self, label: Label, start: int, end: int, *, strict: bool = False
    ) -> tuple[list[Extent], list[Extent]]:
        """Compare ``[start, end)``, at most ``STEP_BYTES``, with the sums.

        Returns what does not fit its sum, and what has none, in whole blocks.  Padding is nobody's
        data and counts as the zeros that it should be, unless ``strict``.
        """
        unit = label.unit
        first, last = start // unit, -(-min(end, end_of_data(label)) // unit)
        if first >= last:
            return [], []
        recorded = self.sums.read(label, first, last)
        size = last * unit if strict else label.version.size
        differing = differing_runs(recorded, self._found(first, last, unit, size), first)
        if not differing:
            return [], []
        present = ExtentSet(recorded_runs(recorded, first))
        wrong: list[Run] = [run for low, high in differing for run in present.within(low, high)]
        absent: list[Run] = [run for low, high in differing for run in present.missing(low, high)]
        return _extents(wrong, unit), _extents(absent, unit)

    def read_whole(self, label: Label, start: int, end: int, *, wait: bool = True) -> bytes | None:
        """``[start, end)`` when all of a small object is there, and every block fits its sum.

        One read for both.  With ``start == end`` there may be nothing left to compare.  Without
        ``wait`` also None where the disk would have to be waited for.
        """
        version, content, _, stored_end, _, _, _, _, _, unit, _, _, _ = label
        size = version.size
        if size > stored_end or size > GROUP_BYTES or self._damaged or content not in COMPLETE:
            return None
        if start == end and self._sound is not None and self._sound.covers(0, size):
            return b""
        blocks = -(-size // unit)
        view = _scratch.buffer[: blocks * unit]
        read = self._ops.read_into if wait else self._ops.read_nowait
        count = read(self._fd, view, 0)
        if count < 0:
            return None
        recorded = self.sums.read(label, 0, blocks)
        if differing_runs(recorded, _padded_sums(view, count, unit, size), 0):
            return None
        self._sound = ExtentSet(((0, blocks * unit),))
        return view[start:end].tobytes()

    def prove_in_memory(self, label: Label, start: int, end: int) -> bool:
        """Whether ``[start, end)``, at most ``GROUP_BYTES``, is sound, by what is in memory alone.

        It proves the groups that it touches, or at least its own blocks where those have holes.
        """
        size = label.version.size
        for step in (GROUP_BYTES, label.unit):
            low, high = round_down(start, step), round_up(min(end, size), step)
            for gap in self.sound.missing(low, min(high, end_of_data(label))):
                if not self._sound_in_memory(label, *gap):
                    break
                self.sound.add(*gap)
            else:
                return True
        return False

    def _sound_in_memory(self, label: Label, start: int, end: int) -> bool:
        """Whether the blocks of ``[start, end)``, at most ``STEP_BYTES``, surely fit their sums.

        False says nothing: their bytes may not be in memory, and the disk is not waited for.
        """
        unit = label.unit
        first, last = start // unit, -(-end // unit)
        view = _scratch.buffer[: (last - first) * unit]
        if self._ops.read_nowait(self._fd, view, start) != len(view):
            return False
        recorded = self.sums.read(label, first, last)
        found = _padded_sums(view, len(view), unit, label.version.size - start)
        return not differing_runs(recorded, found, first)

    def _found(self, first: int, last: int, unit: int, size: int) -> bytes:
        """The sums of what lies in the file; what is past its end, or ``size``, counts as zeros."""
        view = _scratch.buffer[: (last - first) * unit]
        count = self._ops.read_into(self._fd, view, first * unit)
        return _padded_sums(view, count, unit, size - first * unit)

    def forget(self, label: Label, start: int, end: int) -> Label:
        """Clear the record of ``[start, end)``: the object is a map with a hole there."""
        self.sound.remove(start, end)
        label = self.sums.forget(label, start // label.unit, -(-end // label.unit))
        if label.content in COMPLETE:
            label = label._replace(content=Content.BACKFS_MAP, committed=0)
        return label

    def close(self) -> None:
        """Let the table go."""
        self.sums.close()


def _padded_sums(view: memoryview, count: int, unit: int, size: int) -> bytes:
    """The sums of blocks of which ``count`` bytes were read, and no more than ``size`` are data."""
    count = min(count, size)
    missing = len(view) - count
    if missing > 0:
        view[count:] = _ZEROS[:missing] if missing <= len(_ZEROS) else bytes(missing)
    return block_sums(view, unit)


def _extents(runs: list[Run], unit: int) -> list[Extent]:
    return [Extent(low * unit, high * unit) for low, high in runs]
