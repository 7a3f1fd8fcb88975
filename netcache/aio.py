"""The asynchronous face: ``AsyncClient`` and its files."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import BinaryIO, Self

from netcache._client.async_admin import AsyncCacheAdmin
from netcache._client.async_files import AsyncFile
from netcache._client.core import ClientFace, asking
from netcache._client.edits import AsyncEdits
from netcache._client.explaining import Explanation
from netcache._client.opening import open_file
from netcache._client.operations import Operations
from netcache._client.report import Report
from netcache._client.trees.options import TreeOptions
from netcache._core.progress import ProgressSink
from netcache.spi import ResourceInfo

__all__ = ["AsyncClient", "AsyncFile"]

PathLike = str | os.PathLike[str]


class AsyncClient(ClientFace):
    """A client for one event loop; the options are those of ``netcache.Client``.

    Use it as an asynchronous context manager, or call ``close``.
    """

    def _begin(self) -> None:
        self._do = Operations(self._core)
        self.cache = AsyncCacheAdmin(self._core)

    async def open(self, url: str, mode: str = "rb") -> AsyncFile:
        """Open ``url``: ``rb``, ``wb``, ``xb``, ``ab``, ``r+b`` or ``w+b``.

        For reading nothing is asked of the server before the first read, which then opens, checks
        and reads in one request; a missing resource raises ``NotFoundError`` there.
        """
        with asking("opening", url):
            return await open_file(self._core, url, mode)

    async def get(
        self,
        url: str | Sequence[str],
        path: PathLike,
        *,
        recursive: bool = False,
        follow_links: bool = False,
        progress: ProgressSink | None = None,
    ) -> Report:
        """Bring resources or trees to local files; see ``netcache.Client.get``."""
        with asking("get", url):
            return await self._do.get(
                url, path, recursive=recursive, follow_links=follow_links, progress=progress
            )

    async def put(
        self,
        path: PathLike | BinaryIO | Sequence[PathLike | BinaryIO],
        url: str,
        *,
        recursive: bool = False,
        if_match: str | None = None,
        no_clobber: bool = False,
        follow_links: bool = False,
        progress: ProgressSink | None = None,
    ) -> Report:
        """Upload files, trees or streams; see ``netcache.Client.put``."""
        with asking("upload", url):
            return await self._do.put(
                path,
                url,
                recursive=recursive,
                if_match=if_match,
                no_clobber=no_clobber,
                follow_links=follow_links,
                progress=progress,
            )

    async def sync(
        self,
        src: PathLike,
        dst: PathLike,
        *,
        delete: bool = False,
        max_delete: int | None = None,
        dry_run: bool = False,
        checksum: bool = False,
        size_only: bool = False,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        follow_links: bool = False,
        progress: ProgressSink | None = None,
    ) -> Report:
        """Make ``dst`` like ``src``; see ``netcache.Client.sync``."""
        options = TreeOptions(
            delete=delete,
            max_delete=max_delete,
            dry_run=dry_run,
            checksum=checksum,
            size_only=size_only,
            include=tuple(include),
            exclude=tuple(exclude),
            follow_links=follow_links,
        )
        with asking("the sync"):
            return await self._do.sync(src, dst, options, progress)

    async def warm(
        self,
        url: str | Sequence[str],
        offset: int = 0,
        count: int | None = None,
        *,
        recursive: bool = False,
        progress: ProgressSink | None = None,
    ) -> Report:
        """Bring resources, or ``count`` bytes at ``offset``, into the cache."""
        with asking("warm", url):
            return await self._do.warm(url, offset, count, recursive=recursive, progress=progress)

    async def pin(self, url: str | Sequence[str]) -> None:
        """Keep resources from being culled, those too that are cached later."""
        await self.cache.pin(url)

    async def unpin(self, url: str | Sequence[str]) -> int:
        """Let resources be culled in their turn; returns how many were pinned."""
        return await self.cache.unpin(url)

    async def stat(self, url: str) -> ResourceInfo:
        """What ``url`` is; ``NotFoundError`` when it is nothing."""
        with asking("stat", url):
            return await self._core.remote().stat(self._core.parse(url).url)

    async def ls(self, url: str, *, recursive: bool = False) -> list[ResourceInfo]:
        """The entries of a folder; of the whole tree, with relative names, when recursive."""
        with asking("listing", url):
            return await self._do.ls(url, recursive=recursive)

    async def rm(self, url: str, *, recursive: bool = False, if_match: str | None = None) -> Report:
        """Delete a file, an empty folder or a tree at the server, and forget it in the cache."""
        with asking("deletion", url):
            return await self._do.rm(url, recursive=recursive, if_match=if_match)

    async def mv(
        self, url: str, to_url: str, *, if_match: str | None = None, no_clobber: bool = False
    ) -> str:
        """Give a file or folder another name; see ``netcache.Client.mv``."""
        with asking("move", url):
            from netcache._client.moving import mv

            return await mv(self._core, url, to_url, if_match=if_match, no_clobber=no_clobber)

    def cat(
        self, url: str, offset: int = 0, count: int | None = None
    ) -> AsyncIterator[bytes | memoryview]:
        """The bytes of ``url``, or ``count`` of them at ``offset``, piece by piece."""
        return self._do.cat(url, offset, count)

    async def why(self, url: str, offset: int = 0, count: int | None = None) -> Explanation:
        """See ``Client.why``."""
        from netcache._client.explaining import why

        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, why, self._core, url, offset, count)

    async def stats(self) -> dict[str, dict[str, int]]:
        """The counters of this client, in the groups of the netfs and fscache statistics."""
        return self._core.stats.as_groups()

    async def close(self) -> None:
        """Cancel what runs, close connections and cache.  Idempotent."""
        if not self._core.closed:
            await self._core.close_remote()
            await asyncio.get_running_loop().run_in_executor(None, self._core.close_local)

    @property
    def edits(self) -> AsyncEdits:
        """Edits that are not at the server: list, recover, save, drop, push."""
        return AsyncEdits(self._core)

    async def __aenter__(self) -> Self:
        if self._core.has_orphans():
            self._core.remote()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()
