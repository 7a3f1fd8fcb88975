"""Writeback: the changes of an edited file go to the server, and then into the cache.

Rules:

1. One writeback a file at a time, held through to the cache; background ones give up when there is
   one, synchronous ones wait in order (reference 4.6, T24).
2. Where the origin changes parts, only the changed blocks are sent, one exchange after another,
   each conditional on the version that the one before it made: a failure leaves no gap behind it.
   Otherwise the whole resource is sent, from the cache and the server.
3. What failed is dirty again; what was acknowledged before it is not sent again.
4. The version that a change was made from is demanded by every upload (promise P7).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from netcache._core.coherency import Version
from netcache._core.extent import Extent
from netcache._core.stats import Stats
from netcache._netfs.base_version import BaseVersion
from netcache._netfs.cache_stream import CacheStream, Piece
from netcache._netfs.dirty_file import DirtyFile
from netcache._netfs.doubt import Doubt
from netcache._netfs.engine import ReadEngine
from netcache._netfs.journaled import keep_up, save
from netcache._netfs.opener import Opener
from netcache._netfs.overlay_body import OverlayBody
from netcache._netfs.upload import Uploader, condition_on
from netcache.errors import (
    ConflictError,
    NetCacheError,
    NotOfferedError,
    RemoteProtocolError,
    TransientError,
)
from netcache.spi import Backend, UploadReply

_logger = logging.getLogger("netcache.writeback")

UPDATE_BYTES_MAX = 32 << 20
"""The largest part that is sent in one exchange; also the largest atomic write."""
_KEPT_BYTES_MAX = 32 << 20
"""How much of what was acknowledged is held for the cache at a time."""


class Writeback:
    """Sends the changes of dirty files.  On the client's loop."""

    def __init__(
        self,
        backend: Callable[[], Backend],
        engine: ReadEngine,
        opener: Opener,
        uploader: Uploader,
        stats: Stats,
    ) -> None:
        self._backend = backend
        self._engine = engine
        self._opener = opener
        self._uploader = uploader
        self._stats = stats
        self._cache = CacheStream(engine.store, engine.inodes, stats)

    async def changes_parts(self, file: DirtyFile) -> bool:
        """Whether the changes can be sent without the rest of the resource.  May ask the origin."""
        version = file.base.version
        if file.atomic or file.created or file.sizes.needs_whole or version is None:
            return False
        if not version.validator.joins_ranges:
            return False
        known = await self._backend().learn(file.resource.url)
        return bool(known.patch or known.partial_put)

    async def flush(self, file: DirtyFile, *, wait: bool = True) -> None:
        """Send everything that is dirty now; returns when the server has it.

        Without ``wait`` it does nothing when a writeback runs already.  Raises what the upload
        raised; the file then bears the error for its other users too.
        """
        if file.writeback_lock.locked():
            self._stats.add("WbLock", "wait" if wait else "skip")
            if not wait:
                return
        async with file.writeback_lock:
            await self._flush_locked(file)

    async def _flush_locked(self, file: DirtyFile) -> None:
        if not file.dirty:
            return
        self._stats.add("Writes", "WP")
        self._stats.add("Objs", "rr")
        file.dirtied_at = None
        try:
            await self._resolve(file)
            parts = await self.changes_parts(file) and not file.whole_pays()
            if not (parts and await self._send_parts(file)):
                await self._send_whole(file)
        except NetCacheError as error:
            file.failed(error)
            raise
        except BaseException:
            file.redirty()
            raise
        finally:
            self._stats.add("Objs", "rr", -1)

    async def _resolve(self, file: DirtyFile) -> None:
        """An earlier upload may have arrived without our knowing: then its version is the base.

        Nothing cached is carried over to it, since the bytes around a part could be another's.
        """
        if file.doubt is None:
            return
        version = await file.doubt.arrived(self._backend(), file.resource.url)
        file.doubt = None
        base = file.base.version
        if version is not None and (base is None or not version.same_as(base)):
            file.uploaded(self._adopted(file, version))

    def _adopted(self, file: DirtyFile, version: Version) -> BaseVersion:
        inode = self._opener.adopt(file.resource, version, time.monotonic())
        return BaseVersion(inode, self._engine)

    async def write_at_once(self, file: DirtyFile, view: memoryview, start: int) -> None:
        """Write ``view`` in one exchange of its own: all of it arrives, or nothing."""
        await file.prepare(view, start)
        async with file.writeback_lock:
            while True:
                await self._flush_locked(file)
                with file.lock:
                    if not file.pages.unsent_bytes:
                        file.put(view, start)
                        break
            await self._flush_locked(file)

    # Parts.

    async def _send_parts(self, file: DirtyFile) -> bool:
        """Send the changed blocks; False when the origin turns out not to take any."""
        runs = file.take_parts()
        sending = _Sending(file)
        try:
            for run in runs:
                for start in range(run.start, run.end, UPDATE_BYTES_MAX):
                    piece = Extent(start, min(start + UPDATE_BYTES_MAX, run.end))
                    await self._send_part(sending, piece)
                    if sending.kept_bytes >= _KEPT_BYTES_MAX:
                        await self._settle(sending)
        except NotOfferedError:
            file.redirty()
            return False
        finally:
            await asyncio.shield(self._settle(sending))
        return True

    async def _send_part(self, sending: _Sending, piece: Extent) -> None:
        file = sending.file
        with file.lock:
            data = file.pages.snapshot(piece)
        if file.entry is not None and file.entry.saved:
            await _on_disk(lambda: save(file, sending.version, piece))
        self._stats.add("UpldOps", "UL")
        self._stats.add("Objs", "sr")
        try:
            reply = await self._backend().update(
                file.resource.url,
                piece.start,
                memoryview(data),
                size=sending.version.size,
                condition=condition_on(sending.version.validator),
            )
        except BaseException as error:
            self._stats.add("UpldOps", "uf")
            if not isinstance(error, ConflictError):
                file.doubt = _doubt_of(sending, piece, data)
            raise
        finally:
            self._stats.add("UpldOps", "us")
            self._stats.add("Objs", "sr", -1)
        self._stats.add("UpldOps", "bytes", len(data))
        size = max(sending.version.size, piece.end)
        version = await self._version_of(file, reply, size)
        sending.acknowledged(piece, data, version, proven=reply.version is not None)

    async def _settle(self, sending: _Sending) -> None:
        """What was acknowledged is clean, and in the cache."""
        if not sending.pieces:
            return
        file, pieces, sending.pieces = sending.file, sending.pieces, []
        sending.kept_bytes = 0
        if sending.proven:
            await self._rebase(file, sending.version, pieces)
        else:
            # The bytes around the parts could be another writer's: nothing cached is carried over.
            file.uploaded(self._adopted(file, sending.version))
        with file.lock:
            landed = [Extent(start, start + len(data)) for start, data in pieces]
            file.pages.landed(landed)
        await _on_disk(lambda: keep_up(file))
        with file.lock:
            file.pages.forget(extent for extent in landed if file.base.has(*extent))

    async def _rebase(self, file: DirtyFile, version: Version, pieces: list[Piece]) -> None:
        inode = await asyncio.get_running_loop().run_in_executor(
            None,
            self._cache.advance,
            file.resource,
            file.base.inode,
            version,
            pieces,
            time.monotonic(),
        )
        file.uploaded(BaseVersion(inode, self._engine))

    # The whole.

    async def _send_whole(self, file: DirtyFile) -> None:
        with file.lock:
            taken = file.pages.take_dirty(file.block_size, file.size)
        if file.entry is not None and file.entry.saved:
            await _on_disk(lambda: save(file, sending=Extent(0, file.size), whole=True))
        tee = self._uploader.tee(file.resource)
        body = OverlayBody(file, tee)
        assert body.size is not None
        try:
            reply = await self._uploader.send(file.resource, body, tee, file.base.condition)
        except TransientError:
            if (digest := await body.sha256()) is not None:
                file.doubt = Doubt(body.size, digest=digest)
            raise
        version = await self._version_of(file, reply, body.size)
        file.uploaded(self._adopted(file, version))
        with file.lock:
            file.pages.landed(taken)
        await _on_disk(lambda: keep_up(file))
        with file.lock:
            file.pages.forget(extent for extent in list(file.pages.valid) if file.base.has(*extent))

    async def _version_of(self, file: DirtyFile, reply: UploadReply, size: int) -> Version:
        """The version that the reply tells, or else the one that is there now.

        Without a validator in the reply (RFC 9110 9.3.4) another writer may have come in between;
        a size that is not ours shows it.
        """
        if reply.version is not None:
            return reply.version
        info = await self._backend().stat(file.resource.url)
        if info is None or info.version is None or info.version.size != size:
            raise RemoteProtocolError(
                f"upload of {file.resource.url}: the server does not show what was just stored "
                f"({size} bytes); somebody else may have replaced it",
                url=file.resource.url,
            )
        return info.version


