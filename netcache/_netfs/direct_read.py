"""Direct reads: bytes that go to their reader through memory, past the cache.

They are for what cannot be kept (no cache, no room, a disk that fails).  What the cache has is read
from there all the same, and the rest comes from the server.  On the client's loop.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from netcache._core.extent import Extent
from netcache._core.read_sources import Piece, choose_pieces
from netcache._netfs import events
from netcache._netfs.buffer_queue import BufferQueue
from netcache._netfs.damage import not_to_be_had
from netcache._netfs.engine import DIRECT_BYTES_MAX
from netcache._netfs.misses import downloads
from netcache._netfs.read_issuer import Issuer
from netcache._netfs.read_sinks import MemorySink
from netcache._netfs.request import Origin, Request
from netcache._netfs.segment_array import Arena
from netcache._netfs.survey import Survey, survey_of, zero_limit_of
from netcache.errors import TransientError

if TYPE_CHECKING:
    from netcache._netfs.engine import ReadEngine
    from netcache._netfs.inode import Inode
    from netcache.spi import ReadReply


async def read_direct(
    engine: ReadEngine, inode: Inode, start: int, end: int, ahead: int = 0
) -> bytes:
    """The bytes ``[start, end)`` from the server, past the cache; ``ahead`` as in ``ensure``.

    The last piece read this way is kept in memory for the reads that follow it.
    """
    end = inode.clip(end)
    if end <= start:
        return b""
    kept_start, kept = inode.memory
    if kept_start <= start and end <= kept_start + len(kept):
        return kept[start - kept_start : end - kept_start]
    if engine.offline:
        raise not_to_be_had(inode, start, end)
    stop = min(max(end, inode.clip(ahead)), max(end, start + DIRECT_BYTES_MAX))
    data = await _read_to_memory(engine, inode, start, stop, end)
    if len(data) <= DIRECT_BYTES_MAX:
        inode.memory = (start, data)
    return data[: end - start]


async def read_found(engine: ReadEngine, inode: Inode, start: int, end: int) -> bytes:
    """Read ``[start, end)``, which has just been found present."""
    with suppress(OSError):
        data = os.pread(inode.window[0], end - start, start)
        if len(data) == end - start:
            return data
    inode.lose_holding()
    return await read_direct(engine, inode, start, end)


async def take_into_memory(engine: ReadEngine, inode: Inode, reply: ReadReply) -> None:
    """Keep the body of ``reply`` in memory; what breaks off is left for the next read."""
    pieces: list[bytes] = []
    stats = engine.stats
    stats.add("DownOps", "DL")
    try:
        await reply.receive(lambda _, view: pieces.append(bytes(view)))
    except TransientError:
        stats.add("DownOps", "df")
    finally:
        stats.add("DownOps", "ds")
        await reply.close()
    inode.memory = (reply.extent.start, b"".join(pieces))
    stats.add("DownOps", "bytes", len(inode.memory[1]))


async def _read_to_memory(
    engine: ReadEngine, inode: Inode, start: int, end: int, needed: int
) -> bytes:
    """``[start, end)``: from the cache what it has, from the server the rest.

    What lies past ``needed`` is only read ahead.
    """
    stats, means = engine.stats, engine.means
    stats.add("Reads", "DR")
    request = Request(
        Origin.DIRECT, Extent(start, end), stats, size=inode.size, zero_limit=zero_limit_of(inode)
    )
    events.read(request, inode.resource.url)
    try:
        with BufferQueue(Arena(stats), start) as queue:
            queue.allocate(end - start)
            sink = MemorySink(queue, inode, stats)
            pieces = _pieces(inode, start, end)
            missed = downloads(pieces, needed)
            means.misses.missed_past_cache(inode, missed, request.id)
            issuer = Issuer(request, inode, sink, means, resumable=True)
            await issuer.run(pieces, engine.cut_bytes(inode, pieces))
            if request.failures:
                raise min(request.failures, key=lambda failure: failure[0])[1]
            return queue.tobytes(start, end)
    finally:
        request.finish()


def _pieces(inode: Inode, start: int, end: int) -> list[Piece]:
    pieces: list[Piece] = []
    while start < end:
        survey = survey_of(inode, start, end) if inode.cached is not None else Survey([], end)
        pieces += choose_pieces(
            Extent(start, survey.reach),
            survey.extents,
            zero_limit=zero_limit_of(inode),
            block_size=1,
            copy=False,
        )
        start = survey.reach
    return pieces
