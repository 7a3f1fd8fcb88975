"""Doubts: uploads whose outcome nobody told.

When every attempt of an upload ended without a reply, the server may have it or not.  The next
upload then meets either the version it was made from, or a version that it does not know: ours, or
somebody else's.  Before that is called a conflict, what is there is compared with what was sent.
"""

from __future__ import annotations

from typing import NamedTuple

from netcache._core.coherency import Version
from netcache._core.extent import Extent
from netcache.errors import NetCacheError
from netcache.spi import Backend


class Doubt(NamedTuple):
    """An upload that may have arrived: a part and its bytes, or the whole and its SHA-256."""

    size: int
    part: Extent | None
    data: bytes | bytearray

    async def arrived(self, backend: Backend, url: str) -> Version | None:
        """The version that is there, when it bears what was sent; None when it does not.

        Of a part it says nothing about the bytes around it: they may be another writer's.
        """
        try:
            info = await backend.stat(url, want_digest=self.part is None)
        except NetCacheError:
            return None
        if info is None or info.version is None or info.version.size != self.size:
            return None
        if self.part is None:
            return info.version if info.digest_sha256 == self.data else None
        part, found = self.part, bytearray(self.part.length)

        def take(start: int, view: memoryview) -> None:
            low, high = max(start, part.start), min(start + len(view), part.end)
            if low < high:
                found[low - part.start : high - part.start] = view[low - start : high - start]

        reply = await backend.open_read(url, part, expected=info.version)
        try:
            await reply.receive(take)
        finally:
            await reply.close()
        return info.version if found == self.data else None
