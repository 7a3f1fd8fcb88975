"""Files open for editing, of the asynchronous face."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import TypeVar

from netcache._client.async_files import AsyncFile, ReadableBuffer, WritableBuffer
from netcache._client.core import asking
from netcache._client.items import refuse_special
from netcache._client.target import begin_target
from netcache._finishing import finished
from netcache._netfs.edit_handle import EditHandle

T = TypeVar("T")

WORKER_BYTES_MIN = 256 << 10
"""From this size on the copy to or from the private file is left to a worker thread."""


class AsyncEditFile(AsyncFile):
    """A file open for editing (``r+b``, ``ab``, ``w+b``).

    Reads show what was written at once, also by other writers of the same client.  ``close`` and
    ``fsync`` return when the server has everything, or raise; what could not be sent then is kept
    until ``abort`` or the end of the client, and ``save_as`` saves it elsewhere.
    """

    def __init__(self, handle: EditHandle, mode: str) -> None:
        super().__init__(handle.resource.url, mode)
        self.handle = handle

    async def pread(self, length: int, offset: int) -> bytes:
        """Read what the file holds now, unsent changes included."""
        with asking("read", self.url):
            return await self.handle.read(length, offset)

    async def preadinto(self, buffer: WritableBuffer, offset: int) -> int:
        """Read into ``buffer``."""
        view = memoryview(buffer).cast("B")
        count = await self._off_loop(len(view), self.handle.try_read_into, view, offset)
        if count is None:
            data = await self.pread(len(view), offset)
            count = len(data)
            view[:count] = data
        return count

    async def view(self, offset: int, length: int) -> memoryview:
        """A copy: the bytes of a file being edited do not stand still."""
        return memoryview(await self.pread(length, offset))

    async def pwrite(
        self, data: ReadableBuffer, offset: int, *, dsync: bool = False, atomic: bool = False
    ) -> int:
        """Write at ``offset``; a gap before it reads as zeros."""
        view = memoryview(data).cast("B")
        try_write = self.handle.try_write
        if dsync or atomic or not await self._off_loop(len(view), try_write, view, offset):
            with asking("write", self.url):
                await self.handle.write(view, offset, dsync=dsync, atomic=atomic)
        return len(view)

    @staticmethod
    async def _off_loop(length: int, work: Callable[..., T], *args: object) -> T:
        """Do local I/O of ``length`` bytes: on a worker thread when it is worth the way there."""
        if length < WORKER_BYTES_MIN:
            return work(*args)
        return await asyncio.get_running_loop().run_in_executor(None, work, *args)

    async def truncate(self, size: int | None = None) -> int:
        """Make the file longer or shorter."""
        with asking("write", self.url):
            await self.handle.truncate(self._position if size is None else size)
        return self.handle.size

    async def fsync(self) -> None:
        """Return when the server has everything written so far."""
        with asking("upload", self.url):
            await self.handle.fsync()

    async def flush(self) -> None:
        """With ``durability="journal"``: return when what was written survives this process."""
        await self.handle.flush()

    async def size(self) -> int:
        """The size as edited."""
        return self.handle.size

    async def close(self) -> None:
        """Send what was changed; the file is closed also when that fails."""
        self._closed = True
        with asking("upload", self.url):
            await self.handle.close()

    async def abort(self) -> None:
        """Send nothing more, and throw away what is unsent."""
        self._closed = True
        await self.handle.abort()

    async def save_as(self, path: str | os.PathLike[str], *, changes_only: bool = False) -> int:
        """Save the file as edited to the local file ``path``; returns its size.

        For what cannot be sent: after a ``ConflictError``, also of ``close``.  ``changes_only``
        leaves holes where nothing was changed.  Raises ``StaleError`` when unchanged bytes are
        needed that neither the cache nor the server has any more.
        """
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, refuse_special, os.fspath(path))
        target = await begin_target(os.fspath(path))
        try:
            size = await self.handle.copy_to(target.fileno(), changes_only=changes_only)
            await finished(loop.run_in_executor(None, target.finish, size, None))
            return size
        finally:
            target.discard()
