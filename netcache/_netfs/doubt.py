"""Doubts: uploads whose outcome nobody told.

When every attempt of an upload ended without a reply, the server may have it or not.  The next
upload then meets either the version it was made from, or a version that it does not know: ours, or
somebody else's.  Before that is called a conflict, what is there is compared with what was sent.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from typing import NamedTuple

from netcache._core.coherency import Version
from netcache._core.extent import Extent
from netcache.errors import NotFoundError, StaleError
from netcache.spi import Backend

_STEP_BYTES = 1 << 20


class Doubt(NamedTuple):
    """An upload that may have arrived.

    ``size`` is what the resource then has.  ``digests`` are the SHA-256 of all of it, if the whole
    was sent, one of each attempt; otherwise ``bytes_of`` gives what was sent of ``extents``.
    ``cut``: where the file was cut since, if it was.
    """

    size: int
    extents: Sequence[Extent] = ()
    bytes_of: Callable[[Extent], bytes | bytearray] = bytes
    digests: Collection[bytes] = ()
    cut: int | None = None

    def truncated(self, size: int) -> Doubt:
        """The file was cut, or extended, to ``size`` after the upload."""
        cut = self.size if self.cut is None else self.cut
        return self._replace(cut=size) if size < cut else self

    @property
    def span(self) -> Extent:
        """Where what was sent lies."""
        if self.digests or not self.extents:
            return Extent(0, self.size)
        return Extent(self.extents[0].start, self.extents[-1].end)

    async def arrived(self, backend: Backend, url: str) -> Version | None:
        """The version that is there, when it bears what was sent; None when it does not.

        Of parts it says nothing about the bytes around them: they may be another writer's.
        Raises what kept the question from being answered: the doubt then lasts.
        """
        try:
            info = await backend.stat(url, want_digest=bool(self.digests))
            if info is None or info.version is None or info.version.size != self.size:
                return None
            if self.size and not self.digests and not self.extents:
                # Nothing but a size: anybody's version may have that.
                return None
            if not self.digests:
                same = await self._bears_parts(backend, url, info.version)
            else:
                digest = info.digest_sha256 or await _digest(backend, url, info.version)
                same = digest in self.digests
        except (NotFoundError, StaleError):
            return None
        return info.version if same else None

    async def _bears_parts(self, backend: Backend, url: str, version: Version) -> bool:
        for extent in self.extents:
            async for step, found in _read_steps(backend, url, extent, version):
                if found != self.bytes_of(step):
                    return False
        return True


async def _digest(backend: Backend, url: str, version: Version) -> bytes:
    """The SHA-256 of all that is there, read: for servers that do not tell it."""
    digest = hashlib.sha256()
    async for _, found in _read_steps(backend, url, Extent(0, version.size), version):
        digest.update(found)
    return digest.digest()


async def _read_steps(
    backend: Backend, url: str, extent: Extent, version: Version
) -> AsyncIterator[tuple[Extent, bytearray]]:
    for start in range(extent.start, extent.end, _STEP_BYTES):
        step = Extent(start, min(start + _STEP_BYTES, extent.end))
        yield step, await _read(backend, url, step, version)


async def _read(backend: Backend, url: str, extent: Extent, version: Version) -> bytearray:
    found = bytearray(extent.length)

    def take(start: int, view: memoryview) -> None:
        low, high = max(start, extent.start), min(start + len(view), extent.end)
        if low < high:
            found[low - extent.start : high - extent.start] = view[low - start : high - start]

    reply = await backend.open_read(url, extent, expected=version)
    try:
        await reply.receive(take)
    finally:
        await reply.close()
    return found
