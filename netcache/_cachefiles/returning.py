"""A store that withdraws when its disk fails, and comes back when it can.

Rules:

1. A store that died is never used again: what it knew of its files may be wrong.  Another one is
   bound in its place, as another process would bind it.
2. Binding is tried when the store is next needed, at first after ``PAUSE_S`` and then more and more
   rarely; at once when the directory was removed, for then it is made anew.
3. Objects of a dead store keep their descriptors: what was read through them stays right, and no
   number is taken by another file under a reader.  The store is closed when all of them are.
4. Trouble is told once for each cause, and again only after ``SILENCE_S``.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from netcache._core.misses import Cause
from netcache.errors import CacheError, NoSpaceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from netcache._cachefiles.mortal import Bind, MortalStore
    from netcache._core.coherency import Version
    from netcache._core.keys import ObjectKey
    from netcache._fscache.explaining import Memory
    from netcache._fscache.overview import ObjectRecord, Problem, StoreStatus
    from netcache._fscache.ports import CacheObject, NewObject
    from netcache._fscache.sharing import MappingWorker
    from netcache._fscache.whole import WholeObject

PAUSE_S, PAUSE_MAX_S = 1.0, 60.0
SILENCE_S = 3600.0
BLOCK_BYTES_DEFAULT = 4096
"""The block as long as no filesystem has said its own."""


class ReturningStore:
    """A ``CacheStore``, bound or not.  Thread-safe.

    While it is not, every call raises the ``CacheError`` that says why.  ``on_trouble`` is told of
    each new trouble, on one line, on any thread.
    """

    def __init__(
        self,
        bind: Bind,
        on_trouble: Callable[[str], None],
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.pause_max_s = PAUSE_MAX_S
        self._bind = bind
        self._on_trouble = on_trouble
        self.now = now
        self._lock = threading.RLock()
        self._store: MortalStore | None = None
        self._why: CacheError | None = None
        self._withdrawn: list[tuple[float, MortalStore]] = []
        self._bound_at = self._died_s = self._next_try = float("-inf")
        self._pause_s = 0.0
        self._told: dict[str, float] = {}
        self._closed = False

    @property
    def block_size(self) -> int:
        """The block of the store that was bound last."""
        store = self._store
        return store.block_size if store is not None else BLOCK_BYTES_DEFAULT

    @block_size.setter
    def block_size(self, value: int) -> None:
        raise AttributeError("the filesystem says what the block size is")

    @property
    def is_bound(self) -> bool:
        """Whether there is a living store just now."""
        store = self._store
        return store is not None and store.dead is None

    def bound(self) -> MortalStore:
        """The living store, bound anew if need be; ``CacheError`` when there is none now."""
        store = self._store
        if store is not None and store.dead is None and not self._closed:
            return store
        with self._lock:
            return self._bound_locked()

    def _bound_locked(self) -> MortalStore:
        if self._closed:
            raise CacheError("the cache is out of use: its client was closed")
        store = self._store
        if store is not None:
            if store.dead is None:
                return store
            self._withdraw(store, store.dead)
        now_s = self.now()
        if now_s < self._next_try:
            assert self._why is not None
            raise CacheError(str(self._why)) from self._why.__cause__
        try:
            bound = self._bind(self._trouble)
        except CacheError as error:
            self._fail(error, now_s)
            raise
        if self._why is not None:
            # Imported here: a command that finds what it needs in the cache must not pay for it.
            import logging

            logging.getLogger("netcache.cache").info("the cache is in use again")
        self._store, self._why, self._bound_at = bound, None, now_s
        return bound

    def _withdraw(self, store: MortalStore, why: CacheError) -> None:
        died_s = self._died_s
        self._store = None
        self._close_idle(self.now())
        self._withdrawn.append((died_s, store))
        if died_s - self._bound_at > self.pause_max_s:
            self._pause_s = 0.0
        self._fail(why, died_s)
        if store.removed:
            self._next_try = died_s

    def _fail(self, why: CacheError, when_s: float) -> None:
        self._why = why
        self._pause_s = min(max(PAUSE_S, 2 * self._pause_s), self.pause_max_s)
        self._next_try = when_s + self._pause_s
        self._tell("going on without a cache", why)

    def _close_idle(self, now_s: float) -> None:
        """Close dead stores that nobody uses; not at once, for a call may not have returned yet."""
        left = []
        for died_s, store in self._withdrawn:
            if store.idle and now_s - died_s > PAUSE_MAX_S:
                store.close()
            else:
                left.append((died_s, store))
        self._withdrawn = left

    # Telling.

    def _trouble(self, error: CacheError) -> None:
        """Something of the store failed.  On any thread, under any lock of the store."""
        store = self._store
        if store is None or store.dead is None:
            self._tell("going on without caching", error)
        else:
            self._died_s = self.now()
            self._tell("going on without a cache", error)

    def _tell(self, what: str, error: CacheError) -> None:
        """Tell, unless the same cause was told of not long ago."""
        cause = error.__cause__
        reason = (cause.strerror if isinstance(cause, OSError) else None) or str(error)
        if isinstance(error, NoSpaceError):
            # What the disk says, what the limits say: one or the other is met first.
            reason = "no room"
        now_s = self.now()
        if now_s - self._told.get(reason, float("-inf")) > SILENCE_S:
            self._told[reason] = now_s
            self._on_trouble(f"{what}: {error}")

    # The store.

    def lookup(self, key: ObjectKey) -> CacheObject | None:
        """See ``CacheStore``."""
        store = self._store
        if store is None or store.dead is not None or self._closed:
            store = self.bound()
        return store.lookup(key)

    def open_whole(self, key: ObjectKey) -> WholeObject | None:
        """See ``CacheStore``."""
        return self.bound().open_whole(key)

    def create(self, key: ObjectKey, version: Version, *, checked_s: float) -> CacheObject:
        """See ``CacheStore``."""
        return self.bound().create(key, version, checked_s=checked_s)

    def begin(self, key: ObjectKey) -> NewObject:
        """See ``CacheStore``."""
        return self.bound().begin(key)

    def keep(self, key: ObjectKey, version: Version, data: bytes, *, checked_s: float) -> None:
        """See ``CacheStore``."""
        self.bound().keep(key, version, data, checked_s=checked_s)

    def claim_question(self, key: ObjectKey) -> Callable[[], None] | None:
        """See ``CacheStore``; without a store everybody may ask."""
        try:
            return self.bound().claim_question(key)
        except CacheError:
            return lambda: None

    def worker(self) -> MappingWorker:
        """See ``CacheStore``; the same as long as the store lives."""
        return self.bound().worker()

    def has_room(self, length: int) -> bool:
        """See ``CacheStore``."""
        return self.bound().has_room(length)

    def must_cull(self, length: int) -> bool:
        """See ``CacheStore``."""
        return self.bound().must_cull(length)

    def reserve(self, length: int) -> None:
        """See ``CacheStore``."""
        self.bound().reserve(length)

    def pin(self, key: ObjectKey) -> None:
        """See ``CacheStore``."""
        self.bound().pin(key)

    def unpin(self, key: ObjectKey) -> bool:
        """See ``CacheStore``."""
        return self.bound().unpin(key)

    @property
    def memory(self) -> Memory:
        """See ``CacheStore``; without a store nothing is remembered."""
        store = self._store
        if store is not None and store.dead is None and not self._closed:
            return store.memory
        try:
            return self.bound().memory
        except CacheError:
            from netcache._fscache.explaining import NO_MEMORY

            return NO_MEMORY

    def drop(self, key: ObjectKey, cause: Cause = Cause.DROPPED) -> int:
        """See ``CacheStore``."""
        return self.bound().drop(key, cause)

    def clear(self) -> int:
        """See ``CacheStore``."""
        return self.bound().clear()

    def cull(self, target_bytes: int | None = None) -> tuple[int, int]:
        """See ``CacheStore``."""
        return self.bound().cull(target_bytes)

    def objects(self) -> Iterator[ObjectRecord]:
        """See ``CacheStore``."""
        return self.bound().objects()

    def verify(
        self, keys: Sequence[ObjectKey] | None = None, *, repair: bool = False
    ) -> Iterator[Problem]:
        """See ``CacheStore``."""
        return self.bound().verify(keys, repair=repair)

    def status(self) -> StoreStatus:
        """See ``CacheStore``."""
        return self.bound().status()

    def commit_pending(self) -> None:
        """Make durable now what would be a little later.  Blocks."""
        self.bound().commit_pending()

    def close(self) -> None:
        """Withdraw for good.  Idempotent."""
        with self._lock:
            stores = [store for _, store in self._withdrawn]
            if self._store is not None:
                stores.append(self._store)
            self._closed, self._withdrawn, self._store = True, [], None
        for store in stores:
            store.close()
