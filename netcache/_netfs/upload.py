"""Uploads: bodies that are sent to the server and kept for the cache in the same pass.

Rules:

1. What the cache keeps is what was sent: the same chunk goes to both, or what is sent is read
   from the private copy that the cache is going to keep, which nobody else can change.
2. A failed cache write does not fail the upload, and a failed upload publishes nothing.
3. An upload is conditional on the version found when it began (promise P7).
4. Without a validator in the reply nothing is kept: it could not be told from another writer's
   bytes (RFC 9110 9.3.4).
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator, Callable

import aiofiles

from netcache._core.coherency import Validator, ValidatorKind, Version
from netcache._core.stats import Stats
from netcache._core.urls import Resource
from netcache._fscache.ports import CacheStore, NewObject
from netcache._netfs.inodes import InodeTable, key_of
from netcache.errors import CacheError, NetCacheError, NotFoundError
from netcache.spi import Backend, FileRun, UploadBody, UploadCondition, UploadReply

CHUNK_BYTES = 1 << 20
"""How much of a body is in the hand at a time."""
RUN_BYTES = 8 << 20
"""How much of a file is copied for the cache while as much before it is sent."""

OnBytes = Callable[[int], None]


class Tee:
    """Keeps a copy of what is sent, for the cache, and its digest.

    ``keep`` puts a chunk under way on a worker thread, one at a time; ``drain`` waits for the last.
    """

    def __init__(self, store: CacheStore | None, resource: Resource, *, hashing: bool) -> None:
        self._store = store
        self._resource = resource
        self._hashing = hashing
        self._new: NewObject | None = None
        self._digest = hashlib.sha256()
        self._keeping: asyncio.Future[None] | None = None
        self.size = 0

    async def keep(self, chunk: bytes | memoryview) -> None:
        """Let ``chunk`` be kept while it is sent; waits for the chunk before it."""
        await self.drain()
        self._keeping = asyncio.get_running_loop().run_in_executor(None, self.feed, chunk)

    async def drain(self) -> None:
        """Wait until everything given to ``keep`` is kept."""
        keeping, self._keeping = self._keeping, None
        if keeping is not None:
            await keeping

    def restart(self) -> None:
        """Begin a pass from the first byte."""
        self.discard()
        self.size = 0
        self._digest = hashlib.sha256()
        if self._store is not None:
            try:
                self._new = self._store.begin(key_of(self._resource))
            except CacheError:
                self._new = None

    def feed(self, chunk: bytes | memoryview) -> None:
        """Take the next chunk."""
        self.size += len(chunk)
        if self._hashing:
            self._digest.update(chunk)
        if self._new is not None and self._store is not None:
            try:
                self._store.reserve(len(chunk))
                self._new.write(chunk)
            except CacheError:
                self.discard()

    @property
    def may_copy(self) -> bool:
        """Whether a private copy is going to be made."""
        return self._store is not None

    @property
    def hashing(self) -> bool:
        """Whether the digest is wanted."""
        return self._hashing

    def copy_from(self, source: int, start: int, end: int) -> FileRun:
        """Take ``[start, end)`` of the file ``source``, the next bytes; says what to send of them.

        That is the copy, or the source itself when there is none.  May block.
        """
        run = FileRun(source, start, end)
        if self._new is not None and self._store is not None:
            try:
                self._store.reserve(end - start)
                end = start + self._new.copy_from(source, end - start)
                run = FileRun(self._new.fileno(), start, end)
            except CacheError:
                self.abandon()
        if self._hashing:
            self._hash(run)
        self.size = run.end
        return run

    def _hash(self, run: FileRun) -> None:
        for start in range(run.start, run.end, CHUNK_BYTES):
            self._digest.update(os.pread(run.fd, min(CHUNK_BYTES, run.end - start), start))

    def abandon(self) -> None:
        """Keep nothing more; what was copied stays readable until ``discard``."""
        self._store = None

    def sha256(self) -> bytes | None:
        """The digest of the pass; None when it was not asked for."""
        return self._digest.digest() if self._hashing else None

    def publish(self, version: Version) -> None:
        """Make the copy the cache object of ``version``; trouble means that nothing is cached."""
        new, self._new = self._new, None
        if new is None:
            return
        if self._store is None:
            new.discard()
            return
        try:
            if new.size == version.size:
                new.publish(version, checked_s=time.time()).close()
        except CacheError:
            pass
        finally:
            new.discard()

    def discard(self) -> None:
        """Forget the copy.  Idempotent."""
        if self._new is not None:
            self._new.discard()
            self._new = None


class FileBody:
    """A local file as a body; ``path`` may also be an open descriptor, which stays open."""

    replayable = True

    def __init__(self, path: str | int, size: int, tee: Tee, on_bytes: OnBytes) -> None:
        self.size: int | None = size
        self._path = path
        self._tee = tee
        self._on_bytes = on_bytes

    async def chunks(self) -> AsyncIterator[bytes | memoryview]:
        """The file from its start, one chunk read ahead while one is sent and one is kept.

        Ends with the announced size: a server may answer as soon as it has that.
        """
        self._tee.restart()
        left = self.size or 0
        owned = isinstance(self._path, str)
        if not owned:
            os.lseek(self._path, 0, os.SEEK_SET)  # type: ignore[arg-type]
        async with aiofiles.open(self._path, "rb", buffering=0, closefd=owned) as file:
            reading = asyncio.ensure_future(file.read(min(CHUNK_BYTES, left)))
            try:
                while left and (chunk := await reading):
                    left -= len(chunk)
                    if left:
                        reading = asyncio.ensure_future(file.read(min(CHUNK_BYTES, left)))
                    await self._tee.keep(chunk)
                    yield chunk
                    self._on_bytes(len(chunk))
            finally:
                await asyncio.gather(reading, return_exceptions=True)

    def may_run(self) -> bool:
        """Whether ``runs`` may be used instead of ``chunks``: not when a digest is wanted of bytes
        that somebody could change between hashing and sending."""
        return isinstance(self._path, int) and (self._tee.may_copy or not self._tee.hashing)

    async def runs(self) -> AsyncIterator[FileRun]:
        """The file from its start, in runs to be sent by the kernel.

        While one is sent, the next is copied for the cache.
        """
        assert isinstance(self._path, int)
        loop = asyncio.get_running_loop()
        self._tee.restart()
        size, source = self.size or 0, self._path

        def take(start: int) -> asyncio.Future[FileRun]:
            end = min(start + RUN_BYTES, size)
            return loop.run_in_executor(None, self._tee.copy_from, source, start, end)

        coming = take(0) if size else None
        try:
            while coming is not None:
                run = await coming
                coming = take(run.end) if run.start < run.end < size else None
                yield run
                self._on_bytes(run.end - run.start)
        finally:
            if coming is not None:
                await asyncio.gather(coming, return_exceptions=True)

    async def sha256(self) -> bytes | None:
        """The digest of what was sent; read again from the file when it was not asked for."""
        await self._tee.drain()
        known = self._tee.sha256()
        if known is not None:
            return known
        return await asyncio.get_running_loop().run_in_executor(None, sha256_of, self._path)


class BytesBody:
    """A body in memory."""

    replayable = True

    def __init__(self, data: bytes, tee: Tee) -> None:
        self.data = data
        self.size: int | None = len(data)
        self._tee = tee

    async def chunks(self) -> AsyncIterator[bytes | memoryview]:
        """The bytes, in one chunk."""
        self._tee.restart()
        self._tee.feed(self.data)
        if self.data:
            yield self.data

    async def sha256(self) -> bytes | None:
        """The digest."""
        return hashlib.sha256(self.data).digest()


class PipeBody:
    """A body of unknown length that somebody else writes while it is sent; it cannot be replayed.

    ``feed`` waits while ``depth`` chunks are under way, so memory is bounded.
    """

    replayable = False
    size: int | None = None

    def __init__(self, tee: Tee, depth: int = 4) -> None:
        self._tee = tee
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(depth)

    async def feed(self, chunk: bytes) -> None:
        """Hand a chunk over."""
        await self._queue.put(chunk)

    async def finish(self) -> None:
        """No more chunks."""
        await self._queue.put(None)

    async def chunks(self) -> AsyncIterator[bytes | memoryview]:
        """What was fed, as it comes."""
        self._tee.restart()
        while (chunk := await self._queue.get()) is not None:
            await self._tee.keep(chunk)
            yield chunk

    async def sha256(self) -> bytes | None:
        """The digest of what was sent, when the origin was known to tell digests."""
        await self._tee.drain()
        return self._tee.sha256()


class Uploader:
    """Sends bodies and keeps the cache in step with what the server then has."""

    def __init__(
        self,
        backend: Callable[[], Backend],
        store: CacheStore | None,
        inodes: InodeTable,
        stats: Stats,
    ) -> None:
        self._backend = backend
        self._store = store
        self._inodes = inodes
        self._stats = stats
        self._unproven: set[str] = set()

    async def found_condition(self, resource: Resource) -> UploadCondition:
        """The condition that nothing changes at the server between now and the upload."""
        try:
            info = await self._backend().stat(resource.url)
        except NotFoundError:
            return UploadCondition(if_absent=True)
        version = info.version if info is not None else None
        return UploadCondition() if version is None else condition_on(version.validator)

    def tee(self, resource: Resource) -> Tee:
        """A tee for an upload to ``resource``; it hashes where the origin tells digests."""
        hashing = bool(self._backend().capabilities(resource.url).digests)
        # Where uploads are never answered with a validator nothing could be kept.
        store = None if resource.origin in self._unproven else self._store
        return Tee(store, resource, hashing=hashing)

    async def send(
        self,
        resource: Resource,
        body: UploadBody,
        tee: Tee,
        condition: UploadCondition,
        mtime_s: float | None = None,
    ) -> UploadReply:
        """Upload, then publish in the cache what was sent, under the validator of the reply."""
        self._stats.add("UpldOps", "UL")
        try:
            reply = await self._backend().put(
                resource.url, body, condition=condition, mtime_s=mtime_s
            )
            await tee.drain()
        except BaseException:
            self._stats.add("UpldOps", "uf")
            await asyncio.shield(tee.drain())
            tee.discard()
            raise
        finally:
            self._stats.add("UpldOps", "us")
            self._stats.add("UpldOps", "bytes", tee.size)
        self._inodes.forget(key_of(resource))
        if reply.version is not None and reply.version.validator.joins_ranges:
            tee.publish(reply.version)
            self._unproven.discard(resource.origin)
        else:
            tee.discard()
            self._unproven.add(resource.origin)
        return reply


def condition_on(validator: Validator) -> UploadCondition:
    """The condition that the resource still is what bears ``validator``.

    A weak ETag cannot be used with ``If-Match`` (RFC 9110 13.1.1): any version then passes.
    """
    if validator.kind is ValidatorKind.STRONG_ETAG:
        return UploadCondition(if_match=validator.value)
    if validator.kind in (ValidatorKind.STRONG_DATE, ValidatorKind.WEAK_DATE):
        return UploadCondition(unmodified_since=validator.value)
    return UploadCondition(if_match="*") if validator.value else UploadCondition()


def sha256_of(path: str | int) -> bytes:
    """The SHA-256 of a local file, at constant memory.  May block."""
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0, closefd=isinstance(path, str)) as file:
        if not isinstance(path, str):
            file.seek(0)
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.digest()


class SourceChangedError(NetCacheError):
    """A local file changed while it was being uploaded."""
