"""Downloads: a resource into a local file, through the cache, in one pass.

What comes is written to the target in the same pass (``along``); what the cache has is copied out
of it, which costs nothing on filesystems that share blocks (btrfs, xfs).  What the cache holds
already is not fetched again, also when an earlier download was killed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from netcache._client.placing import Placer
from netcache._client.target import TargetFile, begin_target, place_file
from netcache._client.trees.ports import FetchResult
from netcache._core.extent import Extent
from netcache._core.readplan import COMES_WHOLE_BYTES, first_part
from netcache._core.retry import Retries, RetryPolicy
from netcache._core.steps import GrowingSteps
from netcache._core.urls import Resource, parse
from netcache._core.validity import Moment
from netcache._finishing import finished
from netcache._netfs.runs import run_at
from netcache._netfs.small_files import SmallFile, SmallFiles
from netcache.errors import CacheError, StaleError, TransientError

if TYPE_CHECKING:
    from netcache._client.ahead import AheadCopy
    from netcache._client.along import AlongCopy
    from netcache._core.coherency import Version
    from netcache._core.stats import Stats
    from netcache._netfs.engine import ReadEngine
    from netcache._netfs.inode import Inode
    from netcache._netfs.opener import Opener
    from netcache.spi import ResourceInfo

STEP_BYTES = 8 << 20
"""How much is waited for before it is copied out of the cache, at first."""

STEP_BYTES_MAX = 32 << 20
"""The same where it goes fast."""

SMALL_BYTES = 1 << 20
"""A file that is no larger is fetched first, and placed in one go."""

_ATTEMPTS_MAX = 3

OnBytes = Callable[[int], None]


class Downloader:
    """Brings resources into local files."""

    def __init__(
        self,
        engine: ReadEngine,
        opener: Opener,
        small_files: SmallFiles,
        stats: Stats,
        retry: RetryPolicy,
        transfers: int,
    ) -> None:
        self._engine = engine
        self._opener = opener
        self._stats = stats
        self._retry = retry
        self._small_files = small_files
        # More small files may be asked for in rows; those that go another way are as many.
        self._turns = asyncio.Semaphore(transfers)
        self._placer = Placer()

    async def get_file(
        self,
        info: ResourceInfo,
        path: str,
        on_bytes: OnBytes,
        ahead: AheadCopy | None = None,
        moment: Moment = Moment.LISTED,
    ) -> FetchResult:
        """Bring the resource to ``path``; ``ahead`` has begun to copy it there.

        A change at the server while it is copied starts it over: the file shows one version.
        """
        resource = parse(info.url)
        attempt = 0
        while True:
            told = 0

            def tell(count: int) -> None:
                nonlocal told
                told += count
                on_bytes(count)

            try:
                return await self._get_once(resource, info, path, tell, ahead, moment)
            except StaleError:
                attempt, ahead = attempt + 1, None
                if attempt == _ATTEMPTS_MAX:
                    raise
            on_bytes(-told)

    async def _get_once(
        self,
        resource: Resource,
        info: ResourceInfo,
        path: str,
        on_bytes: OnBytes,
        ahead: AheadCopy | None,
        moment: Moment,
    ) -> FetchResult:
        if ahead is None and info.size is not None and 0 < info.size <= COMES_WHOLE_BYTES:
            brought = await self._small_files.bring(resource, info.version)
            if isinstance(brought, SmallFile):
                return await self._place(brought, info, path, on_bytes)
            if brought is None:
                async with self._turns:
                    return await self._get_opened(resource, info, path, on_bytes)
            return await self._get_opened(resource, info, path, on_bytes, begun=brought)
        return await self._get_opened(resource, info, path, on_bytes, ahead, moment=moment)

    async def _get_opened(
        self,
        resource: Resource,
        info: ResourceInfo,
        path: str,
        on_bytes: OnBytes,
        ahead: AheadCopy | None = None,
        begun: Inode | None = None,
        moment: Moment = Moment.LISTED,
    ) -> FetchResult:
        """The ordinary way, through an inode; a small file may have ``begun`` to come."""
        table = self._engine.inodes
        known = table.find(resource) if begun is None else None

        async def resolve() -> Inode:
            return begun or await self._resolve(resource, info, known, moment)

        before = known.received_bytes if known is not None else 0
        if known is not None:
            # Nobody closes it before it is copied.
            table.acquire(known)
        try:
            inode = await self._bring(resolve, info, path, on_bytes, ahead)
        finally:
            if known is not None:
                table.release(known)
        fetched = inode.received_bytes - (before if inode is known else 0)
        return FetchResult(inode.size, fetched, inode.version)

    async def _bring(
        self,
        resolve: Callable[[], Awaitable[Inode]],
        info: ResourceInfo,
        path: str,
        on_bytes: OnBytes,
        ahead: AheadCopy | None,
    ) -> Inode:
        """Copy what ``resolve`` opens out of the cache, while it comes."""
        loop, table = asyncio.get_running_loop(), self._engine.inodes
        is_small = info.size is not None and info.size <= SMALL_BYTES
        target, copied = None, 0
        if ahead is None and not is_small:
            # A place where nothing can be written is found before much is fetched in vain.
            target = await begin_target(path)
        try:
            inode = await resolve()
            table.acquire(inode)
            try:
                if ahead is not None:
                    target, copied = await ahead.taken(inode)
                    on_bytes(copied)
                elif target is None and not await self._place_small(inode, info, path, on_bytes):
                    target = await begin_target(path)
                if target is not None:
                    await self._copy(inode, target, copied, on_bytes)
                    mtime_s = _mtime_s(inode.version, info)
                    await finished(loop.run_in_executor(None, target.finish, inode.size, mtime_s))
            finally:
                table.release(inode)
            return inode
        finally:
            if target is not None:
                target.discard()

    async def _place(
        self, file: SmallFile, info: ResourceInfo, path: str, on_bytes: OnBytes
    ) -> FetchResult:
        """Place a file that is here whole."""
        size, version = len(file.data), file.version
        await self._placer.place(path, file.data, _mtime_s(version, info))
        on_bytes(size)
        return FetchResult(size, file.fetched_bytes, version)

    async def _place_small(
        self, inode: Inode, info: ResourceInfo, path: str, on_bytes: OnBytes
    ) -> bool:
        """Copy a small file out of the cache in one hop to a thread; False when it is not there."""
        size = inode.size
        if not 0 < size <= SMALL_BYTES or not inode.joins:
            return False
        if not await self._engine.ensure(inode, 0, size, size):
            return False
        descriptor, high = run_at(inode, 0)
        if high != size:
            return False
        try:
            await asyncio.get_running_loop().run_in_executor(
                None, place_file, path, descriptor, size, _mtime_s(inode.version, info)
            )
        except CacheError:
            inode.lose_holding()
            return False
        on_bytes(size)
        return True

    async def sha256(self, info: ResourceInfo) -> bytes:
        """The SHA-256 of a resource, read through the cache at constant memory."""
        # Here, for who brings files compares none.
        from netcache._client.hashing import sha256_of

        resource, table = parse(info.url), self._engine.inodes
        inode = await self._resolve(resource, info, table.find(resource), Moment.LISTED)
        table.acquire(inode)
        try:
            if inode.spools and not inode.complete:
                await self._engine.ensure(inode, 0, 1 << 62)
            return await sha256_of(self._engine, inode)
        finally:
            table.release(inode)

    async def _resolve(
        self, resource: Resource, info: ResourceInfo, inode: Inode | None, moment: Moment
    ) -> Inode:
        """The inode to copy; a listing that bears the cached version's ETag was the check.

        ``inode`` is what is known of the resource.
        """
        if inode is not None and info.version is not None and info.version.same_as(inode.version):
            return inode
        want = Extent(0, -1) if inode is not None else first_part(Extent(0, -1))
        return await self._opener.resolve(resource, time.monotonic(), moment, want)

    async def _copy(
        self, inode: Inode, target: TargetFile, position: int, on_bytes: OnBytes
    ) -> None:
        """Let the target have all of the inode from ``position`` on, as it comes."""
        along = None
        if inode.size > SMALL_BYTES:
            # Here, for small files need none.
            from netcache._client.along import AlongCopy

            along = AlongCopy(target)
            along.begin(inode)
        try:
            if inode.spools and not inode.complete:
                await self._engine.ensure(inode, 0, 1 << 62)
            await self._copy_rest(inode, target, position, along, on_bytes)
            await self._engine.landed(inode, 0, inode.size)
        finally:
            if along is not None:
                along.end()

    async def _copy_rest(
        self,
        inode: Inode,
        target: TargetFile,
        position: int,
        along: AlongCopy | None,
        on_bytes: OnBytes,
    ) -> None:
        """Wait for all from ``position`` on, and copy what did not come along."""
        loop, steps = asyncio.get_running_loop(), GrowingSteps(STEP_BYTES, STEP_BYTES_MAX)
        copied, copying = position, None
        try:
            while position < inode.size:
                begun_s, step = loop.time(), min(position + steps.bytes, inode.size)
                # While one step is copied, the next comes, or is compared with its sums.
                kept = await self._engine.ensure(inode, position, step, inode.size)
                missing = Extent(position, inode.size)
                if along is not None:
                    missing = along.missing(*missing)
                if missing.start > position:
                    on_bytes(missing.start - position)
                    position = missing.start
                    copied = position if copying is None else copied
                    steps.took(loop.time() - begun_s)
                    continue
                descriptor, high = -1, position
                if kept:
                    descriptor, high = run_at(inode, position, steps.bytes)
                if kept and high <= position:
                    continue
                if copying is not None:
                    await finished(copying)
                    copying, copied = None, position
                if not kept:
                    await self._stream(inode, position, target, on_bytes)
                    return
                high = min(high, missing.end)
                copying = loop.run_in_executor(None, target.take_from, descriptor, position, high)
                on_bytes(high - position)
                position = high
                steps.took(loop.time() - begun_s)
            if copying is not None:
                await finished(copying)
        except CacheError:
            # The cache does not give back what it was given: the server has it.
            inode.lose_holding()
            on_bytes(copied - position)
            await self._stream(inode, copied, target, on_bytes)
        finally:
            if copying is not None:
                await finished(asyncio.gather(copying, return_exceptions=True))

    async def _stream(
        self, inode: Inode, position: int, target: TargetFile, on_bytes: OnBytes
    ) -> None:
        """What cannot be cached goes straight to the target."""
        retries = Retries(self._retry)

        def take(start: int, view: memoryview) -> None:
            nonlocal position
            skip = max(0, position - start)
            target.write(start + skip, view[skip:])
            end = start + len(view)
            self._stats.add("DownOps", "bytes", len(view))
            inode.received_bytes += len(view)
            on_bytes(max(0, end - position))
            position = max(position, end)

        while position < inode.size:
            before = position
            reply = await self._engine.backend().open_read(
                inode.resource.url, Extent(position, inode.size), expected=inode.version
            )
            try:
                await reply.receive(take)
            except TransientError as error:
                if position > before:
                    retries = Retries(self._retry)
                await asyncio.sleep(retries.pause_s(error))
            finally:
                await reply.close()


def _mtime_s(version: Version, info: ResourceInfo) -> float | None:
    """What the reply said, or else the listing."""
    return version.mtime_s if version.mtime_s is not None else info.mtime_s
