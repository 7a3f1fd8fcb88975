"""The whole of an edited file as a body: what was changed, over the version it was made from."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable

from netcache._core.doubt import Doubt
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

    def __init__(
        self, file: DirtyFile, tee: Tee, before_end: Callable[[OverlayBody], Awaitable[None]]
    ) -> None:
        self.size: int | None = file.size
        self._before_end = before_end
        self._file = file
        self._tee = tee
        self._digest = hashlib.sha256()
        self.passes: set[bytes] = set()
        """The digests of the passes of which the end was handed over: one may have arrived."""

    async def chunks(self) -> AsyncIterator[bytes | memoryview]:
        """The bytes from the start; what is not cached comes from the server."""
        self._tee.restart()
        self._digest = hashlib.sha256()
        size = self.size or 0
        if not size:
            await self._end_pass()
        for start in range(0, size, CHUNK_BYTES):
            length = min(CHUNK_BYTES, size - start)
            chunk = await self._file.read(start, length, AHEAD_BYTES)
            self._digest.update(chunk)
            await self._tee.keep(chunk)
            if start + length == size:
                await self._end_pass()
            yield chunk

    @property
    def doubt(self) -> Doubt:
        """What the server may have of it, as long as nobody has told."""
        return Doubt(self.size or 0, None, frozenset(self.passes))

    async def _end_pass(self) -> None:
        """Before the last bytes go: nobody can have the whole without them."""
        self.passes.add(self._digest.digest())
        await self._before_end(self)

    async def sha256(self) -> bytes | None:
        """The digest of the last pass."""
        await self._tee.drain()
        return self._digest.digest()
