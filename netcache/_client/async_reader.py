"""Reading through a handle from asynchronous code."""

from __future__ import annotations

import asyncio

from netcache._client.core import ClientCore, asking
from netcache._client.mapping import Mapping
from netcache._netfs.handle import ReadHandle


class AsyncReader:
    """A read handle for callers on an event loop."""

    def __init__(self, core: ClientCore, handle: ReadHandle) -> None:
        self._core = core
        self.handle = handle
        self._mapping = Mapping()

    async def prepare(self, start: int, length: int) -> None:
        """Let ``[start, start + length)`` (-1: to the end) be asked for in one request."""
        if self.handle.bind_local() is None:
            with asking("read", self.handle.resource.url):
                await self.handle.open(start, length, self._core.remote().opener)

    async def pread(self, length: int, start: int) -> bytes:
        """Up to ``length`` bytes at ``start``; fewer only at the end of the resource."""
        buffer = bytearray(length)
        count = await self.preadinto(memoryview(buffer), start)
        # Not cut: the worker that has read into it may not have let go of it yet.
        return bytes(memoryview(buffer)[:count])

    async def preadinto(self, view: memoryview, start: int) -> int:
        """Read at ``start`` into ``view``; the count is short only at the end."""
        count = self.handle.hit_nowait(view, start)
        return count if count is not None else await self.bring_into(view, start)

    async def bring_into(self, view: memoryview, start: int) -> int:
        """``preadinto``, for whom ``hit_nowait`` has just answered None."""
        handle = self.handle
        # One that was bound has missed already.
        missed = handle.inode is not None
        handle.bind_local()
        while True:
            count = None if missed else handle.hit_nowait(view, start)
            if count is not None:
                return count
            missed = False
            if _may_hit(handle, start, len(view)):
                loop = asyncio.get_running_loop()
                count = await loop.run_in_executor(None, handle.hit_into, view, start)
                if count is not None:
                    return count
            data = await self._fetch(start, len(view))
            if data is not None:
                view[: len(data)] = data
                return len(data)

    async def _fetch(self, start: int, length: int) -> bytes | None:
        """``ReadHandle.fetch``."""
        with asking("read", self.handle.resource.url):
            remote = self._core.remote()
            return await self.handle.fetch(start, length, remote.engine, remote.opener)

    async def size(self) -> int:
        """The size of the resource."""
        with asking("read", self.handle.resource.url):
            while True:
                inode = self.handle.bind_local()
                if inode is None:
                    inode = await self.handle.stat(self._core.remote().opener)
                while inode.size < 0:
                    await self._core.remote().engine.ensure(inode, 0, 1 << 62)
                if self.handle.show(inode):
                    return inode.size

    async def view(self, start: int, length: int) -> memoryview:
        """A read-only view of the bytes, without a copy where they are cached."""
        if length < 0 or start < 0:
            raise ValueError(f"view of {length} bytes at {start}: neither may be negative")
        await self.prepare(start, length)
        end = min(start + length, await self.size())
        handle = self.handle
        while end > start:
            assert handle.inode is not None
            if not handle.checks_each_read and handle.inode.locate(start, end):
                view = self._mapping.view(handle.inode, start, end)
                if view is not None:
                    return view
                data = handle.hit(end - start, start)
                if data is not None:
                    return memoryview(data)
            data = await self._fetch(start, end - start)
            if data is not None:
                return memoryview(data)
        return memoryview(b"")


def _may_hit(handle: ReadHandle, start: int, length: int) -> bool:
    """Whether a hit is to be expected, though perhaps not at once.

    Who asks has just missed, and so learnt what is there: the cache is not asked again.
    """
    inode = handle.inode
    return (
        inode is not None
        and not handle.checks_each_read
        and inode.size >= 0
        and inode.reach(start) >= inode.clip(start + length)
    )
