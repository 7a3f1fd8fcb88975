"""The synchronous face: ``Client``, its files, and ``open`` on a default client.

Thread-safe.  A client cannot be used in the child of a fork (``ClosedError``); open a new one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Self

from netcache._client.core import ClientFace, asking
from netcache._client.files import File, ReadFile
from netcache._client.runner import Runner

if TYPE_CHECKING:
    from netcache._client.admin import CacheAdmin
    from netcache._client.edits import Edits
    from netcache._client.explaining import Explanation
    from netcache._client.operations import Operations
    from netcache._client.report import Report
    from netcache._client.shared import SharedFile
    from netcache._core.progress import ProgressSink
    from netcache.spi import ResourceInfo

__all__ = ["Client", "File", "open"]

PathLike = str | os.PathLike[str]

CAT_BYTES = 1 << 20


class Client(ClientFace):
    """Reads and writes resources on HTTP servers through the cache on disk.

    Options, with their units and defaults:

    * ``cache_dir``: the cache directory (``NETCACHE_CACHE_DIR``, else ``~/.cache/netcache``);
      ``cache_size``: the most it may hold, in bytes or as ``"10GiB"`` (no limit but free space);
      ``use_cache=False``: no cache at all.
    * ``validate``: when a cached version is checked at the server: ``"open"`` (at each open, the
      default), ``"always"`` (at each read), ``"never"``, or a time in seconds or as ``"5m"``.
    * ``offline``: never ask a server; what is not cached raises ``NotCachedError``.
    * ``stale_if_error``: show what is cached when the server cannot be asked whether it is current
      (no connection, a timeout, a status that is worth another try, such as 503, after all
      retries): ``"always"``, or if it was found current at most so long ago (seconds or ``"1h"``);
      None or ``"never"``: raise (the default).
    * ``timeout``: seconds without a byte before an exchange is given up (30); ``retries``: how
      often a failed one is tried again (4, 0..100); ``transfers``: files moved at the same time,
      or rows of small ones that share a connection (4, 1..64); ``processes``: how many processes,
      this one included, bring a tree of many small files (as many as cores, at most 4);
      ``bwlimit``: bytes per second over all exchanges (none).
    * ``headers``: sent with every request; ``auth``: ``("user", "password")`` or
      ``"user:password"``; ``token``: a bearer token; ``netrc``: True or a path; ``ca_cert``: a PEM
      file; ``insecure``: do not check TLS certificates.
    * ``block_size``: of the cache, in bytes, a power of two (the filesystem's); ``readahead``:
      the most bytes fetched ahead of sequential reads (16 MiB); ``sync``: ``"lazy"`` or
      ``"commit"``, when cached data is made durable; ``verify``: when cached bytes are compared
      with their checksums: ``"open"`` (once while a file is open, the default), ``"read"`` (at each
      read), ``"none"``; ``durability``: ``"journal"`` lets edits outlive a killed process (None).
    * ``write_mode``: ``"through"`` puts each write to an edited file under way at once, ``"back"``
      holds it until ``flush_interval`` seconds (5; 0 means that, too) have passed, more than
      ``dirty_soft`` bytes (64 MiB) are unsent over all files, or ``fsync`` or ``close``; above
      ``dirty_hard`` bytes (256 MiB) a write sends first.
    * ``backend``: makes another remote side than HTTP servers, on the client's loop (``spi``).
    * ``on_warning``: called with one line when the cache cannot be used, or is damaged (else it is
      logged).

    ``UsageError`` for an option that makes no sense.
    """

    def _begin(self) -> None:
        self._runner = Runner(self._core)
        self._operations: Operations | None = None
        if self._core.has_orphans():
            self._runner.run(self._begin_recovery())

    async def _begin_recovery(self) -> None:
        """Let what killed processes left be uploaded behind whatever is done now."""
        self._core.remote()

    @property
    def _do(self) -> Operations:
        if self._operations is None:
            with asking():
                from netcache._client.operations import Operations

            self._operations = Operations(self._core)
        return self._operations

    @property
    def cache(self) -> CacheAdmin:
        """The cache itself: status, objects, map, drop, clear, cull, verify."""
        from netcache._client.admin import CacheAdmin

        return CacheAdmin(self._core)

    @property
    def edits(self) -> Edits:
        """Edits that are not at the server: list, recover, save, drop, push."""
        from netcache._client.edits import Edits

        return Edits(self._core, self._runner)

    def open(self, url: str, mode: str = "rb") -> File:
        """Open ``url``: ``rb``, ``wb``, ``xb``, ``ab``, ``r+b`` or ``w+b``.

        For reading nothing is asked of the server before the first read, which then opens, checks
        and reads in one request; a missing resource raises ``NotFoundError`` there.
        """
        resource = self._core.parse(url)
        if mode == "rb":
            return ReadFile(self._core.open_handle(resource), self._runner)
        with asking():
            from netcache._client.async_edit import AsyncEditFile
            from netcache._client.opening import canonical_mode, open_file
            from netcache._client.writer_files import EditFile, StreamFile

        if canonical_mode(mode) == "rb":
            return ReadFile(self._core.open_handle(resource), self._runner)
        inner = self._runner.run(open_file(self._core, url, mode), "opening", url)
        if isinstance(inner, AsyncEditFile):
            return EditFile(inner, self._runner)
        return StreamFile(inner, self._runner)

    def share(self, url: str) -> SharedFile:
        """Share the cached bytes of ``url`` with the workers of other processes.

        Each worker makes a client of its own on the same cache directory and shares the resource
        there; see ``SharedFile``.
        """
        from netcache._client.shared import SharedFile

        return SharedFile(self._core, self._runner, self._core.parse(url))

    def get(
        self,
        url: str | Sequence[str],
        path: PathLike,
        *,
        recursive: bool = False,
        follow_links: bool = False,
        progress: ProgressSink | None = None,
    ) -> Report:
        """Bring a resource to the file ``path`` (or into the folder), through the cache.

        Several land under their own names in the folder ``path``; ``recursive`` brings trees.  A
        file appears only when it is complete.  The error of an only resource is raised; of several
        it is in the report.
        """
        if isinstance(url, str) and not recursive and progress is None:
            report = self._runner.get_here(url, os.fspath(path))
            if report is not None:
                return report
        return self._runner.run(
            self._do.get(
                url, path, recursive=recursive, follow_links=follow_links, progress=progress
            ),
            "get",
            url,
        )

    def put(
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
        """Upload files, trees (``recursive``) or readable streams, caching what is sent.

        Conditional on the version found there when it begins, on ``if_match``, or with
        ``no_clobber`` on nothing being there: else ``ConflictError``, and nothing is changed.
        A large file whose upload was interrupted goes on where it stopped, on the version found
        then, where the server keeps what has arrived; ``Report.sent_bytes`` tells how much went.
        """
        return self._runner.run(
            self._do.put(
                path,
                url,
                recursive=recursive,
                if_match=if_match,
                no_clobber=no_clobber,
                follow_links=follow_links,
                progress=progress,
            ),
            "upload",
            url,
        )

    def sync(
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
        """Make the tree ``dst`` like ``src``, of which one is a URL and one a local folder.

        ``delete`` removes what ``src`` has not (at most ``max_delete``, else nothing);
        ``checksum`` and ``size_only`` change how files are compared; ``dry_run`` only reports.
        """
        with asking():
            from netcache._client.trees.options import TreeOptions

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
        return self._runner.run(self._do.sync(src, dst, options, progress), "the sync")

    def warm(
        self,
        url: str | Sequence[str],
        offset: int = 0,
        count: int | None = None,
        *,
        recursive: bool = False,
        progress: ProgressSink | None = None,
    ) -> Report:
        """Bring resources, or ``count`` bytes at ``offset``, into the cache."""
        return self._runner.run(
            self._do.warm(url, offset, count, recursive=recursive, progress=progress), "warm", url
        )

    def pin(self, url: str | Sequence[str]) -> None:
        """Keep resources from being culled, cached already or not (``client.cache.pin``)."""
        self.cache.pin(url)

    def unpin(self, url: str | Sequence[str]) -> int:
        """Let resources be culled in their turn; returns how many were pinned."""
        return self.cache.unpin(url)

    def stat(self, url: str) -> ResourceInfo:
        """What ``url`` is; ``NotFoundError`` when it is nothing."""
        resource = self._core.parse(url)

        async def work() -> ResourceInfo:
            return await self._core.remote().stat(resource.url)

        return self._runner.run(work(), "stat", url)

    def ls(self, url: str, *, recursive: bool = False) -> list[ResourceInfo]:
        """The entries of a folder; of the whole tree, with relative names, when recursive."""
        return self._runner.run(self._do.ls(url, recursive=recursive), "listing", url)

    def rm(self, url: str, *, recursive: bool = False, if_match: str | None = None) -> Report:
        """Delete a file, an empty folder or a tree at the server, and forget it in the cache."""
        return self._runner.run(
            self._do.rm(url, recursive=recursive, if_match=if_match), "deletion", url
        )

    def mv(
        self, url: str, to_url: str, *, if_match: str | None = None, no_clobber: bool = False
    ) -> str:
        """Give a file or folder another name on its server; returns the URL that it has then.

        A file takes the place of a file (not with ``no_clobber``: ``ConflictError``), and goes
        into a ``to_url`` that ends with a slash.  A folder goes with all that lies in it, and only
        to a name that is free.
        """
        with asking():
            from netcache._client.moving import mv

        return self._runner.run(
            mv(self._core, url, to_url, if_match=if_match, no_clobber=no_clobber), "move", url
        )

    def cat(self, url: str, offset: int = 0, count: int | None = None) -> Iterator[bytes]:
        """The bytes of ``url``, or ``count`` of them at ``offset``, piece by piece.

        Only the blocks asked for are fetched; a cold range is one request.
        """
        with self.open(url) as file:
            assert isinstance(file, ReadFile)
            file.expect(offset, count)
            while count is None or count > 0:
                data = file.pread(CAT_BYTES if count is None else min(count, CAT_BYTES), offset)
                if not data:
                    return
                yield data
                offset += len(data)
                count = None if count is None else count - len(data)

    def why(self, url: str, offset: int = 0, count: int | None = None) -> Explanation:
        """Why a read of ``[offset, offset + count)`` would hit or miss now, and past ones did.

        No server is asked.
        """
        from netcache._client.explaining import why

        return why(self._core, url, offset, count)

    def stats(self) -> dict[str, dict[str, int]]:
        """The counters of this client, in the groups of the netfs and fscache statistics."""
        return self._core.stats.as_groups()

    def close(self) -> None:
        """Cancel what runs, close connections and cache.  Idempotent."""
        self._runner.close()
        self._core.close_local()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


_default: Client | None = None


def open(url: str, mode: str = "rb") -> File:  # the builtin's name, as users expect it
    """Open ``url`` with a default client, which is made at the first call and closed at exit."""
    global _default
    if _default is None or _default._core.closed:
        import atexit

        _default = Client()
        atexit.register(_default.close)
    return _default.open(url, mode)
