"""The local half of a client: the store, the inodes, the journal and the counters.

Built without an event loop, and used from any thread.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

from netcache._core.stats import Stats
from netcache._netfs.handle import ReadHandle
from netcache._netfs.inodes import InodeTable
from netcache._netfs.journal_folder import entry_names, journal_folder
from netcache.errors import CacheError, ClosedError, NotCachedError

if TYPE_CHECKING:
    from netcache._cachefiles.mortal import MortalStore
    from netcache._cachefiles.returning import ReturningStore
    from netcache._client.options import ClientOptions
    from netcache._core.extent import Extent
    from netcache._core.keys import ObjectKey
    from netcache._core.urls import Resource
    from netcache._fscache.ports import CacheStore, OnTrouble
    from netcache._netfs.journal import Journal

Warn = Callable[[str], None]


class LocalHalf:
    """What a client has on this machine."""

    def __init__(self, options: ClientOptions, warn: Warn) -> None:
        self.options = options
        self.stats = Stats()
        self.warn = warn
        self._checks_each_read = options.validity.at_read and not options.offline
        self._damaged: set[ObjectKey] = set()
        self._closed = False
        self._lock = threading.Lock()
        self.store = self._open_store()
        self.inodes = InodeTable(self.store, self.stats, options.validity, offline=options.offline)

    def _open_store(self) -> ReturningStore | None:
        """Bind the cache; a cache that cannot be used is one warning, not an error."""
        if not self.options.use_cache:
            return None
        from netcache._cachefiles.returning import ReturningStore

        store = ReturningStore(self._bind, self.warn)
        with contextlib.suppress(CacheError):
            store.bound()
        return store

    def _bind(self, on_trouble: OnTrouble) -> MortalStore:
        from netcache._cachefiles.store import bind

        return bind(
            self.options.cache_dir,
            block_size=self.options.block_size,
            sync=self.options.sync,
            limit_bytes=self.options.cache_size,
            verify=self.options.verify,
            on_damage=self._tell_damage,
            on_trouble=on_trouble,
        )

    def _tell_damage(self, key: ObjectKey, extent: Extent) -> None:
        """Cached bytes were damaged: one warning a resource; they are fetched again when read."""
        self.stats.add("CaRdOps", "rf")
        if key not in self._damaged:
            self._damaged.add(key)
            from netcache._client.object_urls import url_of

            self.warn(f"the cache is damaged: {url_of(key)} {extent} (no longer served from it)")

    @cached_property
    def journal(self) -> Journal:
        """The edits that outlive their process."""
        from netcache._netfs.journal import Journal

        return Journal(self.options.state_dir)

    def has_orphans(self) -> bool:
        """Whether killed processes left an edit that is to be uploaded."""
        if self.options.offline or not entry_names(journal_folder(self.options.state_dir)):
            return False
        return self.journal.has_orphans()

    def need_store(self) -> CacheStore:
        """The store, for calls that are about the cache; ``CacheError`` when there is none."""
        self.need_open()
        if self.store is None:
            raise CacheError("this client was opened without a cache")
        return self.store.bound()

    def need_open(self) -> None:
        """Raise ``ClosedError`` after ``close``, and in the child of a fork."""
        if self._closed:
            raise ClosedError("the client is closed (or belongs to the parent of a fork)")

    def need_online(self, what: str, url: str) -> None:
        """Raise ``NotCachedError`` for what cannot be done offline."""
        if self.options.offline:
            raise NotCachedError(f"{what} {url} failed: offline", url=url)

    def open_handle(self, resource: Resource) -> ReadHandle:
        """A read handle; nothing is asked of anybody yet."""
        if self._closed:
            self.need_open()
        return ReadHandle(
            resource,
            self.inodes,
            self.stats,
            readahead_bytes=self.options.readahead,
            check_each_read=self._checks_each_read,
        )

    def close_local(self) -> None:
        """Close the local half; afterwards every call raises ``ClosedError``.  Idempotent."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self.inodes.close()
        if self.store is not None:
            if self.store.is_bound:
                self.save_stats()
            self.store.close()

    def save_stats(self) -> None:
        """Add the counters to those of the cache directory."""
        from netcache._client.saved_stats import add_to_saved

        try:
            add_to_saved(self.options.cache_dir, self.stats.as_groups())
        except OSError:
            # Counters are not worth an error, nor a wait for another process that adds its own.
            return

    @property
    def closed(self) -> bool:
        """Whether ``close_local`` has been called, or the process was forked."""
        return self._closed
