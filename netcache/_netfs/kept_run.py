"""Runs of a file that are kept for the cache and sent from the same memory.

One thread reads a piece, keeps it, and gives it to the one that sends, which finds it in a
processor's cache.  A few pieces lie between the two, so that neither waits for each step of the
other; to hand a run from task to task instead costs half a millisecond, and what was written is
cold by the time that it is read again.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Generator
from queue import SimpleQueue
from typing import TYPE_CHECKING

from netcache._fscache.buffers import page_buffer
from netcache.spi import FileRun

if TYPE_CHECKING:
    from netcache._netfs.tee import Take

PIECE_BYTES = 512 << 10
"""What is read, kept and sent at a time."""

PIECES = 4
"""So many pieces are in memory."""


def kept_run(take: Take, source: int, start: int, end: int) -> FileRun:
    """The bytes ``[start, end)`` of the file ``source``; ``take`` gets what is going to be sent."""
    return FileRun(source, start, end, lambda: _Pieces(take, source, start, end).each())


class _Pieces:
    """The pieces of one run.  ``each`` belongs to the thread that sends."""

    def __init__(self, take: Take, source: int, start: int, end: int) -> None:
        self._take = take
        self._source = source
        self._start = start
        self._end = end
        # None: nobody wants any more.
        self._free: SimpleQueue[memoryview | None] = SimpleQueue()
        # None: there are no more; an exception is why.
        self._kept: SimpleQueue[tuple[memoryview, int] | Exception | None] = SimpleQueue()

    def each(self) -> Generator[memoryview, None, None]:
        """The pieces in order, each valid until the next; fewer where the file is shorter.  Blocks.

        Nothing is read or kept any more when the generator has been closed.
        """
        for _ in range(PIECES):
            self._free.put(page_buffer(min(PIECE_BYTES, self._end - self._start)))
        keeper = threading.Thread(target=self._keep, name="netcache-keeper", daemon=True)
        keeper.start()
        try:
            while (kept := self._kept.get()) is not None:
                if isinstance(kept, Exception):
                    raise kept
                room, count = kept
                yield room[:count]
                self._free.put(room)
        finally:
            self._free.put(None)
            keeper.join()

    def _keep(self) -> None:
        """Read and keep ahead of the sender."""
        position = self._start
        end: Exception | None = None
        try:
            while position < self._end and (room := self._free.get()) is not None:
                count = os.preadv(self._source, [room[: self._end - position]], position)
                if not count:
                    break
                self._take(room[:count])
                self._kept.put((room, count))
                position += count
        except Exception as error:
            end = error
        self._kept.put(end)
