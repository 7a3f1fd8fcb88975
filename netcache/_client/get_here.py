"""The download of a cached file by a short command, on its own threads: no loop is started for it.

One thread copies while the other asks the server, as ``check_here`` does and by its rules.  What
else a download imports takes 40 ms: in that time the kernel copies 150 MiB.

Rules:

1. The copy gets its name only when the file is found current, or nothing has to be asked.
2. Whatever comes out otherwise (a change, an error, damage), or stops it, nothing is left of it,
   and nothing was told: the download begins in the ordinary way.  But that the target's disk takes
   no more of a current file is told at once, and not found out a second time.
3. Who follows its progress gets the ordinary way, which tells of it.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from netcache._client.cached_copy import CachedCopy
from netcache._client.items import local_place
from netcache._client.target import TargetFile

if TYPE_CHECKING:
    from netcache._client.core import ClientCore
    from netcache._client.report import Report
    from netcache._core.urls import Resource
    from netcache._netfs.inode import Inode

__all__ = ["get_here"]


def get_here(core: ClientCore, inode: Inode, resource: Resource, dest: str) -> Report | None:
    """Bring the file to ``dest``, or into that folder; None when that is left to the loop.

    ``inode`` is what the cache has of it.  Blocks.
    """
    if core.options.backend is not None or core.options.validity.at_read or core.has_orphans():
        return None
    if inode.cached is None or not inode.joins or inode.missing(0, inode.size):
        return None
    try:
        target = TargetFile(local_place(resource, dest))
    except OSError:
        return None
    core.inodes.acquire(inode)
    try:
        return _report(inode.size) if _bring(core, resource, inode, target) else None
    finally:
        core.inodes.release(inode)


def _bring(core: ClientCore, resource: Resource, inode: Inode, target: TargetFile) -> bool:
    """Whether ``target`` has its name now; ``OSError`` when it cannot have it."""
    try:
        copy = CachedCopy(inode, target)
        with _beside(copy):
            is_current = _current(core, resource) is inode
            if is_current:
                copy.compare_ahead()
            else:
                copy.stop()
        if is_current and copy.failure is not None:
            raise copy.failure
        if not is_current or copy.position != inode.size:
            return False
        target.finish(inode.size, inode.version.mtime_s)
        return True
    finally:
        target.discard()


def _current(core: ClientCore, resource: Resource) -> Inode | None:
    """What may be shown of the resource, if that can be found out here."""
    handle = core.open_handle(resource)
    try:
        found = handle.bind_local()
        if found is not None:
            return found
        from netcache._client.check_here import bind_here

        return bind_here(core, handle, 0, None)
    finally:
        handle.close()


@contextlib.contextmanager
def _beside(copy: CachedCopy) -> Iterator[None]:
    """Let a thread copy beside the block, and wait for its end; an exception stops it."""
    thread = threading.Thread(target=copy.run, name="netcache-copy")
    thread.start()
    try:
        yield
        thread.join()
    finally:
        copy.stop()
        thread.join()


def _report(size: int) -> Report:
    from netcache._client.report import Report

    report = Report()
    report.copied, report.bytes = 1, size
    return report
