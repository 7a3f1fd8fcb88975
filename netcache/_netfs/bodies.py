"""Bodies of uploads: a local file, bytes in memory, a stream that somebody is writing.

Each goes through a ``Tee``; those that are ``replayable`` begin anew for every attempt.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, NamedTuple

from netcache._core.steps import GrowingSteps
from netcache._finishing import finished
from netcache._netfs.tee import CHUNK_BYTES, Tee
from netcache.errors import NetCacheError

if TYPE_CHECKING:
    from netcache.spi import FileRun

RUN_BYTES = 4 << 20
"""How much of a file is sent at a time, at first."""

RUN_BYTES_MAX = 64 << 20
"""The same where it goes fast."""

STEP_BYTES = 16 << 20
"""What is hashed before a cancellation is heard."""

_READ = os.O_RDONLY | os.O_CLOEXEC

OnBytes = Callable[[int], None]


class SourceChangedError(NetCacheError):
    """A local file changed while it was being uploaded."""


class FileBody:
    """A local file as a body; ``path`` may also be an open descriptor, which stays open.

    A pass begins at ``start``; what is before that has been kept by the tee already.
    """

    replayable = True

    def __init__(self, path: str | int, size: int, tee: Tee, on_bytes: OnBytes) -> None:
        self.size: int | None = size
        self.start = 0
        self._path = path
        self._tee = tee
        self._on_bytes = on_bytes
        self._reported = 0

    def _report(self, position: int) -> None:
        """All up to ``position`` is done; what is sent again is not told again."""
        if position > self._reported:
            self._on_bytes(position - self._reported)
            self._reported = position

    async def chunks(self) -> AsyncIterator[bytes | memoryview]:
        """The file from ``start`` on, one chunk read ahead while one is sent and one is kept.

        Ends with the announced size: a server may answer as soon as it has that.
        """
        # Imported here: most bodies go past it (``runs``), and it takes its time.
        import aiofiles

        position = self.start
        await self._tee.drain()
        if not position:
            self._tee.restart()
        left = (self.size or 0) - position
        owned = isinstance(self._path, str)
        if not owned:
            os.lseek(self._path, position, os.SEEK_SET)  # type: ignore[arg-type]
        async with aiofiles.open(self._path, "rb", buffering=0, closefd=owned) as file:
            reading = asyncio.ensure_future(file.read(min(CHUNK_BYTES, left)))
            try:
                while left and (chunk := await finished(reading)):
                    left -= len(chunk)
                    if left:
                        reading = asyncio.ensure_future(file.read(min(CHUNK_BYTES, left)))
                    await self._tee.drain()
                    new = memoryview(chunk)[max(0, self._tee.size - position) :]
                    if new:
                        await self._tee.keep(new)
                    yield chunk
                    position += len(chunk)
                    self._report(position)
            finally:
                await finished(asyncio.gather(reading, return_exceptions=True))

    def may_run(self) -> bool:
        """Whether ``runs`` may be used instead of ``chunks``: not when a digest is wanted of bytes
        that somebody could change between hashing and sending."""
        return isinstance(self._path, int) and (self._tee.may_copy or not self._tee.hashing)

    async def runs(self) -> AsyncIterator[FileRun]:
        """The file from ``start`` on, in runs to be sent by the kernel.

        While one is sent, the next is copied for the cache.  Where the first one shows that the
        kernel cannot share its blocks, those that follow are kept while they are sent.
        """
        assert isinstance(self._path, int)
        loop, tee = asyncio.get_running_loop(), self._tee
        if not self.start:
            await tee.drain()
            tee.restart()
        size, source = self.size or 0, self._path
        steps = GrowingSteps(RUN_BYTES, RUN_BYTES_MAX)

        def copy(start: int) -> asyncio.Future[FileRun]:
            end = min(start + steps.bytes, size)
            return loop.run_in_executor(None, tee.run_of, source, start, end)

        coming: asyncio.Future[FileRun] | None = None
        position = self.start
        try:
            while position < size:
                if coming is None and tee.copies_by_hand_at(position):
                    run = _kept_run(tee, source, position, min(position + steps.bytes, size))
                else:
                    coming = coming or copy(position)
                    run = await finished(coming)
                    further = run.start < run.end < size and not tee.copies_by_hand_at(run.end)
                    coming = copy(run.end) if further else None
                begun_s = loop.time()
                yield run
                steps.took(loop.time() - begun_s)
                self._report(run.end)
                if run.end == position:
                    return
                position = run.end
        finally:
            if coming is not None:
                await finished(asyncio.gather(coming, return_exceptions=True))

    async def sha256(self) -> bytes | None:
        """The digest of what was sent; read again from the file when it was not asked for."""
        await self._tee.drain()
        known = self._tee.sha256()
        if known is not None and self._tee.size == self.size:
            return known
        return await sha256_of(self._path)


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


def _kept_run(tee: Tee, source: int, start: int, end: int) -> FileRun:
    # Imported here: only what is large comes to it.
    from netcache._netfs.kept_run import kept_run

    return kept_run(tee.taking(), source, start, end)


async def sha256_of(source: str | int) -> bytes:
    """The SHA-256 of a local file, or of an open one whose position stays; at constant memory.

    In steps, in worker threads; a cancelled one is waited for, as it still reads the file.
    """
    if isinstance(source, str):
        fd = await opened(source)
        try:
            return await sha256_of(fd)
        finally:
            os.close(fd)
    loop, digest, position = asyncio.get_running_loop(), hashlib.sha256(), 0
    while length := await finished(
        loop.run_in_executor(None, _hash_step, source, position, digest.update)
    ):
        position += length
    return digest.digest()


async def opened(path: str) -> int:
    """A descriptor of a local file; none is left when the caller is cancelled meanwhile."""
    return (await opened_and_read(path, 0)).fd


class Opened(NamedTuple):
    """A local file: its descriptor, its state, and then its first bytes."""

    fd: int
    status: os.stat_result
    data: bytes


async def opened_and_read(path: str, most: int) -> Opened:
    """``opened``, and what is in the file if that is no more than ``most`` bytes: in one hop.

    Of a file that tells size 0 and has bytes (procfs) it is the first of them.
    """
    opening = asyncio.get_running_loop().run_in_executor(None, _open_and_read, path, most)
    try:
        return await finished(opening)
    except asyncio.CancelledError:
        if opening.exception() is None:
            os.close(opening.result().fd)
        raise


def _open_and_read(path: str, most: int) -> Opened:
    fd = os.open(path, _READ)
    try:
        status = os.fstat(fd)
        small = stat.S_ISREG(status.st_mode) and status.st_size <= most > 0
        return Opened(fd, status, os.pread(fd, status.st_size or 1, 0) if small else b"")
    except BaseException:
        os.close(fd)
        raise


def _hash_step(fd: int, position: int, update: Callable[[bytes], None]) -> int:
    """Hash some of a file from ``position`` on; how many bytes that was."""
    end = position + STEP_BYTES
    start = position
    while position < end and (chunk := os.pread(fd, min(CHUNK_BYTES, end - position), position)):
        update(chunk)
        position += len(chunk)
    return position - start
