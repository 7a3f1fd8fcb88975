"""Replies to reads whose bytes lie in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from netcache._core.coherency import Version
from netcache._core.extent import Extent, ExtentSet
from netcache._core.invariant import invariant
from netcache.backends.memory_answers import Answers
from netcache.spi import BodySink

__all__ = ["MemoryRangesReply", "MemoryReply"]

PIECE_BYTES = 1 << 20


async def _hand_over(
    answers: Answers, data: memoryview, extent: Extent, sink: BodySink, notice_bytes: int
) -> None:
    """The bytes ``extent`` in pieces."""
    position, end = extent
    step = max(PIECE_BYTES, notice_bytes)
    while position < end:
        await answers.act("body")
        piece_end = min(end, (position & -notice_bytes) + step)
        sink(position, data[position:piece_end])
        await answers.act("body", after=True)
        position = piece_end
        await asyncio.sleep(0)


class MemoryReply:
    """A ``ReadReply``."""

    def __init__(
        self,
        answers: Answers,
        data: bytes,
        version: Version | None,
        extent: Extent,
        *,
        not_modified: bool = False,
    ) -> None:
        self.not_modified = not_modified
        self.version = version
        self.extent = extent
        self.whole = version is not None and extent == (0, version.size)
        self.ranges_supported: bool | None = True
        self._answers = answers
        self._data = memoryview(data)
        self._taken = False

    async def receive(self, sink: BodySink, *, notice_bytes: int = 1 << 20) -> int:
        """Hand the body over in pieces."""
        invariant(not self._taken, "a body is taken once")
        self._taken = True
        await _hand_over(self._answers, self._data, self.extent, sink, notice_bytes)
        return self.extent.length

    async def close(self) -> None:
        """Nothing is held."""
        self._taken = True


class MemoryRangesReply:
    """A ``RangesReply``."""

    def __init__(
        self, answers: Answers, data: bytes, version: Version, extents: Sequence[Extent]
    ) -> None:
        self.version = version
        self._answers = answers
        self._data = memoryview(data)
        self._extents = list(ExtentSet(extents))
        self._taken = False

    async def receive(self, sink: BodySink, *, notice_bytes: int = 1 << 20) -> list[Extent]:
        """Hand the extents over in pieces."""
        invariant(not self._taken, "a body is taken once")
        self._taken = True
        for extent in self._extents:
            await _hand_over(self._answers, self._data, extent, sink, notice_bytes)
        return self._extents

    async def close(self) -> None:
        """Nothing is held."""
        self._taken = True
