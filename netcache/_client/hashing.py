"""Digests of resources, read through the cache at constant memory."""

from __future__ import annotations

import asyncio
import hashlib
import os
from typing import TYPE_CHECKING

from netcache._netfs.runs import run_at

if TYPE_CHECKING:
    from netcache._netfs.engine import ReadEngine
    from netcache._netfs.inode import Inode

HASH_BYTES = 1 << 20


async def sha256_of(engine: ReadEngine, inode: Inode) -> bytes:
    """The SHA-256 of all of an inode that somebody has acquired."""
    loop = asyncio.get_running_loop()
    digest = hashlib.sha256()
    for start in range(0, inode.size, HASH_BYTES):
        end, data = min(start + HASH_BYTES, inode.size), b""
        if await engine.ensure(inode, start, end, inode.size):
            data = await loop.run_in_executor(None, _read_kept, inode, start, end)
        if len(data) < end - start:
            from netcache._netfs.direct_read import read_direct

            data = await read_direct(engine, inode, start, end)
        await loop.run_in_executor(None, digest.update, data)
    return digest.digest()


def _read_kept(inode: Inode, start: int, end: int) -> bytes:
    """What the cache gives of ``[start, end)``; nothing when its disk fails."""
    descriptor, _ = run_at(inode, start)
    try:
        return os.pread(descriptor, end - start, start)
    except OSError:
        inode.lose_holding()
        return b""
