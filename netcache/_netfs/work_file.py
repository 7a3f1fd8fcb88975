"""Work files: files opened ``r+b``, ``ab`` or ``w+b``, edited locally and sent as a whole.

The whole resource is brought into a private file without a name; reads and writes go there.
``flush`` sends it as a new version, conditional on the version it was made from (promise P7), and
goes on from the version that the server then has.  A flush that fails leaves the file as it is.

Thread-safe for reads and writes at positions (the kernel orders them); ``flush`` runs on the
client's loop, one at a time.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable

from netcache._core.urls import Resource
from netcache._netfs.upload import condition_on
from netcache.errors import ClosedError, UsageError
from netcache.spi import UploadCondition, UploadReply

Send = Callable[[int, int, UploadCondition], Awaitable[UploadReply]]
"""Uploads an open file: descriptor, size, condition."""

Found = Callable[[], Awaitable[UploadCondition]]


class WorkFile:
    """A private copy of a resource that is being edited."""

    def __init__(
        self,
        resource: Resource,
        folder: str | None,
        send: Send,
        found: Found,
        condition: UploadCondition,
    ) -> None:
        self.resource = resource
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115
        self._send = send
        self._found = found
        self._condition = condition
        self._changes = 0
        self._sent_changes = 0
        self._flushing = asyncio.Lock()

    def fileno(self) -> int:
        """The descriptor of the private file; ``ClosedError`` after ``close``."""
        if self._file.closed:
            raise ClosedError(f"{self.resource.url} is closed", url=self.resource.url)
        return self._file.fileno()

    @property
    def size(self) -> int:
        """The size in bytes, as edited."""
        return os.fstat(self.fileno()).st_size

    @property
    def dirty(self) -> bool:
        """Whether something was changed that the server does not have."""
        return self._changes != self._sent_changes

    def mark_dirty(self) -> None:
        """There is something to send, also when nothing is written."""
        self._changes += 1

    def pread_into(self, view: memoryview, start: int) -> int:
        """Read at ``start``; short only at the end."""
        return os.preadv(self.fileno(), [view], start)

    def pwrite(self, data: memoryview, start: int) -> int:
        """Write all of ``data`` at ``start``; a gap before it reads as zeros."""
        if start < 0:
            raise UsageError(f"write to {self.resource.url} at {start}: not a position")
        written = 0
        while written < len(data):
            written += os.pwrite(self.fileno(), data[written:], start + written)
        self._changes += 1
        return written

    def truncate(self, size: int) -> None:
        """Make it ``size`` bytes long; new bytes are zeros."""
        if size < 0:
            raise UsageError(f"truncation of {self.resource.url} to {size}: not a size")
        os.ftruncate(self.fileno(), size)
        self._changes += 1

    async def flush(self) -> None:
        """Send what was changed; returns when the server has it.

        Raises ``ConflictError`` when the resource is not the version that this began from.
        """
        async with self._flushing:
            if not self.dirty:
                return
            changes = self._changes
            reply = await self._send(self.fileno(), self.size, self._condition)
            self._sent_changes = changes
            if reply.version is not None:
                self._condition = condition_on(reply.version.validator)
            else:
                self._condition = await self._found()

    def close(self) -> None:
        """Throw the private file away.  Idempotent."""
        self._file.close()
