"""Uploads of local files: of memory, of a file, or such that go on where they were interrupted.

The counterpart of ``download``.  How a body reaches the server and the cache is the ``Uploader``'s
business; this chooses the body, and sees to it that the file stayed as it was meanwhile.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from netcache._core.readplan import COMES_WHOLE_BYTES
from netcache._netfs.bodies import BytesBody, FileBody, SourceChangedError, opened_and_read
from netcache.errors import UsageError
from netcache.spi import RESUMABLE_BYTES_MIN, UploadBody, UploadCondition, UploadReply

if TYPE_CHECKING:
    from netcache._core.urls import Resource
    from netcache._netfs.bodies import OnBytes
    from netcache._netfs.tee import Tee
    from netcache._netfs.upload import Uploader


class FileUploader:
    """Sends local files.  On the client's loop.

    ``drop`` is called with a resource of which the server may have a mixture.
    """

    def __init__(
        self, uploader: Uploader, state_dir: str, drop: Callable[[Resource], object]
    ) -> None:
        self._uploader = uploader
        self._state_dir = state_dir
        self._drop = drop

    async def put_file(
        self, path: str, resource: Resource, condition: UploadCondition | None, on_bytes: OnBytes
    ) -> UploadReply:
        """Upload the file at ``path``, caching what is sent.

        Without a ``condition`` on the version found now.  Raises what ``Uploader.send`` raises,
        ``OSError``, and ``SourceChangedError`` when the file changed while it was read.  A file
        that has more bytes than it tells (procfs), or fewer (sysfs), goes as a stream does.
        """
        fd, before, data = await opened_and_read(path, COMES_WHOLE_BYTES)
        size, mtime_s = before.st_size, before.st_mtime_ns // 10**9
        try:
            tells_more = len(data) < size <= COMES_WHOLE_BYTES and not _has_changed(fd, before)
            if len(data) > size or tells_more:
                # Imported here: hardly any file is like that.
                from netcache._client.streamed import put_stream, read_some

                reads = partial(read_some, fd)
                return await put_stream(self._uploader, reads, resource, condition, on_bytes)
            if len(data) == size > 0:
                # From memory to the server and into the cache.
                reply = await self._send(partial(BytesBody, data), resource, condition, mtime_s)
                on_bytes(size)
            elif size < RESUMABLE_BYTES_MIN:
                reply = await self._send(
                    lambda tee: FileBody(fd, size, tee, on_bytes), resource, condition, mtime_s
                )
            else:
                reply = await self._send_large(path, fd, before, resource, condition, on_bytes)
            has_changed = _has_changed(fd, before)
        except (UsageError, SourceChangedError) as error:
            # A body that gives less than it announced is a mistake, but not the caller's here.
            if not _has_changed(fd, before):
                raise
            raise SourceChangedError(
                f"upload of {path} to {resource.url} failed: the file changed while it was read, "
                "so nothing was stored (upload it again)",
                url=resource.url,
            ) from error
        finally:
            os.close(fd)
        if has_changed:
            self._drop(resource)
            raise SourceChangedError(
                f"upload of {path} to {resource.url}: the file changed while it was read, so the "
                "server may have a mixture (upload it again)",
                url=resource.url,
            )
        return reply

    async def _send_large(
        self,
        path: str,
        fd: int,
        status: os.stat_result,
        resource: Resource,
        condition: UploadCondition | None,
        on_bytes: OnBytes,
    ) -> UploadReply:
        """Upload a file so that it can go on where it is interrupted, in another process too.

        What goes on does so on the version that was found when it began (promise P7).
        """
        # Imported here: most commands send nothing large.
        from netcache._finishing import finished
        from netcache._netfs.resumable_body import ResumableFileBody
        from netcache._netfs.saved_upload import SavedUpload

        saved = SavedUpload(self._state_dir, resource.url, path, status)
        try:
            await finished(asyncio.get_running_loop().run_in_executor(None, saved.open))
            if condition is None and saved.ticket is not None and saved.ticket.current:
                condition = saved.ticket.condition
            return await self._send(
                lambda tee: ResumableFileBody(fd, status, tee, on_bytes, saved),
                resource,
                condition,
                status.st_mtime_ns // 10**9,
            )
        finally:
            saved.close()

    async def _send(
        self,
        body: Callable[[Tee], UploadBody],
        resource: Resource,
        condition: UploadCondition | None,
        mtime_s: float,
    ) -> UploadReply:
        """Upload, on the version found now if there is no other condition."""
        if condition is None:
            condition = await self._uploader.found_condition(resource)
        tee = self._uploader.tee(resource)
        return await self._uploader.send(resource, body(tee), tee, condition, mtime_s)


def _has_changed(fd: int, before: os.stat_result) -> bool:
    now = os.fstat(fd)
    return (before.st_size, before.st_mtime_ns) != (now.st_size, now.st_mtime_ns)
