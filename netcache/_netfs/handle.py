"""Read handles: what an open file reads through.

A handle shows one version (promise P1): it binds to an inode at its first read, and goes over to
another version only as long as nothing of the first was shown (bytes, a size, the end).  ``hit``
and ``hit_into`` are the hot path: on the caller's thread, one comparison and one system call; they
answer None when the bytes are not known to be there: ``fetch`` has to run on the client's loop.

Lock-free on purpose: the attributes that ``hit`` reads are replaced, never changed in place.  A hit
counts itself first, and looks last whether the inode is still its own, and open (its holding goes
before the descriptor, whose number may be another file's then); who lets an inode go takes it away
first, and looks last whether there was a hit.  One of the two sees it.

Reads that hit also compare with the half-way mark of the readahead: a sequential one that passes it
lets the loop ask for the next window, and does not wait for that.
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

from netcache._core.extent import Extent
from netcache._core.readplan import NEVER, Readahead
from netcache._core.validity import Moment
from netcache.errors import ClosedError, StaleError

if TYPE_CHECKING:
    from netcache._core.stats import Stats
    from netcache._core.urls import Resource
    from netcache._netfs.engine import ReadEngine
    from netcache._netfs.inode import Inode
    from netcache._netfs.inodes import InodeTable
    from netcache._netfs.opener import Opener

BLOCK_BYTES_DEFAULT = 4096
"""The block of the readahead without a cache."""

_OPEN = Moment.OPEN
_REOPENS_MAX = 3
_NOWAIT = getattr(os, "RWF_NOWAIT", 0)


class ReadHandle:
    """The reading side of one open file.

    ``engine`` and ``opener`` are asked for only when the network is needed.
    """

    __slots__ = (
        "_at_read",
        "_binding",
        "_closed",
        "_engine",
        "_last_end",
        "_mark",
        "_opened_at",
        "_readahead_bytes",
        "_shown",
        "_stats",
        "_table",
        "_window",
        "hits",
        "inode",
        "resource",
    )

    def __init__(
        self,
        resource: Resource,
        table: InodeTable,
        stats: Stats,
        *,
        readahead_bytes: int,
        check_each_read: bool,
    ) -> None:
        self.resource = resource
        self.inode: Inode | None = None
        self.hits = 0
        self._table = table
        self._stats = stats
        self._opened_at = time.monotonic()
        self._at_read = check_each_read
        self._readahead_bytes = readahead_bytes
        # Made by the first read that the cache does not serve: most files have none.
        self._window: Readahead | None = None
        self._mark = NEVER
        self._last_end = -1
        self._engine: ReadEngine | None = None
        self._shown = False
        self._closed = False
        # Held while ``inode`` is replaced.
        self._binding = threading.Lock()

    @property
    def checks_each_read(self) -> bool:
        """Whether the server is asked before each read: nothing may be shown without ``fetch``."""
        return self._at_read

    def bind_local(self) -> Inode | None:
        """Bind to what is cached when it may be shown without asking the server."""
        if self._closed:
            raise ClosedError(f"{self.resource.url} is closed", url=self.resource.url)
        if self.inode is None and not self._at_read:
            inode = self._table.acquire_valid(self.resource, self._opened_at, _OPEN)
            return self._bind(inode) if inode is not None else None
        return self.inode

    def show(self, inode: Inode) -> bool:
        """Its size, or bytes of it, are going to be shown; False when it was let go meanwhile."""
        self._shown = True
        return self.inode is inode

    def hit(self, length: int, start: int) -> bytes | None:
        """Up to ``length`` bytes at ``start`` when all of them are there, else None."""
        inode = self.inode
        if inode is None or self._at_read:
            return None
        descriptor, low, high = inode.window
        end = start + length
        data = None
        if start < low or end > high:
            if descriptor < 0 and (data := inode.read_first(start, end)) is not None:
                end = start + len(data)
            else:
                descriptor, end = inode.find_window(start, end)
                if end <= start:
                    return b"" if end >= 0 and self.show(inode) else None
        self.hits += 1
        if end > self._mark:
            self._pass_mark(start, end)
        self._last_end = end
        try:
            if data is None:
                data = os.pread(descriptor, end - start, start)
        except OSError:
            data = b""
        if len(data) != end - start:
            # The disk fails, or somebody cut the file behind our back: believe nothing of it.
            inode.lose_holding()
            return None
        return data if self.inode is inode and inode.holding is not None else None

    def hit_into(self, view: memoryview, start: int) -> int | None:
        """``hit`` into ``view`` (bytes, contiguous); returns the count, or None."""
        inode = self.inode
        if inode is None or self._at_read:
            return None
        descriptor, low, high = inode.window
        end = start + len(view)
        if start < low or end > high:
            descriptor, end = inode.find_window(start, end)
            if end <= start:
                return 0 if end >= 0 and self.show(inode) else None
            view = view[: end - start]
        self.hits += 1
        if end > self._mark:
            self._pass_mark(start, end)
        self._last_end = end
        try:
            count = os.preadv(descriptor, [view], start)
        except OSError:
            count = -1
        if count != end - start:
            inode.lose_holding()
            return None
        return count if self.inode is inode and inode.holding is not None else None

    def hit_nowait(self, view: memoryview, start: int) -> int | None:
        """``hit_into``, but only when it cannot wait for the disk (``RWF_NOWAIT``)."""
        inode = self.inode
        if inode is None or self._at_read or not _NOWAIT:
            return None
        descriptor, low, high = inode.window
        end = start + len(view)
        if start < low or end > high:
            descriptor, end = inode.find_window(start, end, wait=False)
            if end <= start:
                return 0 if end >= 0 and self.show(inode) else None
            view = view[: end - start]
        try:
            count = os.preadv(descriptor, [view], start, _NOWAIT)
        except OSError:
            # EAGAIN: not in the page cache.  EOPNOTSUPP: the filesystem cannot tell.
            return None
        if count != end - start:
            return None
        self.hits += 1
        if end > self._mark:
            self._pass_mark(start, end)
        self._last_end = end
        return count if self.inode is inode and inode.holding is not None else None

    @property
    def _readahead(self) -> Readahead:
        if self._window is None:
            store = self._table.store
            block_size = store.block_size if store is not None else BLOCK_BYTES_DEFAULT
            self._window = Readahead(self._readahead_bytes, block_size)
        return self._window

    def _pass_mark(self, start: int, end: int) -> None:
        """A read that hit came past the half-way mark: go on ahead of it, if it was sequential.

        Any thread; does not wait.
        """
        self._mark = NEVER
        engine, inode = self._engine, self.inode
        if inode is None or inode.follows:
            return
        if start == self._last_end and engine is not None:
            try:
                engine.loop.call_soon_threadsafe(self._go_ahead, start, end)
            except RuntimeError:
                # The loop is closed: so is the client.
                return

    def _go_ahead(self, start: int, end: int) -> None:
        """Ask for the next window.  On the client's loop, perhaps well after the read: the reader
        may be further by now, or may not have noted yet that he is there."""
        inode, engine = self.inode, self._engine
        if inode is None or engine is None or self._closed:
            return
        end = max(end, self._last_end)
        ahead = self._readahead.stretch(start, end, start)
        self._mark = self._readahead.mark
        engine.go_ahead(inode, end, ahead)

    async def fetch(
        self, start: int, length: int, engine: ReadEngine, opener: Opener
    ) -> bytes | None:
        """Bring ``[start, start + length)`` in (``length`` -1: to the end of the resource).

        None: the bytes are there now, ask ``hit`` again.  Else they are the bytes, which could not
        be kept.  Raises ``StaleError`` when the handle has shown another version already.
        """
        self._stats.add("Reads", "RF")
        await engine.pace.begin()
        for attempt in range(_REOPENS_MAX):
            try:
                return await self._fetch(start, length, engine, opener)
            except StaleError as error:
                if attempt == _REOPENS_MAX - 1 or not self._let_go_unseen():
                    from netcache._netfs.damage import damaged_before

                    damage = damaged_before(self.inode, start, start + length)
                    if damage is not None:
                        raise damage from error
                    raise
        raise AssertionError("unreachable")

    async def _fetch(
        self, start: int, length: int, engine: ReadEngine, opener: Opener
    ) -> bytes | None:
        self._engine = engine
        want = Extent(start, -1 if length < 0 else start + length)
        inode = await self._validated(opener, want)
        if inode.size < 0:
            await engine.ensure(inode, start, start + length if length >= 0 else 1 << 62)
        end = inode.clip(want.end if length >= 0 else inode.size)
        if end <= start:
            return b"" if self.show(inode) else None
        ahead = self._readahead.stretch(start, end, self._last_end, led=inode.follows)
        self._last_end, self._mark = end, self._readahead.mark
        if engine.under_pressure():
            ahead = end
        kept = await engine.ensure(inode, start, end, ahead)
        if kept and not self._at_read:
            return None
        from netcache._netfs.direct_read import read_direct, read_found

        if kept:
            data = await read_found(engine, inode, start, end)
        else:
            data = await read_direct(engine, inode, start, end, ahead)
        return data if self.show(inode) else None

    async def _validated(self, opener: Opener, want: Extent | None) -> Inode:
        if self._closed:
            raise ClosedError(f"{self.resource.url} is closed", url=self.resource.url)
        if self.inode is not None and not self._at_read:
            return self.inode
        moment, opened_at = Moment.OPEN, self._opened_at
        if self.inode is not None:
            moment, opened_at = Moment.READ, time.monotonic()
        inode = await opener.resolve(self.resource, opened_at, moment, want)
        if self.inode is not None and inode is not self.inode:
            # A version that was denied and is shown again may be another one of that name.
            same = inode.content is self.inode.content or (
                not self.inode.stale and inode.version.same_as(self.inode.version)
            )
            if not same and not self._let_go_unseen():
                raise StaleError(
                    f"read of {self.resource.url} failed: it changed at the server while it was "
                    "open (open it again to read the new version)",
                    url=self.resource.url,
                )
            self.unbind()
        self._table.acquire(inode)
        return self._bind(inode)

    async def open(self, start: int, length: int, opener: Opener) -> None:
        """Bind, asking for ``[start, start + length)`` (``length`` -1: to the end) in the same
        request; its bytes may still be on their way on return."""
        await self._validated(opener, Extent(start, -1 if length < 0 else start + length))

    async def stat(self, opener: Opener) -> Inode:
        """Bind, when only the metadata matter."""
        return await self._validated(opener, None)

    def _bind(self, inode: Inode) -> Inode:
        """Bind to an acquired inode, unless another thread was faster; returns what it bound to."""
        with self._binding:
            bound = self.inode
            if bound is None:
                self.inode = inode
                return inode
        self._table.release(inode)
        return bound

    def unbind(self) -> None:
        """Let the inode go."""
        with self._binding:
            inode, self.inode = self.inode, None
        if inode is not None:
            self._table.release(inode)

    def _let_go_unseen(self) -> bool:
        """Let the inode go if nothing of it was shown; returns whether it was not."""
        with self._binding:
            if self._shown or self.hits:
                return False
            inode, self.inode = self.inode, None
            if self._shown or self.hits:
                # A reader in another thread was faster.
                self.inode = inode
                return False
        if inode is not None:
            self._table.release(inode)
        return True

    def close(self) -> None:
        """Let go, and add the hits to the counters.  Idempotent."""
        if not self._closed:
            self._closed = True
            self._stats.add_cache_reads(self.hits)
            if self.hits and self.inode is not None and self._table.store is not None:
                self._table.store.memory.note_hits(self.inode.key, self.hits)
            self.unbind()
