"""How a doubt ends: what the server has is compared with what was sent."""

from __future__ import annotations

import hashlib

from netcache._core.coherency import Version
from netcache._core.doubt import Doubt
from netcache._core.extent import Extent
from netcache.errors import NotFoundError, StaleError
from netcache.spi import Backend

_STEP_BYTES = 1 << 20


async def arrived(doubt: Doubt, backend: Backend, url: str) -> Version | None:
    """The version that is there, when it bears what was sent; None when it does not.

    Of parts it says nothing about the bytes around them: they may be another writer's.
    Raises what kept the question from being answered: the doubt then lasts.
    """
    is_whole = doubt.part is None
    try:
        info = await backend.stat(url, want_digest=is_whole)
        if info is None or info.version is None or info.version.size != doubt.size:
            return None
        digest = info.digest_sha256 if is_whole else None
        if digest is None:
            digest = await _digest(backend, url, doubt.span, info.version)
    except (NotFoundError, StaleError):
        return None
    return info.version if digest in doubt.digests else None


async def _digest(backend: Backend, url: str, extent: Extent, version: Version) -> bytes:
    """The SHA-256 of what is there, read: of parts, and for servers that do not tell it."""
    digest = hashlib.sha256()
    for start in range(extent.start, extent.end, _STEP_BYTES):
        step = Extent(start, min(start + _STEP_BYTES, extent.end))
        digest.update(await _read(backend, url, step, version))
    return digest.digest()


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
