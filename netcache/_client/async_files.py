"""Files of the asynchronous face: reading, streaming out, editing."""

from __future__ import annotations

import io
import os
from types import TracebackType
from typing import Self

from netcache._client.async_reader import AsyncReader
from netcache._client.core import ClientCore, asking
from netcache._core.coherency import Version
from netcache._netfs.handle import ReadHandle
from netcache._netfs.stream_writer import StreamWriter
from netcache.errors import ClosedError

ReadableBuffer = bytes | bytearray | memoryview
WritableBuffer = bytearray | memoryview


class AsyncFile:
    """An open resource.  What a mode does not allow raises ``io.UnsupportedOperation``.

    One task at a time may use the position (``read``, ``write``, ``seek``); ``pread`` and
    ``pwrite`` may be called by many.
    """

    def __init__(self, url: str, mode: str) -> None:
        self.url = url
        self.mode = mode
        self._position = 0
        self._closed = False

    async def pread(self, length: int, offset: int) -> bytes:
        """Up to ``length`` bytes at ``offset``; fewer only at the end.  May wait for the server."""
        raise io.UnsupportedOperation(f"{self.url} is not open for reading")

    async def preadinto(self, buffer: WritableBuffer, offset: int) -> int:
        """Read at ``offset`` into ``buffer``; returns the count, short only at the end."""
        raise io.UnsupportedOperation(f"{self.url} is not open for reading")

    async def view(self, offset: int, length: int) -> memoryview:
        """A read-only view of bytes of the cache, without a copy where they are cached."""
        raise io.UnsupportedOperation(f"{self.url} is not open for reading")

    async def pwrite(
        self, data: ReadableBuffer, offset: int, *, dsync: bool = False, atomic: bool = False
    ) -> int:
        """Write all of ``data`` at ``offset``; returns when it is held, and on its way.

        ``dsync``: returns when the server has it.  ``atomic``: one exchange, all of it or nothing.
        """
        raise io.UnsupportedOperation(f"{self.url} is not open for writing at positions")

    async def save_as(self, path: str | os.PathLike[str], *, changes_only: bool = False) -> int:
        """Save the file as this handle has it to a local ``path``; returns its size in bytes."""
        raise io.UnsupportedOperation(f"{self.url} is not open for changes")

    async def truncate(self, size: int | None = None) -> int:
        """Make the file ``size`` bytes long (None: up to the position); returns the size."""
        raise io.UnsupportedOperation(f"{self.url} cannot be truncated in mode {self.mode!r}")

    async def fsync(self) -> None:
        """Return when the server has everything written so far."""
        self._need_open()

    async def flush(self) -> None:
        """Hand over what was written; with ``durability="journal"`` an edit then survives."""
        self._need_open()

    async def size(self) -> int:
        """The size of the resource in bytes."""
        raise io.UnsupportedOperation(f"{self.url} has no size yet")

    async def read(self, length: int = -1) -> bytes:
        """Up to ``length`` bytes from the position on (-1: all); ``b""`` at the end."""
        if length < 0:
            length = max(0, await self.size() - self._position)
        data = await self.pread(length, self._position)
        self._position += len(data)
        return data

    async def readinto(self, buffer: WritableBuffer) -> int:
        """Read from the position on into ``buffer``; returns the count."""
        count = await self.preadinto(buffer, self._position)
        self._position += count
        return count

    async def write(self, data: ReadableBuffer) -> int:
        """Write all of ``data`` at the position (at the end in append mode)."""
        if "a" in self.mode:
            self._position = await self.size()
        count = await self.pwrite(data, self._position)
        self._position += count
        return count

    async def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position; returns it."""
        self._need_open()
        base = 0
        if whence == os.SEEK_CUR:
            base = self._position
        elif whence == os.SEEK_END:
            base = await self.size()
        elif whence != os.SEEK_SET:
            raise ValueError(f"whence={whence!r}: 0, 1 or 2 is needed")
        if base + offset < 0:
            raise ValueError(f"seek to {base + offset}: before the start")
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        """The position."""
        return self._position

    @property
    def closed(self) -> bool:
        """Whether the file is closed."""
        return self._closed

    async def close(self) -> None:
        """Close; a writer returns when the server has everything, or raises.  Idempotent."""
        self._closed = True

    async def abort(self) -> None:
        """Close without publishing anything more."""
        await self.close()

    def _need_open(self) -> None:
        if self._closed:
            raise ClosedError(f"{self.url} is closed", url=self.url)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            await self.close()
        else:
            await self.abort()


class AsyncReadFile(AsyncFile):
    """A file open for reading: one version, or ``StaleError``."""

    def __init__(self, core: ClientCore, handle: ReadHandle) -> None:
        super().__init__(handle.resource.url, "rb")
        self._handle = handle
        self._reader = AsyncReader(core, handle)

    async def pread(self, length: int, offset: int) -> bytes:
        """Up to ``length`` bytes at ``offset``."""
        self._need_open()
        return await self._reader.pread(length, offset)

    async def preadinto(self, buffer: WritableBuffer, offset: int) -> int:
        """Read at ``offset`` into ``buffer``."""
        view = memoryview(buffer).cast("B")
        # Nothing is awaited, and nobody else called, for what is in memory.  A closed handle has
        # nothing.
        count = self._handle.hit_nowait(view, offset)
        if count is not None:
            return count
        self._need_open()
        return await self._reader.bring_into(view, offset)

    async def view(self, offset: int, length: int) -> memoryview:
        """A view of cached bytes, valid as long as it is held."""
        self._need_open()
        return await self._reader.view(offset, length)

    async def size(self) -> int:
        """The size of the version shown."""
        self._need_open()
        return await self._reader.size()

    async def read(self, length: int = -1) -> bytes:
        """Up to ``length`` bytes from the position on (-1: all)."""
        if length < 0:
            self._need_open()
            await self._reader.prepare(self._position, -1)
        return await super().read(length)

    async def version(self) -> Version:
        """The version shown."""
        await self.size()
        assert self._handle.inode is not None
        return self._handle.inode.version

    async def close(self) -> None:
        """Let the file go."""
        if not self._closed:
            self._closed = True
            self._handle.close()


class AsyncWriteFile(AsyncFile):
    """A file being written front to back (``wb``, ``xb``)."""

    def __init__(self, writer: StreamWriter, mode: str) -> None:
        super().__init__(writer.resource.url, mode)
        self._writer = writer

    async def write(self, data: ReadableBuffer) -> int:
        """Append ``data``; waits while too much is under way."""
        self._need_open()
        with asking("write", self.url):
            count = await self._writer.write(memoryview(data).cast("B"))
        self._position += count
        return count

    async def pwrite(
        self, data: ReadableBuffer, offset: int, *, dsync: bool = False, atomic: bool = False
    ) -> int:
        """Only at the end of what was written; what is published is all of it, at ``close``."""
        if dsync or atomic:
            raise self._published_whole()
        if offset != self._writer.size:
            raise io.UnsupportedOperation(
                f"{self.url} is written front to back in mode {self.mode!r} (use 'w+b')"
            )
        return await self.write(data)

    def _published_whole(self) -> io.UnsupportedOperation:
        return io.UnsupportedOperation(
            f"{self.url} is published as a whole at close() in mode {self.mode!r} (use 'w+b')"
        )

    async def fsync(self) -> None:
        """Not for a stream: the server has nothing of it before ``close``."""
        self._need_open()
        raise self._published_whole()

    async def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Only to where the position is."""
        if await super().seek(offset, whence) != self._writer.size:
            self._position = self._writer.size
            raise io.UnsupportedOperation(f"{self.url} is written front to back")
        return self._position

    async def size(self) -> int:
        """How much was written."""
        return self._writer.size

    async def close(self) -> None:
        """Return when the server has it all; raises what prevented it."""
        if not self._closed:
            self._closed = True
            try:
                with asking("upload", self.url):
                    await self._writer.close()
            except BaseException:
                await self._writer.abort()
                raise

    async def abort(self) -> None:
        """Publish nothing."""
        self._closed = True
        await self._writer.abort()
