"""What the tests of the read engine share: a backend that answers as it is told, and an engine."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from netcache._cachefiles.store import bind
from netcache._core.coherency import Validator, Version
from netcache._core.extent import Extent
from netcache._core.read_sources import Piece, Source
from netcache._core.retry import RetryPolicy
from netcache._core.stats import Stats
from netcache._core.urls import parse
from netcache._core.validity import parse_validity
from netcache._fscache.ports import CacheStore
from netcache._netfs.buffer_queue import BufferQueue
from netcache._netfs.engine import ReadEngine
from netcache._netfs.holding import CachedHolding
from netcache._netfs.inode import Inode
from netcache._netfs.inodes import InodeTable, key_of
from netcache._netfs.opener import Opener
from netcache._netfs.read_issuer import Issuer
from netcache._netfs.read_means import ReadMeans
from netcache._netfs.read_sinks import HoldingSink, MemorySink
from netcache._netfs.request import Origin, Request
from netcache._netfs.segment_array import Arena
from netcache.backends.memory import MemoryBackend, MemoryServer
from netcache.errors import RemoteError, TransientError
from netcache.spi import BodySink, RangesReply, ReadReply
from tests.support.leaks import check_idle
from tests.support.served import random_bytes

URL = "http://rig.example/data"
B = 4096


@dataclass
class Answer:
    """How one exchange goes.

    ``head_error``: instead of a head.  ``offers``: at most so many bytes.  ``breaks_after``: the
    body breaks off there (a multiple of ``piece``).  ``body_error``: what it then raises.
    ``extra``: so many bytes too many.  ``whole``: everything, whatever was asked.  ``piece``: the
    size of the pieces of the body.  ``later``: turns of the loop before the head and before each
    piece.  ``hold``: waited for before the body; ``hold_head``: before the head.
    """

    head_error: Exception | None = None
    offers: int | None = None
    breaks_after: int | None = None
    body_error: Exception | None = None
    extra: int = 0
    whole: bool = False
    piece: int = B
    later: int = 0
    hold: asyncio.Event | None = None
    hold_head: asyncio.Event | None = None


@dataclass
class ScriptedReply:
    """A ``ReadReply`` that follows an ``Answer``; ``closed`` counts the calls of ``close``."""

    data: bytes
    version: Version | None
    extent: Extent
    answer: Answer
    not_modified: bool = False
    ranges_supported: bool | None = True
    closed: int = 0
    received: int = 0
    whole: bool = False

    def __post_init__(self) -> None:
        self.whole = self.version is not None and self.extent == (0, self.version.size)

    async def receive(self, sink: BodySink, *, notice_bytes: int = 1 << 20) -> int:
        """Hand over the pieces."""
        del notice_bytes
        self.received += 1
        answer = self.answer
        if answer.hold is not None:
            await answer.hold.wait()
        position, end = self.extent.start, self.extent.end + answer.extra
        stop = end if answer.breaks_after is None else self.extent.start + answer.breaks_after
        body = memoryview(self.data.ljust(end, b"!"))
        while position < min(stop, end):
            for _ in range(answer.later):
                await asyncio.sleep(0)
            piece_end = min(position + answer.piece, stop, end)
            sink(position, body[position:piece_end])
            position = piece_end
        if answer.breaks_after is not None:
            raise answer.body_error or TransientError(f"broke off at {position}")
        return self.extent.length

    async def close(self) -> None:
        """Count."""
        self.closed += 1


@dataclass
class ScriptedRanges:
    """A ``RangesReply`` that follows an ``Answer``.

    ``breaks_after`` counts over all ranges; ``offers`` is how many bytes come before the rest is
    left out; ``extra`` bytes follow the last range.
    """

    data: bytes
    version: Version
    extents: list[Extent]
    answer: Answer
    closed: int = 0

    async def receive(self, sink: BodySink, *, notice_bytes: int = 1 << 20) -> list[Extent]:
        """The ranges, last one first."""
        del notice_bytes
        answer, came = self.answer, 0
        body = memoryview(self.data.ljust(self.extents[-1].end + answer.extra, b"!"))
        for start, end in reversed(self.extents):
            stop = end + answer.extra
            for at in range(start, stop, answer.piece):
                for _ in range(answer.later):
                    await asyncio.sleep(0)
                if answer.breaks_after is not None and came >= answer.breaks_after:
                    raise answer.body_error or TransientError(f"broke off at {at}")
                if answer.offers is not None and came >= answer.offers:
                    return []
                piece = body[at : min(at + answer.piece, stop)]
                sink(at, piece)
                came += len(piece)
        return self.extents

    async def close(self) -> None:
        """Count."""
        self.closed += 1


@dataclass
class ScriptedBackend(MemoryBackend):
    """A memory backend whose reads follow ``answers`` by number, then ``default``.

    ``asked`` are the extents asked for; ``at_once`` is the largest number of exchanges at a time.
    """

    answers: dict[int, Answer] = field(default_factory=dict)
    default: Answer = field(default_factory=Answer)
    asked: list[Extent] = field(default_factory=list)
    replies: list[ScriptedReply] = field(default_factory=list)
    ranges_answers: dict[int, Answer] = field(default_factory=dict)
    asked_ranges: list[list[Extent]] = field(default_factory=list)
    ranges_replies: list[ScriptedRanges] = field(default_factory=list)
    open_now: int = 0
    at_once: int = 0

    def __post_init__(self) -> None:
        super().__init__(MemoryServer())

    async def open_ranges(
        self, url: str, extents: Sequence[Extent], *, expected: Version
    ) -> RangesReply:
        """See the port; ``ranges_answers`` are its answers by number, in full without one."""
        answer = self.ranges_answers.get(len(self.asked_ranges), Answer())
        self.asked_ranges.append(list(extents))
        if answer.head_error is not None:
            raise answer.head_error
        await super().open_ranges(url, extents, expected=expected)
        data = self.server.files[url].data
        self.ranges_replies.append(ScriptedRanges(data, expected, list(extents), answer))
        return self.ranges_replies[-1]

    async def open_read(
        self,
        url: str,
        extent: Extent | None = None,
        *,
        expected: Version | None = None,
        unless: Validator | None = None,
    ) -> ReadReply:
        """See the port."""
        answer = self.answers.get(len(self.asked), self.default)
        self.asked.append(extent or Extent(0, -1))
        self.open_now += 1
        self.at_once = max(self.at_once, self.open_now)
        try:
            for _ in range(answer.later):
                await asyncio.sleep(0)
            if answer.hold_head is not None:
                await answer.hold_head.wait()
            if answer.head_error is not None:
                raise answer.head_error
            whole = None if answer.whole else extent
            found = await super().open_read(url, whole, expected=expected, unless=unless)
        finally:
            self.open_now -= 1
        if found.not_modified:
            return found
        start, end = found.extent
        if answer.offers is not None:
            end = min(end, start + answer.offers)
        data = self.server.files[url].data
        self.replies.append(ScriptedReply(data, found.version, Extent(start, end), answer))
        return self.replies[-1]


@dataclass
class ReadRig:
    """An engine over a scripted backend and a real store, with one resource."""

    backend: ScriptedBackend
    engine: ReadEngine
    opener: Opener
    store: CacheStore | None
    stats: Stats
    data: bytes
    version: Version

    @property
    def means(self) -> ReadMeans:
        """What the reads share."""
        return self.engine.means

    def inode(self) -> Inode:
        """A fresh inode of the resource, of which nothing is cached."""
        self.opener.drop(parse(URL))
        return self.opener.adopt(parse(URL), self.version, 0.0)

    def content(self, inode: Inode, start: int, end: int) -> bytes | None:
        """What the cache shows of ``[start, end)``; None unless all of it is there."""
        if not inode.locate(start, end):
            return None
        return os.pread(inode.window[0], end - start, start)

    async def issue(
        self,
        inode: Inode,
        extent: Extent,
        *,
        cut_bytes: int = 1 << 40,
        on_request: Callable[[Request, Issuer], None] | None = None,
        zero_limit: int | None = None,
    ) -> Request:
        """Run one request that fills ``extent`` of the inode's holding."""
        request = Request(Origin.READ, extent, self.stats, size=inode.size, zero_limit=zero_limit)
        issuer = Issuer(request, inode, HoldingSink(inode, self.stats), self.means, resumable=True)
        if on_request is not None:
            on_request(request, issuer)
        try:
            await issuer.run([Piece(*extent, Source.DOWNLOAD, True)], cut_bytes)
        finally:
            request.finish()
        return request

    async def issue_to_memory(
        self, pieces: list[Piece], *, cut_bytes: int = 1 << 40, inode: Inode | None = None
    ) -> tuple[Request, bytes]:
        """Run one request of ``pieces`` into memory; returns it and the bytes."""
        inode = inode or Inode(parse(URL), key_of(parse(URL)), self.version, None)
        start, end = pieces[0].start, pieces[-1].end
        request = Request(Origin.DIRECT, Extent(start, end), self.stats, size=inode.size)
        with BufferQueue(Arena(self.stats), start) as queue:
            queue.allocate(end - start)
            sink = MemorySink(queue, inode, self.stats)
            issuer = Issuer(request, inode, sink, self.means, resumable=True)
            try:
                await issuer.run(pieces, cut_bytes)
            finally:
                request.finish()
            return request, queue.tobytes(start, end)

    def move_far_away(self) -> None:
        """Let the server seem to be a long way off."""
        for _ in range(8):
            self.means.note_head(0.05)

    def count(self, group: str, name: str) -> int:
        """A counter."""
        return self.stats.value(group, name)

    def check_idle(self) -> None:
        """Nothing is alive, nothing is missing in the balance."""
        check_idle(self.stats)
        assert all(reply.closed == 1 for reply in self.backend.replies)
        assert all(reply.closed == 1 for reply in self.backend.ranges_replies)
        assert all(reply.received <= 1 for reply in self.backend.replies)


