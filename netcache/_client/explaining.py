"""Why reads of a resource hit or missed, and what a read would find now.  No server is asked."""

from __future__ import annotations

from typing import NamedTuple

from netcache._client.core import ClientCore
from netcache._core.extent import Extent, ExtentSet, round_out
from netcache._core.misses import END_OF_ALL, Cause, Trace, explain
from netcache._core.urls import Resource
from netcache._fscache.ports import CacheStore
from netcache._netfs.inodes import key_of
from netcache.errors import CacheError


class Found(NamedTuple):
    """What a read of ``[start, end)`` would find now: ``cause`` is None where it is cached.

    ``end`` is -1 where nobody knows how long the resource is.
    """

    start: int
    end: int
    cause: Cause | None


class PastRead(NamedTuple):
    """Reads of the past: a miss of ``[start, end)`` for ``cause``, or ``hits`` reads that hit.

    ``when_s`` in seconds since 1970; of hits it is when their file was closed.
    """

    when_s: float
    start: int
    end: int
    cause: Cause | None
    hits: int


class Explanation(NamedTuple):
    """What ``why`` tells: ``size`` is None when nothing is cached, ``reads`` are oldest first."""

    url: str
    size: int | None
    now: list[Found]
    reads: list[PastRead]


def why(core: ClientCore, url: str, offset: int, count: int | None) -> Explanation:
    """Explain ``[offset, offset + count)`` (``count`` None: to the end) of a resource."""
    resource = core.parse(url)
    wanted = Extent(offset, END_OF_ALL if count is None else offset + count)
    try:
        store = core.need_store()
        size, now = _now(store, resource, wanted)
    except CacheError:
        end = -1 if count is None else wanted.end
        return Explanation(resource.url, None, [Found(offset, end, Cause.DOWN)], [])
    reads = [_past(trace) for trace in store.memory.reads(key_of(resource))]
    return Explanation(resource.url, size, now, reads)


def _now(store: CacheStore, resource: Resource, wanted: Extent) -> tuple[int | None, list[Found]]:
    key = key_of(resource)
    found = store.lookup(key)
    if found is None:
        size, present = None, ExtentSet()
    else:
        try:
            size, present = found.size, ExtentSet(found.extents())
        finally:
            found.close()
    blocks = round_out(wanted, store.block_size)
    limit = min(blocks.end, END_OF_ALL if size is None else size)
    extents = [Found(*extent, None) for extent in present.within(blocks.start, limit)]
    gaps = present.missing(blocks.start, limit)
    extents += [Found(*missed) for missed in explain(gaps, store.memory.traces(key))]
    return size, [
        one._replace(end=-1) if one.end == END_OF_ALL else one
        for one in sorted(extents, key=lambda one: one.start)
    ]


def _past(trace: Trace) -> PastRead:
    return PastRead(trace.when_ms / 1000, trace.start, trace.end, trace.cause, trace.mask)
