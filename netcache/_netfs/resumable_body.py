"""A large local file as a body whose upload may go on where an earlier one stopped."""

from __future__ import annotations

import asyncio
import os

from netcache._finishing import finished
from netcache._netfs.bodies import (
    RUN_BYTES,
    FileBody,
    OnBytes,
    SourceChangedError,
    sha256_of,
)
from netcache._netfs.saved_upload import SavedUpload
from netcache._netfs.tee import Tee
from netcache.spi_resumable import UploadTicket


class ResumableFileBody(FileBody):
    """An open file as a ``ResumableBody``; ``saved`` is for who goes on in another process."""

    def __init__(
        self, fd: int, status: os.stat_result, tee: Tee, on_bytes: OnBytes, saved: SavedUpload
    ) -> None:
        super().__init__(fd, status.st_size, tee, on_bytes)
        self._fd = fd
        self._status = status
        self._saved = saved
        self._whole: bytes | None = None

    @property
    def ticket(self) -> UploadTicket | None:
        """The ticket of an earlier upload."""
        return self._saved.ticket

    async def keep_ticket(self, ticket: UploadTicket | None) -> None:
        """Keep a ticket, or forget it."""
        if ticket != self._saved.ticket:
            loop = asyncio.get_running_loop()
            await finished(loop.run_in_executor(None, self._saved.keep, ticket))

    async def prepare(self, start: int) -> bytes:
        """Begin the next pass at ``start``; the tee has got all that is before it then.

        The digest is made in a pass of its own, once: it has to be known before the last byte.
        """
        self._need_unchanged()
        if self._whole is None:
            self._whole = await sha256_of(self._fd)
        loop, tee = asyncio.get_running_loop(), self._tee
        await tee.drain()
        if not tee.size:
            tee.restart()
        while tee.size < start:
            at = tee.size
            end = min(at + RUN_BYTES, start)
            await finished(loop.run_in_executor(None, tee.copy_from, self._fd, at, end))
            if tee.size == at:
                break
        self._need_unchanged()
        self.start = start
        self._report(start)
        return self._whole

    def _need_unchanged(self) -> None:
        now = os.fstat(self._fd)
        before = self._status
        if (now.st_size, now.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            raise SourceChangedError(
                "upload failed: the local file changed while it was read, so nothing was stored "
                "(upload it again)"
            )
