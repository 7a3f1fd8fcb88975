"""Writeback: the changes of an edited file go to the server, and then into the cache.

Rules:

1. One writeback a file at a time, held through to the cache; background ones give up when there is
   one, synchronous ones wait in order (T24 in ``docs/testing.md``).
2. Where the origin changes parts, only the changed blocks are sent, one exchange after another,
   each conditional on the version that the one before it made: a failure leaves no gap behind it.
   Otherwise the whole resource is sent, from the cache and the server.
3. What failed is dirty again; what was acknowledged before it is not sent again.
4. The version that a change was made from is demanded by every upload (promise P7).
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import partial

from netcache._core.coherency import Version
from netcache._core.extent import Extent, round_out
from netcache._core.stats import Stats
from netcache._netfs.base_version import BaseVersion
from netcache._netfs.changed_parts import whole_pays
from netcache._netfs.dirty_file import DirtyFile
from netcache._netfs.doubt import arrived
from netcache._netfs.engine import ReadEngine
from netcache._netfs.journaled import keep_up
from netcache._netfs.opener import Opener
from netcache._netfs.overlay_body import OverlayBody
from netcache._netfs.part_upload import PartUploader
from netcache._netfs.stored_version import stored_version
from netcache._netfs.under_way import UnderWay
from netcache._netfs.upload import Uploader
from netcache._netfs.write_request import WriteOrigin, WriteRequest, WriteSource
from netcache.errors import ConflictError, NetCacheError, NotOfferedError, StaleError
from netcache.spi import Backend


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
        self._parts = PartUploader(backend, engine, opener, stats)

    async def parts_pay(self, file: DirtyFile) -> bool:
        """Whether the changes can be sent alone, for less than the whole.  May ask the origin."""
        return await self._changes_parts(file) and not whole_pays(file)

    async def _changes_parts(self, file: DirtyFile) -> bool:
        """Whether the changes can be sent without the rest of the resource.  May ask the origin."""
        version = file.base.version
        if file.atomic or file.created or file.sizes.needs_whole or version is None:
            return False
        if not version.validator.joins_ranges:
            return False
        known = await self._backend().learn(file.resource.url)
        return bool(known.patch or known.partial_put)

    async def flush(self, file: DirtyFile, *, wait: bool = True) -> bool:
        """Send everything that is dirty now; returns when the server has it.

        Without ``wait`` it does nothing, and is False, when a writeback runs already.  Raises what
        the upload raised; the file then bears the error for its other users too.
        """
        if file.writeback_lock.locked():
            self._stats.add("WbLock", "wait" if wait else "skip")
            if not wait:
                return False
        async with file.turn():
            await self._flush_locked(file)
        return True

    async def read_in_turn(self, file: DirtyFile, start: int, length: int) -> bytes:
        """Read while no writeback makes another version, and no doubt is open which one is ours.

        Raises ``StaleError`` when the server has another version than ours.
        """
        async with file.turn():
            await self._resolve(file)
            return await file.read(start, length)

    async def _flush_locked(self, file: DirtyFile, direct: Extent | None = None) -> None:
        """``flush`` in its turn; ``direct`` is to be one exchange."""
        if not file.dirty:
            return
        self._stats.add("Writes", "WP")
        try:
            await self._resolve(file)
            if not file.dirty:
                return
            try:
                await self._send(file, direct)
            except StaleError as error:
                # Unchanged bytes were wanted of the base, and the server has moved on from it.
                raise ConflictError(
                    f"upload of {file.resource.url} failed: {error}", url=file.resource.url
                ) from error
        except NetCacheError as error:
            file.failed(error)
            raise
        except BaseException:
            file.redirty()
            raise

    async def _send(self, file: DirtyFile, direct: Extent | None) -> None:
        origin = WriteOrigin.WRITEBACK if direct is None else WriteOrigin.DIRECT
        if await self.parts_pay(file):
            try:
                send = partial(self._parts.send, together=direct)
                return await self._in_request(file, origin, send)
            except NotOfferedError:
                # Announced, and refused all the same.
                file.redirty()
        await self._in_request(file, origin, self._send_whole)

    async def _in_request(
        self, file: DirtyFile, origin: WriteOrigin, send: Callable[[WriteRequest], Awaitable[None]]
    ) -> None:
        request = WriteRequest(file, origin, self._stats)
        error: BaseException | None = None
        try:
            await send(request)
        except BaseException as failure:
            error = failure
            raise
        finally:
            request.close(error)

    async def resume(self, file: DirtyFile) -> None:
        """Find out what a killed process had under way: what has arrived is not sent again."""
        async with file.writeback_lock:
            await self._resolve(file)

    async def _resolve(self, file: DirtyFile) -> None:
        """An earlier upload may have arrived without our knowing: then its version is the base.

        Nothing cached is carried over to it, since the bytes around a part could be another's.
        """
        doubt = file.doubt
        if doubt is None:
            return
        version = await arrived(doubt, self._backend(), file.resource.url)
        with file.lock:
            # What was written meanwhile it knows.
            doubt, file.doubt = file.doubt or doubt, None
        base = file.base.version
        if version is None or (base is not None and version.same_as(base)):
            return
        file.uploaded(self._adopted(file, version), doubt.cut)
        with file.lock:
            file.pages.arrived(doubt.unchanged)
        await keep_up(file)

    def _adopted(self, file: DirtyFile, version: Version) -> BaseVersion:
        inode = self._opener.adopt(file.resource, version, time.monotonic())
        return BaseVersion(inode, self._engine)

    async def write_at_once(self, file: DirtyFile, view: memoryview, start: int) -> None:
        """Write ``view`` in one exchange of its own: all of it arrives, or nothing."""
        await file.prepare(view, start)
        async with file.turn():
            while True:
                await self._flush_locked(file)
                with file.lock:
                    if not file.pages.unsent_bytes:
                        file.put(view, start)
                        break
            written = Extent(start, start + len(view))
            await self._flush_locked(file, round_out(written, file.block_size))

    async def _send_whole(self, request: WriteRequest) -> None:
        file = request.file
        with file.lock:
            taken = file.pages.take_dirty(file.block_size, file.size)
        tee = self._uploader.tee(file.resource)
        body = OverlayBody(file, tee, partial(_announce, file))
        assert body.size is not None
        sub = request.issue(WriteSource.UPLOAD, Extent(0, max(1, body.size)))
        error: BaseException | None = None
        try:
            reply = await self._uploader.send(file.resource, body, tee, file.base.condition)
            version = await stored_version(self._backend(), file.resource.url, reply, body.size)
        except BaseException as failure:
            error = failure
            if body.passes and not isinstance(error, ConflictError):
                file.leave_in_doubt(body.doubt)
            file.under_way = None
            raise
        finally:
            sub.ended(error)
        file.uploaded(self._adopted(file, version))
        with file.lock:
            file.pages.landed(taken)
            file.under_way = None
        await keep_up(file)
        with file.lock:
            file.pages.forget(extent for extent in list(file.pages.valid) if file.base.has(*extent))


async def _announce(file: DirtyFile, body: OverlayBody) -> None:
    """Let the journal know of a whole before its last bytes go."""
    file.under_way = UnderWay(doubt=body.doubt)
    await keep_up(file)
