"""Spooling: a resource whose ranges cannot be joined comes whole, in one response, into a spool.

Its readers wait for the one flight, and read what has come; what breaks off is gone.  When all of
it is there, the spool becomes a cache object, if the cache takes it.  On the client's loop.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from netcache._core.coherency import NO_VALIDATOR, Version
from netcache._core.extent import Extent
from netcache._netfs.holding import CachedHolding
from netcache._netfs.inode import Inode
from netcache._netfs.inodes import key_of
from netcache._netfs.spool import SpoolHolding
from netcache.errors import CacheError

if TYPE_CHECKING:
    from netcache._core.urls import Resource
    from netcache._netfs.engine import ReadEngine
    from netcache._netfs.flight import Flight
    from netcache._netfs.inodes import InodeTable
    from netcache.spi import ReadReply


def begin_spool(engine: ReadEngine, resource: Resource, reply: ReadReply, asked_at: float) -> Inode:
    """The inode of what ``reply`` bears, the whole body of a version; that is let come."""
    key = key_of(resource)
    spool = SpoolHolding(engine.store, key)
    inode = Inode(resource, key, reply.version or Version(NO_VALIDATOR, -1), spool)
    inode.complete = False
    inode.checked_at = asked_at
    engine.inodes.replace(inode)
    flight = engine.launch(inode, Extent(0, inode.size), reply)
    flight.task.add_done_callback(lambda _: _settle(engine.inodes, inode, flight, spool))
    return inode


def _settle(inodes: InodeTable, inode: Inode, flight: Flight, spool: SpoolHolding) -> None:
    """The one response has ended: keep a good body, forget a bad one."""
    if flight.task.cancelled() or flight.error is not None:
        inodes.forget(inode.key, inode)
        return
    version = inode.version._replace(size=flight.position)
    try:
        published = spool.publish(version, time.time())
    except CacheError:
        published = None
    inode.settle(spool, CachedHolding(published) if published else spool, version)
