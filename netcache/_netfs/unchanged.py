"""What is cached stays of use when the resource shows another version with the same bytes.

A file that is touched, copied back or redeployed has a new validator and its old content.  Where
the server tells the SHA-256 of the whole, that is compared with what is cached, and nothing is
fetched.

Rules:

1. It is only for a resource that is in the cache as a whole: a digest proves nothing of a part.
2. It costs no request: the digest is asked for in the check that is made anyway, and not any more
   of an origin that does not tell any.
3. What is cached is hashed once, in a worker thread, and read as readers read it: damaged bytes
   are not there.
4. Without a validator that joins ranges, the digest is what a check compares (one ``HEAD``), where
   the origin is known to tell it.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING

from netcache._finishing import finished
from netcache._netfs.runs import run_at
from netcache.errors import CacheError

if TYPE_CHECKING:
    from netcache._core.coherency import Version
    from netcache._netfs.inode import Inode
    from netcache._netfs.inodes import InodeTable
    from netcache.spi import OriginCapabilities, ResourceInfo

WHOLE_BYTES_MAX = 4 << 30
"""A larger resource is not hashed: a server that hashes it first would keep the check waiting."""

STEP_BYTES = 4 << 20
"""What is hashed before a cancellation is heard."""


def may_compare(inode: Inode, known: OriginCapabilities) -> bool:
    """Whether a digest of the whole is worth asking for; never waits for the disk for long."""
    return (
        known.whole_digests is not False
        # Without ranges only an origin that is known to tell digests is asked before the bytes.
        and (inode.joins or bool(known.whole_digests))
        and 0 < inode.size <= WHOLE_BYTES_MAX
        and is_whole(inode)
    )


def is_whole(inode: Inode) -> bool:
    """Whether all of the resource is in the cache."""
    return inode.cached is not None and not inode.missing(0, inode.size)


async def taken_over(
    inodes: InodeTable, inode: Inode, info: ResourceInfo, version: Version
) -> bool:
    """Whether what is cached is what ``info`` tells the digest of, and counts as ``version`` now.

    False also when the cache does not do it.  Without a validator there is nothing to be made of
    it, and what is cached keeps its version.
    """
    if info.digest_sha256 is None or version.size != inode.size:
        return False
    if inode.digest is None:
        inodes.acquire(inode)
        try:
            inode.digest = await _digest(inode)
        finally:
            inodes.release(inode)
    if inode.digest != info.digest_sha256:
        return False
    return not version.validator.value or _carried_over(inode, version)


def _carried_over(inode: Inode, version: Version) -> bool:
    cached = inode.cached
    try:
        return cached is not None and cached.object.carry_over(
            inode.version, version, checked_s=time.time()
        )
    except CacheError:
        return False


async def _digest(inode: Inode) -> bytes | None:
    """The SHA-256 of all that is cached; None when that is less than the whole."""
    import hashlib

    loop, digest, position = asyncio.get_running_loop(), hashlib.sha256(), 0
    while position < inode.size:
        data = await finished(loop.run_in_executor(None, _read_step, inode, position))
        if not data:
            return None
        await finished(loop.run_in_executor(None, digest.update, data))
        position += len(data)
    return digest.digest()


def _read_step(inode: Inode, position: int) -> bytes:
    """Cached bytes from ``position`` on; none where there are none, or the disk fails."""
    descriptor, end = run_at(inode, position)
    try:
        return os.pread(descriptor, min(end - position, STEP_BYTES), position)
    except OSError:
        return b""
