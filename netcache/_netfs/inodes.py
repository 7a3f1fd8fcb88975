"""The table of a client's inodes: the current version of each resource, and idle ones kept open.

An inode that nobody has open any more stays for a while (the kernel keeps an unused object for
10 s), so that opening the same file again costs no system call, and so that no descriptor is
closed right behind a reader in another thread.

Thread-safe; does short local I/O only; imports no event loop, so that a command that finds all it
needs in the cache never starts one.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

from netcache._core.keys import ObjectKey
from netcache._core.validity import Moment, ValidityPolicy
from netcache._netfs.holding import CachedHolding
from netcache._netfs.inode import Inode
from netcache.errors import CacheError, NoSpaceError, NotCachedError, NotFoundError

if TYPE_CHECKING:
    from netcache._core.coherency import Version
    from netcache._core.stats import Stats
    from netcache._core.urls import Resource
    from netcache._fscache.ports import CacheStore

IDLE_INODES_MAX = 128
"""How many inodes without users are kept open."""


def key_of(resource: Resource) -> ObjectKey:
    """The cache key of a resource."""
    # What the class calls itself, in Python; this is asked at each open.
    return tuple.__new__(ObjectKey, resource.keys)


class InodeTable:
    """All inodes of a client, by key; ``_lock`` guards the table and the users' counts."""

    def __init__(
        self, store: CacheStore | None, stats: Stats, validity: ValidityPolicy, *, offline: bool
    ) -> None:
        self.store = store
        self._stats = stats
        self._validity = validity
        self._asks_nothing = offline or not any(validity.asks(moment) for moment in Moment)
        self._offline = offline
        self._lock = threading.Lock()
        self._current: dict[ObjectKey, Inode] = {}
        self._idle: OrderedDict[int, Inode] = OrderedDict()
        self._every: dict[int, Inode] = {}

    def find(self, resource: Resource, *, again: bool = False) -> Inode | None:
        """The inode of the version last known, from the table or from the cache on disk.

        ``again``: nothing was found a moment ago; to find nothing once more is not counted.
        """
        with self._lock:
            inode = self._find(resource, again=again)
            if inode is not None and not inode.users and id(inode) not in self._idle:
                self._rest(inode)
            return inode

    def _find(self, resource: Resource, *, again: bool) -> Inode | None:
        """``find``, under ``_lock``; one that was not in the table is not put to rest yet."""
        key = key_of(resource)
        inode = self._current.get(key)
        if inode is not None and (self.store is None or not inode.cut_off):
            return inode
        found = self._lookup(key, again=again)
        if found is None:
            # What is cut off is of use only where nothing else can be had.
            return inode if self._offline else None
        inode = Inode(resource, key, found.object.version, found)
        self._current[key] = self._every[id(inode)] = inode
        return inode

    def knows(self, key: ObjectKey) -> bool:
        """Whether there is an inode of ``key`` in memory."""
        return key in self._current

    def asks_at_open(self, checked_s: float) -> bool:
        """Whether what was last found current at ``checked_s`` is checked when it is opened now."""
        return not self._asks_nothing and self._validity.check_due(
            Moment.OPEN, checked_s=checked_s, now_s=time.time()
        )

    def check_due(self, inode: Inode, opened_at: float, moment: Moment) -> bool:
        """Whether the server must be asked before a file opened at ``opened_at`` may show it."""
        if self._asks_nothing or inode.checked_at >= opened_at or not self._validity.asks(moment):
            return False
        cached = inode.cached
        return self._validity.check_due(
            moment,
            checked_s=cached.object.checked_s if cached is not None else 0.0,
            now_s=time.time(),
        )

    def acquire_valid(self, resource: Resource, opened_at: float, moment: Moment) -> Inode | None:
        """The inode, with one user more, when it may be shown without asking the server, else None.

        Offline, ``NotCachedError`` when there is none at all.
        """
        with self._lock:
            inode = self._find(resource, again=False)
            if inode is not None:
                inode.users += 1
                self._idle.pop(id(inode), None)
                if self._asks_nothing and not self._offline:
                    return inode
        valid = None
        try:
            valid = self.valid(resource, inode, opened_at, moment)
        finally:
            if valid is None and inode is not None:
                self.release(inode)
        return valid

    def valid(
        self, resource: Resource, inode: Inode | None, opened_at: float, moment: Moment
    ) -> Inode | None:
        """``inode``, which ``find`` has found, or None, as ``acquire_valid``."""
        if self._offline:
            self.raise_if_absent(resource, inode)
        if inode is not None and not self.check_due(inode, opened_at, moment):
            return inode
        if inode is None and self._offline:
            raise NotCachedError(
                f"read of {resource.url} failed: offline, and nothing of it is cached",
                url=resource.url,
            )
        return None

    def raise_if_absent(
        self, resource: Resource, inode: Inode | None, *, listed_s: float = 0.0
    ) -> None:
        """Raise ``NotFoundError`` when that was the last answer about the resource.

        ``listed_s`` is when it was last seen in a listing, 0.0 if never.
        """
        cached = inode.cached if inode is not None else None
        known_s = cached.object.checked_s if cached is not None else 0.0
        from netcache._netfs.absent import is_absent

        if is_absent(self.store, key_of(resource), max(known_s, listed_s)):
            raise NotFoundError(
                f"{resource.url} was not found when the server was last asked (offline now)",
                url=resource.url,
            )

    def found_current(self, inode: Inode, asked_at: float) -> None:
        """The server, asked at ``asked_at`` (monotonic seconds), has its version."""
        inode.checked_at = asked_at
        self._stats.add("Updates", "n")
        if (cached := inode.cached) is not None:
            try:
                cached.object.mark_checked(time.time())
            except CacheError:
                # The disk takes no labels: what is cached stays as good as it was.
                if cached.object.withdrawn:
                    inode.lose_holding()

    def replace(self, inode: Inode) -> None:
        """Make ``inode`` the current one of its key; files go on with the one before."""
        with self._lock:
            self._current[inode.key] = inode
            self._rest(inode)

    def forget(self, key: ObjectKey, inode: Inode | None = None) -> None:
        """Let no later open find the inode of ``key`` (only if it is ``inode``, when given)."""
        with self._lock:
            if inode is None or self._current.get(key) is inode:
                self._current.pop(key, None)

    def forget_all(self) -> None:
        """Let no later open find any inode."""
        with self._lock:
            self._current.clear()

    def reserve(self, length: int) -> None:
        """Make sure that ``length`` more bytes may be stored; ``CacheError`` when they may not.

        Idle inodes have their objects in use, so that something else would be culled: the older
        ones are closed before that.
        """
        if self.store is None or self.store.has_room(length):
            return
        if self.store.must_cull(length):
            self.close_idle()
        while True:
            try:
                self.store.reserve(length)
                return
            except NoSpaceError:
                if not self.store.must_cull(length) or not self.close_idle():
                    raise

    def new_holding(self, key: ObjectKey, version: Version, length: int) -> CachedHolding | None:
        """An object of ``version``, in place of the one before; None where there is no room for
        the ``length`` bytes that come at once."""
        if self.store is None:
            return None
        try:
            self.reserve(length)
            return CachedHolding(self.store.create(key, version, checked_s=time.time()))
        except CacheError:
            self._stats.add("NoSpace", "ncr")
            return None

    def give_holding(self, inode: Inode) -> None:
        """Let an inode that is ``due`` have its place in the cache: it is going to be read."""
        inode.take_holding(self.new_holding(inode.key, inode.version, 0))
        self.replace(inode)

    def close_idle(self) -> int:
        """Close the older half of the idle inodes, at least one; how many that were."""
        with self._lock:
            idle = [inode for inode in self._idle.values() if not inode.flying]
            closing = idle[: -(-len(idle) // 2)]
            for inode in closing:
                self._take_out(inode)
        for inode in closing:
            inode.close()
        return len(closing)

    def _take_out(self, inode: Inode) -> None:
        """Know an idle inode no more.  Under ``_lock``; it is still to be closed."""
        self._idle.pop(id(inode), None)
        if self._current.get(inode.key) is inode:
            del self._current[inode.key]
        del self._every[id(inode)]
        self._stats.add("LRU", "exp")

    def acquire(self, inode: Inode) -> None:
        """Count a user: the inode stays open until ``release``."""
        with self._lock:
            inode.users += 1
            self._idle.pop(id(inode), None)

    def release(self, inode: Inode) -> None:
        """Count a user off; the inode goes to the idle ones with the last."""
        with self._lock:
            inode.users -= 1
            if not inode.users:
                self._rest(inode)

    def take_alone(self, inode: Inode) -> bool:
        """Take the inode out of the table for its only user; False when others show it."""
        with self._lock:
            if inode.users > 1 or inode.flying:
                return False
            if self._current.get(inode.key) is inode:
                del self._current[inode.key]
            self._idle.pop(id(inode), None)
            self._every.pop(id(inode), None)
            return True

    def all(self) -> list[Inode]:
        """Every inode that is known: current, idle, or used."""
        with self._lock:
            return list(self._every.values())

    def close(self) -> None:
        """Close every inode, used or not."""
        with self._lock:
            inodes = list(self._every.values())
            self._current.clear()
            self._idle.clear()
            self._every.clear()
        for inode in inodes:
            inode.close()

    def _lookup(self, key: ObjectKey, *, again: bool) -> CachedHolding | None:
        if self.store is None:
            return None
        found = None
        try:
            found = self.store.lookup(key)
        except CacheError:
            return None
        finally:
            if found is not None or not again:
                self._stats.add_lookup(found=found is not None)
        if found is None:
            return None
        try:
            found.mark_used()
        except CacheError:
            if found.withdrawn:
                found.close()
                return None
        return CachedHolding(found)

    def _rest(self, inode: Inode) -> None:
        """Put an unused inode among the idle ones; close the one idle for longest beyond them."""
        self._every[id(inode)] = inode
        if inode.users:
            return
        self._idle[id(inode)] = inode
        self._idle.move_to_end(id(inode))
        while len(self._idle) > IDLE_INODES_MAX:
            _, oldest = self._idle.popitem(last=False)
            if oldest.flying:
                self._idle[id(oldest)] = oldest
                return
            self._take_out(oldest)
            oldest.close()
