"""Listings kept for working offline: a folder's entries as a small monolithic cache object."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from netcache._core.coherency import NO_VALIDATOR, Validator, ValidatorKind, Version
from netcache._core.keys import ObjectKey
from netcache.errors import CacheError
from netcache.spi import ResourceInfo

if TYPE_CHECKING:
    from netcache._core.urls import Resource
    from netcache._fscache.ports import CacheObject, CacheStore

_SUFFIX = b"\0listing"
"""No URL has a NUL in its path, so a listing never meets a resource's own object."""


def listing_key(folder: Resource) -> ObjectKey:
    """The cache key of the listing of ``folder``."""
    return ObjectKey(folder.volume_key, folder.object_key + _SUFFIX)


def keep_listing(store: CacheStore | None, folder: Resource, entries: list[ResourceInfo]) -> None:
    """Keep the entries; trouble with the cache means that they are not kept."""
    if store is None:
        return
    import json

    data = json.dumps([_as_json(entry) for entry in entries]).encode()
    new = None
    try:
        store.reserve(len(data))
        new = store.begin(listing_key(folder))
        new.write(data)
        new.publish(Version(NO_VALIDATOR, len(data)), checked_s=time.time()).close()
    except CacheError:
        if new is not None:
            new.discard()


class KeptListing(list[ResourceInfo]):
    """The entries of a folder as they were last seen."""

    checked_s = 0.0
    """When that was, as ``time.time()`` tells it."""


def kept_listing(store: CacheStore | None, folder: Resource) -> KeptListing | None:
    """The listing as last kept, or None."""
    if store is None:
        return None
    import json

    try:
        found = store.lookup(listing_key(folder))
        if found is None:
            return None
        with contextlib.closing(found):
            data, checked_s = _all_of(found), found.checked_s
        if data is None:
            return None
        listing = KeptListing(_from_json(item) for item in json.loads(data))
        listing.checked_s = checked_s
        return listing
    except (CacheError, ValueError, KeyError, TypeError):
        return None


def _all_of(found: CacheObject) -> bytes | None:
    """Its bytes; None where some are missing, or damaged."""
    size = found.size
    there = found.query_occupancy(0, size)
    if not there or there[0].start or min(there[0].end, found.prove(0, size).end) < size:
        return None
    buffer = bytearray(size)
    return bytes(buffer) if found.read_into(0, buffer) == size else None


def _as_json(entry: ResourceInfo) -> dict[str, object]:
    item: dict[str, object] = {
        "url": entry.url,
        "name": entry.name.encode("utf-8", "surrogateescape").decode("latin-1"),
        "type": entry.type,
        "size": entry.size,
        "mtime_s": entry.mtime_s,
        "etag": entry.etag,
    }
    if entry.version is not None:
        item["kind"] = int(entry.version.validator.kind)
        item["value"] = entry.version.validator.value
    return item


def _from_json(item: dict[str, object]) -> ResourceInfo:
    size, mtime_s, kind = item["size"], item["mtime_s"], item.get("kind")
    version = None
    if kind is not None and isinstance(size, int):
        validator = Validator(ValidatorKind(int(str(kind))), str(item["value"]))
        whole_s = int(mtime_s) if isinstance(mtime_s, int | float) else None
        version = Version(validator, size, whole_s)
    etag = item["etag"]
    return ResourceInfo(
        url=str(item["url"]),
        name=str(item["name"]).encode("latin-1").decode("utf-8", "surrogateescape"),
        type="directory" if item["type"] == "directory" else "file",
        size=size if isinstance(size, int) else None,
        mtime_s=float(mtime_s) if isinstance(mtime_s, int | float) else None,
        etag=etag if isinstance(etag, str) else None,
        version=version,
    )
