"""Which version an upload made."""

from __future__ import annotations

from netcache._core.coherency import Version
from netcache.errors import RemoteProtocolError
from netcache.spi import Backend, UploadReply


async def stored_version(backend: Backend, url: str, reply: UploadReply, size: int) -> Version:
    """The version that the reply tells, or else the one that is there now.

    Without a validator in the reply (RFC 9110 9.3.4) another writer may have come in between; a
    size that is not ours shows it.
    """
    if reply.version is not None:
        return reply.version
    info = await backend.stat(url)
    if info is None or info.version is None or info.version.size != size:
        raise RemoteProtocolError(
            f"upload of {url}: the server does not show what was just stored "
            f"({size} bytes); somebody else may have replaced it",
            url=url,
        )
    return info.version