async def _on_disk(work: Callable[[], None]) -> None:
    """Do journal work on a worker thread; a journal that fails does not stop an upload."""
    try:
        await asyncio.get_running_loop().run_in_executor(None, work)
    except OSError as error:
        _logger.warning("the journal of edits cannot be kept up to date: %s", error)


def _doubt_of(sending: _Sending, piece: Extent, data: bytearray) -> Doubt:
    """The part may have arrived: what is there would be so long, and bear these bytes."""
    return Doubt(
        max(sending.version.size, piece.end),
        (piece,),
        lambda extent: data[extent.start - piece.start : extent.end - piece.start],
    )


class _Sending:
    """A writeback of parts under way: the version reached, and what the cache is to take."""

    def __init__(self, file: DirtyFile) -> None:
        assert file.base.version is not None
        self.file = file
        self.version: Version = file.base.version
        self.pieces: list[Piece] = []
        self.kept_bytes = 0
        self.proven = True

    def acknowledged(
        self, piece: Extent, data: bytearray, version: Version, *, proven: bool
    ) -> None:
        """The server has ``piece``, and with it is ``version``; ``proven``: it has nothing else."""
        self.version = version
        self.proven = self.proven and proven
        self.pieces.append((piece.start, data))
        self.kept_bytes += len(data)
