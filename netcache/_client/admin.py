"""The cache itself, for those who look after it: status, objects, extents, drop, cull, verify."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from netcache._client.core import ClientCore
from netcache._client.explaining import Explanation, why
from netcache._client.listings import listing_key
from netcache._client.object_urls import is_resource, url_of
from netcache._client.saved_stats import read_saved
from netcache._core.coherency import Version
from netcache._core.content import Content
from netcache._core.extent import Extent
from netcache._core.keys import ObjectKey
from netcache._core.stats import merge
from netcache._core.urls import Resource, as_folder
from netcache._fscache.overview import ObjectRecord, Problem, StoreStatus
from netcache._fscache.ports import CacheObject
from netcache._netfs.absent import absent_key
from netcache._netfs.inodes import key_of
from netcache.errors import CacheError, NotCachedError


class CachedObject(NamedTuple):
    """A cached object, for ``cache ls``; ``last_used_s`` in seconds since 1970."""

    url: str
    size: int
    cached_bytes: int
    content: Content
    version: Version
    last_used_s: float
    checked_s: float
    in_use: bool
    pinned: bool


class ExtentMap(NamedTuple):
    """Which bytes of a resource are cached; extents are sorted, disjoint, end exclusive."""

    url: str
    size: int
    block_size: int
    content: Content
    cached_bytes: int
    extents: list[Extent]


class CacheAdmin:
    """``client.cache``.  All methods may block on the disk, never on the network.

    They raise ``CacheError`` when the cache cannot be used.
    """

    def __init__(self, core: ClientCore) -> None:
        self._core = core

    def status(self) -> StoreStatus:
        """The state of the cache; counts all objects."""
        return self._core.need_store().status()

    def objects(self) -> Iterator[CachedObject]:
        """The cached resources, in no order; kept listings are not among them."""
        for record in self._core.need_store().objects():
            if is_resource(record.key):
                yield _cached_object(record)

    def map(self, url: str) -> ExtentMap:
        """Which extents of ``url`` are cached; ``NotCachedError`` when it has no object."""
        resource = self._core.parse(url)
        found = self._lookup(resource)
        try:
            extents = list(found.extents())
            return ExtentMap(
                resource.url,
                found.size,
                found.block_size,
                found.content,
                sum(extent.length for extent in extents),
                extents,
            )
        finally:
            found.close()

    def why(self, url: str, offset: int = 0, count: int | None = None) -> Explanation:
        """Why reads of ``url`` hit or missed, and would now; needs a cache that can be used."""
        self._core.need_store()
        return why(self._core, url, offset, count)

    def extents(self, url: str) -> list[Extent]:
        """The cached extents of ``url``; empty when it has no object."""
        try:
            return self.map(url).extents
        except NotCachedError:
            return []

    def drop(self, url: str | Sequence[str]) -> int:
        """Forget objects (and kept listings); returns the allocated bytes given free."""
        store = self._core.need_store()
        freed = 0
        for one in [url] if isinstance(url, str) else url:
            resource = self._core.parse(one)
            self._core.inodes.forget(key_of(resource))
            freed += store.drop(key_of(resource))
            freed += store.drop(listing_key(as_folder(resource)))
            store.drop(absent_key(key_of(resource)))
        return freed

    def clear(self) -> int:
        """Forget everything clean; returns the allocated bytes given free."""
        self._core.inodes.forget_all()
        return self._core.need_store().clear()

    def pin(self, url: str | Sequence[str]) -> None:
        """Keep resources from being culled, those too that are cached later; see ``unpin``.

        A pin stays when the object is replaced, dropped or cleared.
        """
        store = self._core.need_store()
        for one in [url] if isinstance(url, str) else url:
            store.pin(key_of(self._core.parse(one)))

    def unpin(self, url: str | Sequence[str]) -> int:
        """Let resources be culled in their turn; returns how many were pinned."""
        store = self._core.need_store()
        urls = [url] if isinstance(url, str) else url
        return sum(store.unpin(key_of(self._core.parse(one))) for one in urls)

    def cull(self, target_bytes: int | None = None) -> tuple[int, int]:
        """Make room now: discard least recently used objects that nobody uses.

        Down to ``target_bytes`` allocated, None: to what the limits want.  Returns how many
        objects and allocated bytes went.
        """
        store = self._core.need_store()
        while self._core.inodes.close_idle():
            continue
        objects, freed = store.cull(target_bytes)
        self._core.stats.add("NoSpace", "cull", objects)
        return objects, freed

    def verify(self, urls: Sequence[str] | None = None, *, repair: bool = False) -> list[Problem]:
        """Check labels, structure and all sums; returns everything that is not right.

        With ``repair`` it is forgotten: damaged blocks alone, or else the object.  It is fetched
        again when it is needed.
        """
        keys: list[ObjectKey] | None = None
        if urls is not None:
            keys = [key_of(self._core.parse(url)) for url in urls]
            for url in urls:
                self._lookup(self._core.parse(url)).close()
        return list(self._core.need_store().verify(keys, repair=repair))

    def stats(self) -> dict[str, dict[str, int]]:
        """The counters of all clients of this cache directory so far, and of this one."""
        self._core.need_store()
        try:
            saved = read_saved(self._core.options.cache_dir)
        except OSError as error:
            raise CacheError(f"the counters cannot be read: {error.strerror}") from error
        return merge(saved, self._core.stats.as_groups())

    def _lookup(self, resource: Resource) -> CacheObject:
        found = self._core.need_store().lookup(key_of(resource))
        if found is None:
            raise NotCachedError(f"{resource.url} is not in the cache", url=resource.url)
        return found


def _cached_object(record: ObjectRecord) -> CachedObject:
    return CachedObject(
        url_of(record.key),
        record.version.size,
        record.cached_bytes,
        record.content,
        record.version,
        record.last_used_s,
        record.checked_s,
        record.in_use,
        record.pinned,
    )
