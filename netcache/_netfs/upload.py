"""Uploads of whole resources: the server gets a body, and the cache the same.

Rules:

1. An upload is conditional on the version found when it began (promise P7).
2. Without a validator in the reply nothing is kept: it could not be told from another writer's
   bytes (RFC 9110 9.3.4).  Where that is known before, nothing is even copied.
3. What was kept of the version before does not outlive an upload: it is history.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from netcache._core.coherency import Validator, ValidatorKind
from netcache._core.misses import Cause
from netcache._finishing import finished
from netcache._netfs.absent import forget_absent
from netcache._netfs.inodes import InodeTable, key_of
from netcache._netfs.tee import Tee
from netcache.errors import CacheError, NotFoundError
from netcache.spi import Backend, UploadBody, UploadCondition, UploadReply

if TYPE_CHECKING:
    from netcache._core.stats import Stats
    from netcache._core.urls import Resource
    from netcache._fscache.ports import CacheStore


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
        known = self._backend().capabilities(resource.url)
        # Where uploads are answered without a validator nothing could be kept.
        store = None if known.upload_versions is False else self._store
        return Tee(store, resource, hashing=bool(known.digests))

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
        sent_bytes: int | None = None
        try:
            reply = await self._backend().put(
                resource.url, body, condition=condition, mtime_s=mtime_s
            )
            sent_bytes = reply.sent_bytes
            await tee.drain()
        except BaseException:
            self._stats.add("UpldOps", "uf")
            try:
                await finished(tee.drain())
            finally:
                tee.discard()
            raise
        finally:
            self._stats.add("UpldOps", "us")
            self._stats.add("UpldOps", "bytes", tee.size if sent_bytes is None else sent_bytes)
            self._stats.add("CaWrOps", "bytes", tee.copied_bytes)
        self._inodes.forget(key_of(resource))
        version = reply.version
        is_proven = version is not None and version.validator.joins_ranges
        if version is None or not is_proven or not tee.publish(version):
            tee.discard()
            self._forget_stored(resource)
        return reply

    def _forget_stored(self, resource: Resource) -> None:
        """What the cache knows of the name is of before the upload."""
        forget_absent(self._store, key_of(resource))
        if self._store is None:
            return
        try:
            self._store.drop(key_of(resource), Cause.CHANGED)
        except CacheError:
            # What stays is checked when it is next opened.
            return


def condition_on(validator: Validator) -> UploadCondition:
    """The condition that the resource still is what bears ``validator``.

    A weak ETag cannot be used with ``If-Match`` (RFC 9110 13.1.1): any version then passes.
    """
    if validator.kind is ValidatorKind.STRONG_ETAG:
        return UploadCondition(if_match=validator.value)
    if validator.kind in (ValidatorKind.STRONG_DATE, ValidatorKind.WEAK_DATE):
        return UploadCondition(unmodified_since=validator.value)
    return UploadCondition(if_match="*") if validator.value else UploadCondition()
