"""Doubts: uploads whose outcome nobody told.

When every attempt of an upload ended without a reply, the server may have it or not.  The next
upload then meets either the version it was made from, or a version that it does not know: ours, or
somebody else's.  Before that is called a conflict, what is there is compared with what was sent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from netcache._core.coherency import Version
from netcache._core.extent import Extent
from netcache.errors import NetCacheError
from netcache.spi import Backend

_STEP_BYTES = 1 << 20


class Doubt(NamedTuple):
    """An upload that may have arrived.

    ``size`` is what the resource then has.  ``digest`` is the SHA-256 of all of it, if the whole
    was sent and it is known; otherwise ``bytes_of`` gives what was sent of ``extents``.
    """

    size: int
    extents: Sequence[Extent] = ()
    bytes_of: Callable[[Extent], bytes | bytearray] = bytes
    digest: bytes | None = None

    async def arrived(self, backend: Backend, url: str) -> Version | None:
        """The version that is there, when it bears what was sent; None when it does not.

        Of parts it says nothing about the bytes around them: they may be another writer's.
        """
        try:
            info = await backend.stat(url, want_digest=self.digest is not None)
            if info is None or info.version is None or info.version.size != self.size:
                return None
            if self.digest is not None:
                return info.version if info.digest_sha256 == self.digest else None
            for extent in self.extents:
                for start in range(extent.start, extent.end, _STEP_BYTES):
                    step = Extent(start, min(start + _STEP_BYTES, extent.end))
                    if await _read(backend, url, step, info.version) != self.bytes_of(step):
                        return None
        except NetCacheError:
            return None
        return info.version


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
