"""Uploads of parts: the changed blocks of a file, one exchange after another.

Each is conditional on the version that the one before it made: a failure leaves no gap behind it,
and another writer is noticed at the next part.  What was acknowledged goes to the cache in batches.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from netcache._core.coherency import Version
from netcache._core.doubt import Doubt
from netcache._core.extent import Extent
from netcache._core.stats import Stats
from netcache._finishing import finished
from netcache._netfs.base_version import BaseVersion
from netcache._netfs.buffer_queue import BufferQueue
from netcache._netfs.cache_stream import CacheStream, Piece
from netcache._netfs.changed_parts import exchanges_of, take_parts
from netcache._netfs.engine import ReadEngine
from netcache._netfs.journaled import keep_up, on_disk, save
from netcache._netfs.opener import Opener
from netcache._netfs.stored_version import stored_version
from netcache._netfs.under_way import UnderWay
from netcache._netfs.upload import condition_on
from netcache._netfs.write_request import WriteRequest, WriteSource
from netcache.errors import ConflictError, NotOfferedError
from netcache.spi import Backend, UploadReply

_KEPT_BYTES_MAX = 32 << 20
"""How much of what was acknowledged is held for the cache at a time."""


class PartUploader:
    """Sends parts of files, and moves the cache on.  On the client's loop."""

    def __init__(
        self, backend: Callable[[], Backend], engine: ReadEngine, opener: Opener, stats: Stats
    ) -> None:
        self._backend = backend
        self._engine = engine
        self._opener = opener
        self._stats = stats
        self._cache = CacheStream(engine.store, engine.inodes, stats)

    async def send(self, request: WriteRequest, together: Extent | None = None) -> None:
        """Send what is dirty, ``together`` in one exchange.

        What was acknowledged is clean afterwards, also on an error.
        """
        runs = take_parts(request.file)
        try:
            for part in exchanges_of(runs, together):
                await self._send_part(request, part)
                if request.sent_bytes >= _KEPT_BYTES_MAX:
                    await finished(self._settle(request))
        finally:
            await finished(self._settle(request))
            request.file.under_way = None

    async def _send_part(self, request: WriteRequest, piece: Extent) -> None:
        file, before = request.file, request.version
        assert before is not None
        part = request.snapshot(piece)
        try:
            if file.entry is not None:
                await on_disk(lambda: _announce(request, before, piece, part))
            reply = await self._exchange(request, before, piece, part)
            size = max(before.size, piece.end)
            version = await stored_version(self._backend(), file.resource.url, reply, size)
        except BaseException as error:
            # If the server may have it, the doubt says so.
            file.under_way = UnderWay(before, None, tuple(request.sent))
            if not isinstance(error, ConflictError | NotOfferedError):
                file.leave_in_doubt(_doubt_of(before, piece, part))
            raise
        finally:
            part.close()
        request.acknowledged(piece, version, proven=reply.version is not None)

    async def _exchange(
        self, request: WriteRequest, before: Version, piece: Extent, part: BufferQueue
    ) -> UploadReply:
        file = request.file
        sub = request.issue(WriteSource.UPLOAD, piece)
        self._stats.add("UpldOps", "UL")
        try:
            reply = await self._backend().update(
                file.resource.url,
                piece.start,
                part.buffers(*piece),
                size=before.size,
                condition=condition_on(before.validator),
            )
        except BaseException as error:
            self._stats.add("UpldOps", "uf")
            sub.ended(error)
            raise
        finally:
            self._stats.add("UpldOps", "us")
        sub.ended()
        self._stats.add("UpldOps", "bytes", piece.length)
        return reply

    async def _settle(self, request: WriteRequest) -> None:
        """What was acknowledged is clean, and in the cache."""
        queue, sent = request.take_sent()
        if queue is None:
            return
        try:
            if not sent or request.version is None:
                return
            await self._move_on(request, queue, sent)
        finally:
            queue.close()
        file = request.file
        with file.lock:
            file.pages.landed(sent)
            file.under_way = None
        await keep_up(file)
        with file.lock:
            file.pages.forget(extent for extent in sent if file.base.has(*extent))

    async def _move_on(
        self, request: WriteRequest, queue: BufferQueue, sent: Sequence[Extent]
    ) -> None:
        file, version = request.file, request.version
        assert version is not None
        if not request.proven:
            # The bytes around the parts could be another writer's: nothing cached is carried over.
            inode = self._opener.adopt(file.resource, version, time.monotonic())
            file.uploaded(BaseVersion(inode, self._engine))
            return
        subs = [request.issue(WriteSource.CACHE_WRITE, extent) for extent in sent]
        pieces: list[Piece] = [(extent.start, queue.buffers(*extent)[0]) for extent in sent]
        with file.lock:
            taken = self._cache.take(file.base.inode)
        try:
            inode = await asyncio.get_running_loop().run_in_executor(
                None,
                self._cache.advance,
                file.resource,
                taken,
                version,
                pieces,
                time.monotonic(),
            )
        finally:
            # A cache that failed is no failure of the write.
            for sub in subs:
                sub.ended()
        file.uploaded(BaseVersion(inode, self._engine))


def _announce(request: WriteRequest, before: Version, piece: Extent, part: BufferQueue) -> None:
    """Let the journal know of a part before it goes.  Blocks on the disk."""
    doubt = _doubt_of(before, piece, part)
    request.file.under_way = UnderWay(before, doubt, tuple(request.sent))
    save(request.file, again=True)


def _doubt_of(before: Version, piece: Extent, part: BufferQueue) -> Doubt:
    return Doubt.of_part(max(before.size, piece.end), piece, part.buffers(*piece))
