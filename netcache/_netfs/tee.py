"""Tees: what is sent to the server is kept for the cache in the same pass.

Rules:

1. What the cache keeps is what was sent: the same chunk goes to both, or what is sent is read
   from the private copy that the cache is going to keep, which nobody else can change.
2. A failed cache write does not fail the upload, and a failed upload publishes nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from netcache._finishing import finished
from netcache._netfs.inodes import key_of
from netcache.errors import CacheError
from netcache.spi import FileRun

if TYPE_CHECKING:
    from netcache._core.coherency import Version
    from netcache._core.urls import Resource
    from netcache._fscache.ports import CacheStore, NewObject

CHUNK_BYTES = 1 << 20
"""How much of a body is in the hand at a time."""

Take = Callable[[memoryview], None]


class Tee:
    """Keeps a copy of what is sent, for the cache, and its digest.

    ``keep`` puts a chunk under way on a worker thread, one at a time; ``drain`` waits for the last.
    ``taking`` is for a thread that has chunks to keep; after a ``drain`` it keeps nothing more.
    """

    def __init__(self, store: CacheStore | None, resource: Resource, *, hashing: bool) -> None:
        self._store = store
        self._resource = resource
        self._hashing = hashing
        self._new: NewObject | None = None
        self._digest = hashlib.sha256()
        self._keeping: asyncio.Future[None] | None = None
        # Held while a chunk of ``taking`` is kept, which counts only for the pass it belongs to.
        self._lock = threading.Lock()
        self._pass = 0
        self._is_taking = False
        self.size = 0
        self.copied_bytes = 0
        """What was written to the cache, in all passes."""

    async def keep(self, chunk: bytes | memoryview) -> None:
        """Let ``chunk`` be kept while it is sent; waits for the chunk before it."""
        await self.drain()
        self._keeping = asyncio.get_running_loop().run_in_executor(None, self.feed, chunk)

    async def drain(self) -> None:
        """Wait until what was given to ``keep`` is kept; what ``taking`` was to keep is not."""
        keeping, self._keeping = self._keeping, None
        if keeping is not None:
            await finished(keeping)
        if self._is_taking:
            self._is_taking = False
            await finished(asyncio.get_running_loop().run_in_executor(None, self._end_pass))

    def taking(self) -> Take:
        """What keeps chunks of this pass, the next bytes, on any one thread; it may block."""
        self._is_taking = True
        number = self._pass

        def take(chunk: memoryview) -> None:
            with self._lock:
                if number == self._pass:
                    self.feed(chunk)

        return take

    def _end_pass(self) -> None:
        with self._lock:
            self._pass += 1

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
                self.copied_bytes += len(chunk)
            except CacheError:
                self.discard()

    def copies_by_hand_at(self, position: int) -> bool:
        """Whether what is at ``position`` is the next to be kept, and has to pass through here."""
        new = self._new if self._store is not None else None
        return new is not None and position == self.size and not new.shares

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
                self.copied_bytes += end - start
                run = FileRun(self._new.fileno(), start, end)
            except CacheError:
                self.abandon()
        if self._hashing:
            self._hash(run)
        self.size = run.end
        return run

    def run_of(self, source: int, start: int, end: int) -> FileRun:
        """``copy_from``, or what is kept already of ``[start, end)``.  May block."""
        if start >= self.size:
            return self.copy_from(source, start, end)
        kept = self._new if self._store is not None else None
        return FileRun(source if kept is None else kept.fileno(), start, min(end, self.size))

    def _hash(self, run: FileRun) -> None:
        for start in range(run.start, run.end, CHUNK_BYTES):
            self._digest.update(os.pread(run.fd, min(CHUNK_BYTES, run.end - start), start))

    def abandon(self) -> None:
        """Keep nothing more; what was copied stays readable until ``discard``."""
        self._store = None

    def sha256(self) -> bytes | None:
        """The digest of the pass; None when it was not asked for."""
        return self._digest.digest() if self._hashing else None

    def publish(self, version: Version) -> bool:
        """Make the copy the cache object of ``version``; False: nothing is cached."""
        new, self._new = self._new, None
        if new is None:
            return False
        try:
            if self._store is None or new.size != version.size:
                return False
            new.publish(version, checked_s=time.time()).close()
            return True
        except CacheError:
            return False
        finally:
            new.discard()

    def discard(self) -> None:
        """Forget the copy.  Idempotent."""
        if self._new is not None:
            self._new.discard()
            self._new = None
