"""The whole of an edited file as a body: what was changed, over the version it was made from."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator

from netcache._netfs.dirty_file import DirtyFile
from netcache._netfs.tee import CHUNK_BYTES, Tee

AHEAD_BYTES = 32 << 20
"""How much of the server's version is let come ahead of what is sent."""


class OverlayBody:
    """A body that is read again for every attempt.

    Each chunk is a copy, so no byte changes between its digest and its sending.  A write that
    comes while the body is sent may or may not be in it; it stays dirty and is sent again.
    """

    replayable = True

    def __init__(self, file: DirtyFile, tee: Tee) -> None:
        self.size: int | None = file.size
        self._file = file
        self._tee = tee
        self._digest = hashlib.sha256()
        self.passes: set[bytes] = set()
        """The digests of the passes that were handed over to their end: one may have arrived."""

    async def chunks(self) -> AsyncIterator[bytes | memoryview]:
        """The bytes from the start; what is not cached comes from the server."""
        self._tee.restart()
        self._digest = hashlib.sha256()
        size = self.size or 0
        if not size:
            self.passes.add(self._digest.digest())
        for start in range(0, size, CHUNK_BYTES):
            length = min(CHUNK_BYTES, size - start)
            chunk = await self._file.read(start, length, AHEAD_BYTES)
            self._digest.update(chunk)
            await self._tee.keep(chunk)
            if start + length == size:
                self.passes.add(self._digest.digest())
            yield chunk

    async def sha256(self) -> bytes | None:
        """The digest of the last pass."""
        await self._tee.drain()
        return self._digest.digest()
