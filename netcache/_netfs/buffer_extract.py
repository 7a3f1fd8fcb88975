"""Buffer queues over the buffers that a caller passes, which are pinned and never copied."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from netcache._netfs.buffer_queue import BufferQueue
from netcache._netfs.byte_view import byte_view
from netcache._netfs.segment_array import Arena, Disposal, release

if TYPE_CHECKING:
    from typing_extensions import Buffer  # collections.abc has it from Python 3.12 on


def extract(
    arena: Arena,
    source: Buffer | list[Buffer] | tuple[Buffer, ...],
    start: int = 0,
    *,
    writable: bool = False,
    limit: int = sys.maxsize,
    streams: int = 0,
) -> BufferQueue:
    """A queue from the file position ``start`` on over a buffer, or a list or tuple of them.

    At most ``limit`` bytes are taken.  Buffers are held as they are until the queue and its slices
    are closed: a bytearray cannot be resized, a map not closed.  An element that cannot be had
    ends the queue there, for a short transfer; it is an error when it is the first (empty ones do
    not count), and ``MemoryError`` always is.
    """
    queue = BufferQueue(arena, start, streams=streams)
    views: list[memoryview] = []
    try:
        _pin(source if isinstance(source, list | tuple) else (source,), views, writable, limit)
        queue.append(views, Disposal.PINNED)
    except BaseException:
        for view in views:
            release(view)
        queue.close()
        raise
    return queue


def _pin(
    sources: list[Buffer] | tuple[Buffer, ...], views: list[memoryview], writable: bool, limit: int
) -> None:
    """Put the views of as many sources as can be had into ``views``."""
    for source in sources:
        if limit <= 0:
            return
        try:
            view = byte_view(source, writable=writable)
        except MemoryError:
            raise
        except Exception:
            if not any(map(len, views)):
                raise
            return
        if len(view) > limit:
            with view:
                view = view[:limit]
        limit -= len(view)
        views.append(view)
