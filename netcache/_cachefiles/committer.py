"""The committer: makes filled data durable in the background, and then says so in the labels.

By the policy "lazy" nothing waits for a sync; data is synced when its object has been left alone
for a while.  A label's ``committed`` then moves up, which is what survives a reboot.  A process
that ends before that loses nothing but this: after a reboot the rest is fetched again.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from netcache.errors import CacheError

if TYPE_CHECKING:
    from netcache._cachefiles.open_object import OpenObject

IDLE_S = 5.0


class Committer:
    """A thread that is started by the first fill and joined by ``close``."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: dict[int, OpenObject] = {}
        self._fills = 0
        self._closed = False
        self._thread: threading.Thread | None = None

    def add(self, cache_object: OpenObject) -> None:
        """The object promises data that is not durable."""
        with self._changed:
            self._waiting[id(cache_object)] = cache_object
            self._fills += 1
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(
                    target=self._run, name="netcache-committer", daemon=True
                )
                self._thread.start()

    def discard(self, cache_object: OpenObject) -> None:
        """Do not commit it (it is being closed, changed or dropped)."""
        if id(cache_object) not in self._waiting:
            # Who fills an object does not close it at the same time.
            return
        with self._changed:
            self._waiting.pop(id(cache_object), None)

    def commit_pending(self) -> None:
        """Commit all that wait, now.  Blocks on the disk."""
        with self._changed:
            waiting, self._waiting = list(self._waiting.values()), {}
        for cache_object in waiting:
            try:
                cache_object.commit_fills()
            except CacheError:
                # The object is stale or the store is dead: there is nothing to promise.
                continue

    def close(self) -> None:
        """Stop without committing.  Idempotent."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        """Wait until nothing was filled for ``IDLE_S``, then commit."""
        while True:
            with self._changed:
                seen = self._fills
                if self._changed.wait_for(lambda: self._closed, IDLE_S):
                    return
                quiet = bool(self._waiting) and seen == self._fills
            if quiet:
                self.commit_pending()
