"""Stream writers: files opened ``wb`` or ``xb``, sent front to back while they are written.

A small file goes in one exchange of known length at ``close``; a larger one is under way from its
first mebibytes on.  Nothing is published before ``close`` has the server's acknowledgement, and
nothing at all after ``abort``, or after a ``write`` that was cancelled or failed: how much of that
was taken is not known.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from netcache._core.urls import Resource
from netcache._netfs.bodies import BytesBody, PipeBody
from netcache._netfs.tee import CHUNK_BYTES
from netcache._netfs.upload import Uploader
from netcache.errors import ClosedError
from netcache.spi import UploadCondition, UploadReply

STREAMING_FROM_BYTES = 4 * CHUNK_BYTES
"""Files below this are sent in one piece."""


class StreamWriter:
    """The writing side of one open file.  On the client's loop; one call at a time."""

    def __init__(self, uploader: Uploader, resource: Resource, condition: UploadCondition) -> None:
        self.resource = resource
        self.size = 0
        self._uploader = uploader
        self._condition = condition
        self._pending = bytearray()
        self._pipe: PipeBody | None = None
        self._sending: asyncio.Task[UploadReply] | None = None
        self._ended = False
        # A write or the end did not come to its end, so what is under way is not all of it.
        self._lacks_some = False

    async def write(self, data: bytes | bytearray | memoryview) -> int:
        """Take all of ``data``; waits while too much is under way; raises what ended the upload."""
        self._need_open()
        self._pending += data
        self.size += len(data)
        if self._pipe is None and len(self._pending) < STREAMING_FROM_BYTES:
            return len(data)
        with self._or_lacking():
            await self._feed(keep=len(self._pending) % CHUNK_BYTES)
        return len(data)

    async def _feed(self, keep: int) -> None:
        """Hand over all but the last ``keep`` bytes."""
        if self._pipe is None:
            tee = self._uploader.tee(self.resource)
            self._pipe = PipeBody(tee)
            self._sending = asyncio.ensure_future(
                self._uploader.send(self.resource, self._pipe, tee, self._condition)
            )
        count = len(self._pending) - keep
        for start in range(0, count, CHUNK_BYTES):
            end = min(start + CHUNK_BYTES, count)
            await self._or_failure(self._pipe.feed(bytes(memoryview(self._pending)[start:end])))
        del self._pending[:count]

    async def _or_failure(self, step: object) -> None:
        """Do ``step``, unless the upload ends before it can be done."""
        assert self._sending is not None
        task = asyncio.ensure_future(step)  # type: ignore[call-overload]
        try:
            await asyncio.wait({task, self._sending}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return
        finally:
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        self._sending.result()
        raise ClosedError(f"the upload to {self.resource.url} ended early")

    async def close(self) -> UploadReply | None:
        """Send the rest and return when the server has it all.  Idempotent."""
        if self._ended:
            return None
        self._need_open()
        with self._or_lacking():
            reply = await self._finish()
        self._ended = True
        return reply

    async def _finish(self) -> UploadReply:
        if self._pipe is None:
            tee = self._uploader.tee(self.resource)
            body = BytesBody(bytes(self._pending), tee)
            return await self._uploader.send(self.resource, body, tee, self._condition)
        assert self._sending is not None
        await self._feed(keep=0)
        await self._or_failure(self._pipe.finish())
        return await self._sending

    async def abort(self) -> None:
        """Give up: the server publishes nothing.  Idempotent."""
        self._ended = True
        self._pending.clear()
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.gather(self._sending, return_exceptions=True)

    def _need_open(self) -> None:
        if self._ended:
            raise ClosedError(f"{self.resource.url} is closed", url=self.resource.url)
        if self._lacks_some:
            raise ClosedError(
                f"upload to {self.resource.url} failed: an earlier write did not end, so nothing "
                "is published (write it anew)",
                url=self.resource.url,
            )

    @contextmanager
    def _or_lacking(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._lacks_some = True
            raise