def down(start: int, end: int) -> Piece:
    """A piece to be downloaded."""
    return Piece(start, end, Source.DOWNLOAD, True)


@contextlib.asynccontextmanager
async def read_rig(
    folder: Path | None,
    size: int = 100 * B,
    *,
    attempts: int = 3,
    exchanges: int = 16,
    parallel: int = 4,
    backend: ScriptedBackend | None = None,
    wrap_store: Callable[[CacheStore], CacheStore] | None = None,
) -> AsyncIterator[ReadRig]:
    """A rig; without ``folder`` it has no cache.  Checks in the end that nothing is left over."""
    backend = backend or ScriptedBackend()
    data = random_bytes(size, size)
    version = backend.server.store(URL, data)
    store: CacheStore | None = bind(folder) if folder is not None else None
    if store is not None and wrap_store is not None:
        store = wrap_store(store)
    stats = Stats()
    inodes = InodeTable(store, stats, parse_validity("open"), offline=False)
    engine = ReadEngine(
        lambda: backend,
        store,
        inodes,
        stats,
        retry=RetryPolicy(attempts=attempts, first_pause_s=0.0),
        timeout_s=5.0,
        exchanges=exchanges,
        offline=False,
    )
    engine.means.parallel = parallel
    rig = ReadRig(backend, engine, Opener(engine), store, stats, data, version)
    try:
        yield rig
    finally:
        await engine.close()
        inodes.close()
        if store is not None:
            store.close()
    rig.check_idle()


def cached(inode: Inode) -> CachedHolding:
    """The inode's cache object."""
    assert inode.cached is not None
    return inode.cached


def whole(rig: ReadRig) -> Extent:
    """All of the resource."""
    return Extent(0, len(rig.data))


def broken(text: str = "no") -> RemoteError:
    """An error that no other attempt cures."""
    return RemoteError(text)
