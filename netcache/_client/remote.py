"""The remote half of a client: backend, engine, uploads, downloads, as trees need them too.

Built on the client's event loop and used there only.  It implements ``TreeOps``.  Its parts are
made, and their code is imported, when they are first needed: an upload knows nothing of the engine.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from functools import cached_property
from typing import TYPE_CHECKING

from netcache._client.options import EXCHANGES_PER_TRANSFER, ClientOptions
from netcache._client.saved_origins import add_origins, read_origins
from netcache._core.retry import RetryPolicy
from netcache._core.urls import Resource, as_file, as_folder, parse
from netcache._core.validity import Moment
from netcache._netfs.inodes import key_of
from netcache.backends.http import HttpBackend
from netcache.errors import NotCachedError, NotFoundError
from netcache.spi import Backend, ResourceInfo, UploadCondition, UploadReply

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from netcache._client.ahead import AheadCopy
    from netcache._client.crew.crew import Crew
    from netcache._client.download import Downloader, OnBytes
    from netcache._client.file_upload import FileUploader
    from netcache._client.local import LocalHalf
    from netcache._client.trees.ports import FetchResult
    from netcache._netfs.dirty_table import DirtyTable
    from netcache._netfs.engine import ReadEngine
    from netcache._netfs.opener import Opener
    from netcache._netfs.recovery import Recovered, Recovery
    from netcache._netfs.small_files import SmallFiles
    from netcache._netfs.upload import Uploader
    from netcache._netfs.writeback import Writeback


class Remote:
    """What a client does at servers.

    ``hands_from``: a tree of so many small files is worth the start of other processes.
    """

    hands_from = 256

    def __init__(self, local: LocalHalf, credentials: dict[str, tuple[str, str]]) -> None:
        options = local.options
        self._local = local
        self._credentials = credentials
        self.transfers = options.transfers
        # How many of them other processes have.
        self._lent = 0
        self._http: HttpBackend | None = None
        self.backend: Backend = self._backend(options, credentials)
        self._retry = RetryPolicy(attempts=options.retries + 1, random=random.random)
        self._recovering: asyncio.Task[list[Recovered]] | None = None
        if local.has_orphans():
            self._recovering = asyncio.ensure_future(self.recovery.run())

    # The parts.

    @cached_property
    def engine(self) -> ReadEngine:
        """Brings what readers miss."""
        from netcache._netfs.engine import ReadEngine

        local, options = self._local, self._local.options
        return ReadEngine(
            lambda: self.backend,
            local.store,
            local.inodes,
            local.stats,
            retry=self._retry,
            timeout_s=options.timeout_s,
            exchanges=options.transfers * EXCHANGES_PER_TRANSFER,
            under_pressure=self._is_full_of_edits,
            offline=options.offline,
        )

    def _is_full_of_edits(self) -> bool:
        return "dirty" in vars(self) and self.dirty.unsent_bytes > self.dirty.soft_bytes

    @cached_property
    def opener(self) -> Opener:
        """Finds out which version readers are shown."""
        from netcache._netfs.opener import Opener

        return Opener(self.engine, self._local.options.stale_s)

    @cached_property
    def uploader(self) -> Uploader:
        """Sends whole resources."""
        from netcache._netfs.upload import Uploader

        local = self._local
        return Uploader(lambda: self.backend, local.store, local.inodes, local.stats)

    @cached_property
    def _file_uploader(self) -> FileUploader:
        from netcache._client.file_upload import FileUploader

        state_dir = self._local.options.state_dir
        return FileUploader(self.uploader, state_dir, lambda resource: self.opener.drop(resource))

    @cached_property
    def _writeback(self) -> Writeback:
        from netcache._netfs.writeback import Writeback

        return Writeback(
            lambda: self.backend, self.engine, self.opener, self.uploader, self._local.stats
        )

    @cached_property
    def dirty(self) -> DirtyTable:
        """The files that are being edited."""
        from netcache._netfs.dirty_table import DirtyTable

        options = self._local.options
        return DirtyTable(
            self._writeback,
            at_once=options.write_mode == "through",
            soft_bytes=options.dirty_soft,
            hard_bytes=options.dirty_hard,
            interval_s=options.flush_interval_s,
        )

    @cached_property
    def recovery(self) -> Recovery:
        """Brings what killed processes did not send to its server."""
        from netcache._netfs.recovery import Recovery

        local = self._local
        return Recovery(local.journal, self._writeback, self.engine, self.opener, local.stats)

    @cached_property
    def _downloader(self) -> Downloader:
        from netcache._client.download import Downloader

        stats, transfers = self._local.stats, self._local.options.transfers
        return Downloader(
            self.engine, self.opener, self._small_files, stats, self._retry, transfers
        )

    @cached_property
    def _small_files(self) -> SmallFiles:
        from netcache._netfs.small_files import SmallFiles

        return SmallFiles(self.engine, self.opener)

    def _backend(self, options: ClientOptions, credentials: dict[str, tuple[str, str]]) -> Backend:
        """The backend that was asked for, or the one for HTTP servers."""
        if options.backend is not None:
            return options.backend()
        self._http = HttpBackend(options.for_http())
        for origin, pair in credentials.items():
            self._http.add_credentials(origin, *pair)
        if self._local.store is not None:
            self._http.recall(read_origins(options.cache_dir), time.time())
        return self._http

    def _remember_origins(self) -> None:
        store = self._local.store
        if self._http is None or store is None or not store.is_bound:
            return
        try:
            add_origins(self._local.options.cache_dir, self._http.remembered(time.time()))
        except OSError:
            # It is learnt again.
            return

    def add_credentials(self, origin: str, user: str, password: str) -> None:
        """Use these for an origin from now on."""
        if self._http is not None:
            self._http.add_credentials(origin, user, password)

    async def close(self) -> None:
        """Cancel what runs, close the connections."""
        if self._recovering is not None:
            self._recovering.cancel()
            await asyncio.gather(self._recovering, return_exceptions=True)
        if "dirty" in vars(self):
            await self.dirty.close()
        if "engine" in vars(self):
            await self.engine.close()
        self._remember_origins()
        await self.backend.close()

    async def recover(self) -> list[Recovered]:
        """Upload the edits that killed processes left; waits for what is under way."""
        under_way, self._recovering = self._recovering, None
        done = await under_way if under_way is not None else []
        return done + await self.recovery.run()

    # Metadata.

    async def stat(self, url: str) -> ResourceInfo:
        """What ``url`` is; offline, what the cache knows of it."""
        if not self._local.options.offline:
            return await self._stat_online(url)
        from netcache._client.offline import stat_kept

        return stat_kept(self._local, url)

    async def _stat_online(self, url: str) -> ResourceInfo:
        try:
            info = await self.backend.stat(url)
        except NotFoundError:
            from netcache._netfs.absent import note_absent

            note_absent(self._local.store, key_of(parse(url)))
            raise
        assert info is not None
        return info

    async def list(self, url: str) -> list[ResourceInfo]:
        """The entries of a folder; offline, as they were last seen."""
        from netcache._client.listings import keep_listing, kept_listing

        folder = as_folder(parse(url))
        if self._local.options.offline:
            kept = kept_listing(self._local.store, folder)
            if kept is None:
                raise NotCachedError(f"listing of {url} failed: offline, and not cached", url=url)
            return list(kept)
        entries = await self.backend.list(folder.url)
        keep_listing(self._local.store, folder, entries)
        return entries

    async def make_folder(self, url: str) -> None:
        """Make a folder with its parents; one that is there is fine."""
        from netcache._netfs.absent import forget_absent

        self._local.need_online("making of", url)
        folder = as_folder(parse(url))
        await self.backend.make_folder(folder.url)
        for resource in (folder, as_file(folder)):
            forget_absent(self._local.store, key_of(resource))

    async def delete(self, url: str, condition: UploadCondition | None = None) -> None:
        """Delete at the server, and forget in the cache."""
        self._local.need_online("deletion of", url)
        await self.backend.delete(url, condition=condition or UploadCondition())
        self.opener.drop(parse(url))

    # Files.

    async def get_file(self, info: ResourceInfo, path: str, on_bytes: OnBytes) -> FetchResult:
        """Bring a file of a tree through the cache to ``path``."""
        return await self._downloader.get_file(info, path, on_bytes)

    async def get_alone(
        self, resource: Resource, path: str, on_bytes: OnBytes, ahead: AheadCopy | None
    ) -> FetchResult:
        """Bring a file that no listing told of; ``ahead`` has begun to copy it there."""
        info = ResourceInfo(resource.url, resource.name, "file", None, None, None)
        return await self._downloader.get_file(info, path, on_bytes, ahead, Moment.OPEN)

    def crew(self) -> AbstractAsyncContextManager[Crew | None]:
        """Other processes that do what ``get_file`` does, for one run; None where none can."""
        from netcache._client.crew.conditions import processes_of

        processes = processes_of(self._local.options)
        if processes == 1:
            return contextlib.nullcontext()
        from netcache._client.crew.crew import Crew

        return Crew(self._local, self._credentials, processes, self.hands_from, self._lend)

    def _lend(self, transfers: int) -> None:
        """Other processes have so many of the transfers more (below 0: fewer)."""
        self._lent += transfers
        limit: Callable[[int], None] | None = getattr(self.backend, "limit_small", None)
        if limit is not None:
            # Of several runs at once each may lend nearly all.
            limit(max(1, self.transfers - self._lent))

    async def warm(
        self, resource: Resource, offset: int, count: int | None, on_bytes: OnBytes
    ) -> tuple[int, int]:
        """Bring a resource, or ``count`` bytes of it at ``offset``, into the cache."""
        from netcache._client.warming import warm

        return await warm(self.engine, self.opener, resource, offset, count, on_bytes)

    async def warm_listed(self, info: ResourceInfo) -> tuple[int, int]:
        """Bring a file that a listing told of into the cache."""
        from netcache._client.warming import warm_listed

        return await warm_listed(self.engine, self.opener, self._small_files, info)

    async def put_file(
        self, path: str, url: str, condition: UploadCondition | None, on_bytes: OnBytes
    ) -> UploadReply:
        """Upload a local file, caching what is sent."""
        self._local.need_online("upload to", url)
        return await self._file_uploader.put_file(path, parse(url), condition, on_bytes)

    # Comparing.

    async def local_sha256(self, path: str) -> bytes:
        """The digest of a local file."""
        from netcache._netfs.bodies import sha256_of

        return await sha256_of(path)

    async def remote_sha256(self, info: ResourceInfo) -> bytes:
        """The digest of a resource: from the server where it tells it, else through the cache."""
        if info.digest_sha256 is not None:
            return info.digest_sha256
        if not self._local.options.offline:
            asked = await self.backend.stat(info.url, want_digest=True)
            if asked is not None and asked.digest_sha256 is not None:
                return asked.digest_sha256
        return await self._downloader.sha256(info)

    def keeps_mtime(self, url: str) -> bool | None:
        """Whether the origin stores the times that uploads give it."""
        return self.backend.capabilities(url).keeps_mtime

    async def exists(self, url: str) -> bool:
        """Whether there is a file or folder at ``url``."""
        try:
            await self.stat(url)
        except NotFoundError:
            return False
        return True

    def forget(self, url: str) -> int:
        """Drop ``url`` from the cache; returns the bytes given free."""
        freed = self.opener.drop(parse(url))
        self._local.inodes.forget(key_of(parse(url)))
        return freed
