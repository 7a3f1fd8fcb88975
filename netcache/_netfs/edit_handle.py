"""Edit handles: what an open file writes, and reads what it wrote, through.

``try_read_into`` and ``try_write`` work on the caller's thread while nothing of the server is
needed; everything else runs on the client's loop.
"""

from __future__ import annotations

import asyncio
import os

from netcache._core.stats import Stats
from netcache._core.urls import Resource
from netcache._finishing import finished
from netcache._netfs.changed_parts import UPDATE_BYTES_MAX
from netcache._netfs.dirty_file import DirtyFile
from netcache._netfs.dirty_table import DirtyTable
from netcache._netfs.journaled import save, try_to_save
from netcache.errors import (
    CacheError,
    ClosedError,
    ConflictError,
    NetCacheError,
    StaleError,
    UsageError,
)

ATOMIC_BYTES_MAX = UPDATE_BYTES_MAX - (1 << 17)
"""The largest atomic write in bytes: rounded out to blocks it still is one exchange."""
_COPY_BYTES = 1 << 20


class EditHandle:
    """One writer's open of a dirty file."""

    def __init__(self, file: DirtyFile, table: DirtyTable, stats: Stats) -> None:
        self.file = file
        self._table = table
        self._stats = stats
        self._heard_errors, _ = file.error_since(0)
        self._closed = False

    @property
    def resource(self) -> Resource:
        """What is edited."""
        return self.file.resource

    @property
    def size(self) -> int:
        """The size as edited, in bytes."""
        self._need_open()
        return self.file.size

    def try_read_into(self, view: memoryview, start: int) -> int | None:
        """Read without asking the server; None when that does not do."""
        self._need_open()
        if start < 0:
            raise UsageError(f"read of {self.resource.url} at {start}: not a position")
        return self.file.try_read_into(view, start)

    async def read(self, length: int, start: int) -> bytes:
        """Up to ``length`` bytes at ``start``, unsent changes of all writers included."""
        self._need_open()
        if length < 0 or start < 0:
            raise UsageError(f"read of {length} bytes at {start}: neither may be negative")
        buffer = bytearray(max(0, min(length, self.file.size - start)))
        count = self.file.try_read_into(memoryview(buffer), start)
        if count is not None:
            return bytes(memoryview(buffer)[:count])
        try:
            return await self.file.read(start, length)
        except StaleError:
            # A writeback of ours may have made a version that the base does not say yet.
            return await self._table.writeback.read_in_turn(self.file, start, length)

    def try_write(self, view: memoryview, start: int) -> bool:
        """Write when that needs neither the server nor room under the hard limit."""
        self._need_open()
        return not self._table.over_hard_limit and self.file.try_write(view, start)

    async def write(
        self, view: memoryview, start: int, *, dsync: bool = False, atomic: bool = False
    ) -> None:
        """Write all of ``view`` at ``start``; returns when it is held, and on its way.

        ``dsync``: returns when the server has it.  ``atomic``: all of it is one exchange, and the
        server has all of it on return or nothing; ``UsageError`` (EINVAL) when it is too long.
        """
        self._need_open()
        if start < 0:
            raise UsageError(f"write to {self.resource.url} at {start}: not a position")
        if atomic and not 0 < len(view) <= ATOMIC_BYTES_MAX:
            raise UsageError(
                f"atomic write of {len(view)} bytes to {self.resource.url}: "
                f"1 to {ATOMIC_BYTES_MAX} bytes are one exchange (write it in parts, or not atomic)"
            )
        await self._table.relieve(self.file)
        if atomic:
            self._stats.add("Writes", "DW")
            await self._table.write_at_once(self.file, view, start)
            return
        await self.file.write(view, start)
        if dsync:
            self._stats.add("Writes", "WT")
            await self._table.flush(self.file)

    async def truncate(self, size: int) -> None:
        """Make the file ``size`` bytes long."""
        self._need_open()
        await self.file.truncate(size)

    async def fsync(self) -> None:
        """Return when the server has everything written so far.

        Raises what prevented it, or else what a background upload failed with since the last call.
        """
        self._need_open()
        await self._flush()

    async def _flush(self) -> None:
        try:
            await self._table.flush(self.file)
        finally:
            self._heard_errors, error = self.file.error_since(self._heard_errors)
        if error is not None:
            raise error

    async def flush(self) -> None:
        """With a journal: return when everything written so far survives this process."""
        self._need_open()
        if self.file.entry is None or not self.file.dirty:
            return
        loop = asyncio.get_running_loop()
        try:
            await finished(loop.run_in_executor(None, save, self.file))
        except OSError as error:
            raise CacheError(
                f"flush of {self.resource.url} failed: the journal cannot be written "
                f"({error.strerror}); fsync() sends to the server"
            ) from error

    async def close(self) -> None:
        """``fsync``, and let go.  What could not be sent is kept for ``save_as``, and in the
        journal, if there is one.  Idempotent."""
        if self._closed:
            return
        try:
            await self._flush()
        except ConflictError as conflict:
            if self.file.entry is not None:
                why = str(conflict)
                loop = asyncio.get_running_loop()
                await finished(
                    loop.run_in_executor(None, lambda: try_to_save(self.file, conflict=why))
                )
            raise
        except NetCacheError:
            if self.file.dirty:
                loop = asyncio.get_running_loop()
                await finished(loop.run_in_executor(None, try_to_save, self.file))
            raise
        finally:
            if not self._closed:
                self._closed = True
                await self._table.release(self.file, keep_unsent=True)

    async def abort(self) -> None:
        """Let go without sending anything more; ends what ``close`` had to keep.

        Waits for the end of what is under way, which is cancelled.
        """
        if not self._closed:
            self._closed = True
            await self._table.release(self.file, keep_unsent=False)
        else:
            await self._table.discard(self.file)

    async def copy_to(self, fd: int, *, changes_only: bool) -> int:
        """``copy_edit``; it works after a ``close`` that failed, too."""
        return await copy_edit(self.file, fd, changes_only=changes_only)

    def _need_open(self) -> None:
        if self._closed:
            raise ClosedError(f"{self.resource.url} is closed", url=self.resource.url)


async def copy_edit(file: DirtyFile, fd: int, *, changes_only: bool) -> int:
    """Copy a file as edited to the local file ``fd``; returns its size.

    ``changes_only`` leaves holes where nothing was changed; otherwise bytes of the version that the
    changes were made from are needed, and ``StaleError`` is raised when neither the cache nor the
    server has them any more.
    """
    size = file.size
    if changes_only:
        with file.lock:
            extents = list(file.pages.valid)
        for extent in extents:
            for start in range(extent.start, extent.end, _COPY_BYTES):
                data = bytearray(min(_COPY_BYTES, extent.end - start))
                with file.lock:
                    file.pages.read_into(memoryview(data), start)
                os.pwrite(fd, data, start)
    else:
        for start in range(0, size, _COPY_BYTES):
            os.pwrite(fd, await file.read(start, _COPY_BYTES), start)
    os.ftruncate(fd, size)
    return size
