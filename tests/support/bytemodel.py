"""The plain reference of a cached resource: a byte array, and nothing clever.

The model knows what the resource's bytes are.  It does not know what is cached: a store may
always know less than the model, it may never say anything else.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from functools import cache

_PERIOD = (1 << 20) + 7


class ByteModel:
    """The true bytes of one version of a resource."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = bytearray(data)

    @property
    def size(self) -> int:
        """The size of the resource."""
        return len(self.data)

    def part(self, start: int, end: int) -> bytes:
        """The bytes of ``[start, end)``, clipped to the size."""
        return bytes(self.data[start:end])

    def padded(self, start: int, end: int) -> bytes:
        """The bytes of ``[start, end)``, with zeros past the size."""
        return self.part(start, end).ljust(end - start, b"\0")

    def write(self, start: int, data: bytes) -> None:
        """Replace bytes; a write past the end leaves zeros between."""
        if not data:
            return
        if start > len(self.data):
            self.data.extend(bytes(start - len(self.data)))
        self.data[start : start + len(data)] = data

    def truncate(self, size: int) -> None:
        """Cut or extend with zeros."""
        del self.data[size:]
        self.data.extend(bytes(size - len(self.data)))

    def wrong_parts(self, served: Iterable[tuple[int, bytes]]) -> list[str]:
        """What is wrong with ``served``, pieces of (start, bytes); empty when nothing is."""
        faults: list[str] = []
        for start, piece in served:
            end = start + len(piece)
            if end > self.size:
                faults.append(f"[{start}, {end}) reaches past the size {self.size}")
            truth = self.part(start, end)
            if piece[: len(truth)] != truth:
                first = next(i for i, byte in enumerate(truth) if piece[i] != byte)
                faults.append(
                    f"byte {start + first} of [{start}, {end}) "
                    f"is {piece[first]}, not {truth[first]}"
                )
        return faults


@cache
def _text(seed: int) -> bytes:
    return random.Random(seed).randbytes(_PERIOD).replace(b"\0", b"\x01")


def pattern(start: int, end: int, seed: int = 0) -> bytes:
    """Bytes of ``[start, end)`` of an endless text: never zero, and no two blocks alike."""
    text = _text(seed)
    first = start % _PERIOD
    length = end - start
    return (text[first:] + text * (length // _PERIOD + 1))[:length]
