"""The first check of a short command, on its own thread: no loop is started for it.

It is for files of which all that is read is cached: ``cat`` of them takes two thirds of the time.

Rules:

1. Only a process that has not imported asyncio checks here: another has it for nothing.
2. Only what nothing else has to be done about: edits that a killed process has left are sent when
   the remote half is made, so a client with such makes it.
3. Whatever does not come out as "unchanged" was no check: the server is asked again.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from netcache.backends.http_access import Access
from netcache.backends.http_here import says_unchanged

if TYPE_CHECKING:
    from netcache._client.core import ClientCore
    from netcache._netfs.handle import ReadHandle
    from netcache._netfs.inode import Inode

__all__ = ["bind_here"]


def bind_here(core: ClientCore, handle: ReadHandle, start: int, length: int | None) -> Inode | None:
    """Bind to what is cached when the server says that it is current; None when that is left to
    the loop.

    ``[start, start + length)`` is what will be read (None: to the end).  Blocks.
    """
    options, resource = core.options, handle.resource
    if options.backend is not None or options.offline or handle.checks_each_read:
        return None
    inode = core.inodes.find(resource)
    if inode is None or inode.cached is None or not inode.joins:
        return None
    end = inode.size if length is None else start + length
    if inode.missing(start, end) or core.has_orphans():
        return None
    http = options.for_http()
    access = Access.of(http)
    for origin, pair in list(core.credentials.items()):
        access.add(origin, *pair)
    asked_at = time.monotonic()
    if not says_unchanged(http, access, resource, inode.version.validator):
        return None
    core.inodes.found_current(inode, asked_at)
    return handle.bind_local()
