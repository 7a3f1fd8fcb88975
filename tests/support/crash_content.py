"""The bytes of a file of the crash model: sectors that are there, and holes.

A sector is both the block of the modelled filesystem (what SEEK_DATA tells of) and the unit of the
disk (what is written whole or not at all).
"""

from __future__ import annotations

SECTOR = 512
_ZEROS = bytes(SECTOR)


class Content:
    """A sparse file: its size, and its sectors by number; one that is missing is a hole."""

    __slots__ = ("sectors", "size")

    def __init__(self, size: int = 0, sectors: dict[int, bytes] | None = None) -> None:
        self.size = size
        self.sectors = sectors if sectors is not None else {}

    def copy(self) -> Content:
        """Another file with the same bytes and holes."""
        return Content(self.size, self.sectors.copy())

    def write(self, start: int, data: bytes) -> None:
        """Put bytes at ``start``; a sector that is written in part keeps its rest."""
        end = start + len(data)
        if start % SECTOR == 0 and end % SECTOR == 0:
            for offset in range(0, len(data), SECTOR):
                self.sectors[(start + offset) // SECTOR] = data[offset : offset + SECTOR]
        else:
            for number in touched(start, end):
                base = number * SECTOR
                low, high = max(start, base), min(end, base + SECTOR)
                old = self.sectors.get(number, _ZEROS)
                new = old[: low - base] + data[low - start : high - start] + old[high - base :]
                self.sectors[number] = new
        self.size = max(self.size, end)

    def read(self, start: int, length: int) -> bytes:
        """Up to ``length`` bytes at ``start``, holes as zeros."""
        end = min(start + length, self.size)
        if start >= end:
            return b""
        numbers = touched(start, end)
        joined = b"".join([self.sectors.get(number, _ZEROS) for number in numbers])
        first = numbers.start * SECTOR
        return joined[start - first : end - first]

    def truncate(self, size: int) -> None:
        """Cut or extend; what is cut off is zeros when the file grows again."""
        if size < self.size:
            for number in [n for n in self.sectors if n * SECTOR >= size]:
                del self.sectors[number]
            last, rest = divmod(size, SECTOR)
            if rest and last in self.sectors:
                self.sectors[last] = self.sectors[last][:rest].ljust(SECTOR, b"\0")
        self.size = size

    def punch(self, start: int, end: int) -> None:
        """Make a hole of whole sectors, and zero the parts of others; the size stays."""
        for number in [n for n in self.sectors if start < (n + 1) * SECTOR and n * SECTOR < end]:
            base = number * SECTOR
            if start <= base and base + SECTOR <= end:
                del self.sectors[number]
            else:
                low, high = max(start, base) - base, min(end, base + SECTOR) - base
                old = self.sectors[number]
                self.sectors[number] = old[:low] + bytes(high - low) + old[high:]

    def next_data(self, start: int) -> int:
        """SEEK_DATA; -1 when there is none."""
        if start >= self.size:
            return -1
        first = start // SECTOR
        if first in self.sectors:
            return start
        later = [n for n in self.sectors if n > first and n * SECTOR < self.size]
        return min(later) * SECTOR if later else -1

    def next_hole(self, start: int) -> int:
        """SEEK_HOLE; the end is a hole, and -1 comes past it."""
        if start >= self.size:
            return -1
        number = start // SECTOR
        if number not in self.sectors:
            return start
        while number in self.sectors:
            number += 1
        return min(number * SECTOR, self.size)

    @property
    def allocated(self) -> int:
        """The allocated bytes."""
        return len(self.sectors) * SECTOR


def touched(start: int, end: int) -> range:
    """The numbers of the sectors that ``[start, end)`` meets."""
    return range(start // SECTOR, -(-end // SECTOR))
