"""Warming: a resource, or a part of it, is brought into the cache, and nowhere else."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from netcache._core.extent import Extent
from netcache._core.readplan import COMES_WHOLE_BYTES, first_part
from netcache._core.urls import parse
from netcache._core.validity import Moment
from netcache.errors import CacheError

if TYPE_CHECKING:
    from collections.abc import Callable

    from netcache._core.urls import Resource
    from netcache._netfs.engine import ReadEngine
    from netcache._netfs.inode import Inode
    from netcache._netfs.opener import Opener
    from netcache._netfs.small_files import SmallFiles
    from netcache.spi import ResourceInfo

STEP_BYTES = 8 << 20
STEP_BYTES_MAX = 64 << 20
"""How much is waited for before it is told, and at most, where more is there already."""


async def warm(
    engine: ReadEngine,
    opener: Opener,
    resource: Resource,
    offset: int,
    count: int | None,
    on_bytes: Callable[[int], None],
    moment: Moment = Moment.OPEN,
) -> tuple[int, int]:
    """Bring ``[offset, offset + count)`` (None: to the end) into the cache.

    Returns how many bytes of the resource that is, and how many were fetched.  Raises
    ``CacheError`` when they cannot be kept.
    """
    known = engine.inodes.find(resource)
    before = known.received_bytes if known is not None else 0
    want = Extent(offset, -1 if count is None else offset + count)
    first = want if known is not None else first_part(want)
    inode = await opener.resolve(resource, time.monotonic(), moment, first)
    size = await _warm_inode(engine, inode, offset, count, on_bytes)
    return size, inode.received_bytes - (before if inode is known else 0)


async def warm_listed(
    engine: ReadEngine, opener: Opener, small_files: SmallFiles, info: ResourceInfo
) -> tuple[int, int]:
    """``warm`` of all of a resource that a listing told of; a small one comes in one step."""
    # Here, for who warms one resource has no use for it.
    from netcache._netfs.small_files import SmallFile

    resource = parse(info.url)
    if info.size is None or not 0 < info.size <= COMES_WHOLE_BYTES:
        return await warm(engine, opener, resource, 0, None, _nothing, Moment.LISTED)
    brought = await small_files.bring(resource, info.version)
    if brought is None:
        return await warm(engine, opener, resource, 0, None, _nothing, Moment.LISTED)
    if isinstance(brought, SmallFile):
        if not brought.is_kept:
            raise _not_kept(resource.url)
        return len(brought.data), brought.fetched_bytes
    return await _warm_inode(engine, brought, 0, None, _nothing), brought.received_bytes


async def _warm_inode(
    engine: ReadEngine,
    inode: Inode,
    offset: int,
    count: int | None,
    on_bytes: Callable[[int], None],
) -> int:
    """Bring a part of what has been opened; returns how many bytes that is."""
    engine.inodes.acquire(inode)
    try:
        if inode.spools and not inode.complete:
            await engine.ensure(inode, 0, 1 << 62)
        end = inode.clip(offset + count if count is not None else inode.size)
        await _bring(engine, inode, Extent(offset, end), on_bytes)
        await engine.landed(inode, offset, end)
        return max(0, end - offset)
    finally:
        engine.inodes.release(inode)


async def _bring(
    engine: ReadEngine, inode: Inode, extent: Extent, on_bytes: Callable[[int], None]
) -> None:
    """Bring ``extent``, step by step.  What is known to be there is one step: who follows another
    process finds much at a time."""
    position, end = extent
    while position < end:
        there = min(inode.reach(position), position + STEP_BYTES_MAX)
        step = min(max(position + STEP_BYTES, there), end)
        if not await engine.ensure(inode, position, step, end, patient=True):
            raise _not_kept(inode.resource.url)
        on_bytes(step - position)
        position = step


def _not_kept(url: str) -> CacheError:
    return CacheError(f"{url} cannot be kept in the cache (it is full, or failed)", url=url)


def _nothing(_: int) -> None:
    return
