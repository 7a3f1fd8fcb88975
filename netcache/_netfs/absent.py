"""Negative answers: that the server had nothing under a name, as a record of its own in the cache.

It is an empty object whose key is the resource's followed by a NUL and ``absent``; it was last
found so when it was last checked.  What is cached of the resource stays, and counts again when the
server shows the same version again.  The record counts as long as nothing newer is known of the
resource: only without a server, for with one it is asked again.  Blocks on the disk, shortly.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from netcache._core.coherency import NO_VALIDATOR, Version
from netcache._core.keys import ObjectKey
from netcache.errors import CacheError

if TYPE_CHECKING:
    from netcache._fscache.ports import CacheStore

SUFFIX = b"\0absent"


def absent_key(key: ObjectKey) -> ObjectKey:
    """The cache key of the negative answer about ``key``."""
    return ObjectKey(key.volume, key.name + SUFFIX)


def note_absent(store: CacheStore | None, key: ObjectKey) -> None:
    """The server has just said that there is nothing; trouble means that it is not kept."""
    if store is None:
        return
    new = None
    try:
        store.reserve(0)
        new = store.begin(absent_key(key))
        new.publish(Version(NO_VALIDATOR, 0), checked_s=time.time()).close()
    except CacheError:
        if new is not None:
            new.discard()


def forget_absent(store: CacheStore | None, key: ObjectKey) -> None:
    """Something was put under the name; with trouble the record stays, until something newer."""
    if store is None:
        return
    try:
        store.drop(absent_key(key))
    except CacheError:
        return


def is_absent(store: CacheStore | None, key: ObjectKey, known_s: float) -> bool:
    """Whether the last that is known of ``key`` is that there is nothing.

    ``known_s`` is when what is cached of it was last found current, 0.0 when nothing is.
    """
    if store is None:
        return False
    try:
        found = store.lookup(absent_key(key))
        if found is None:
            return False
        since_s = found.checked_s
        found.close()
        lost_ms = max((trace.when_ms for trace in store.memory.traces(key)), default=0)
    except CacheError:
        return False
    return since_s >= max(known_s, lost_ms / 1000)
