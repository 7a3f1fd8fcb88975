"""What a reader is told when cached bytes were damaged and cannot be fetched again.

Damaged bytes count as not cached: they come again from the server, under the same version, and
nobody notices.  Only when the server cannot be asked, or has another version now, the read fails.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netcache.errors import IntegrityError, NetCacheError, NotCachedError

if TYPE_CHECKING:
    from netcache._netfs.inode import Inode


def not_to_be_had(inode: Inode, start: int, end: int) -> NetCacheError:
    """The error of a read of bytes that are not there, when no server may be asked."""
    url = inode.resource.url
    if _is_damaged(inode, start, end):
        return _damaged(url, start, end, "offline")
    return NotCachedError(
        f"read of {url} [{start}, {end}) failed: offline, and not cached", url=url
    )


def damaged_before(inode: Inode | None, start: int, end: int) -> NetCacheError | None:
    """What ``StaleError`` means for a reader whose bytes were there, and are damaged."""
    if inode is None or not _is_damaged(inode, start, end):
        return None
    return _damaged(inode.resource.url, start, end, "the server has another version now")


def _is_damaged(inode: Inode, start: int, end: int) -> bool:
    """Whether what is missing of ``[start, end)`` is missing because it was damaged."""
    cached = inode.cached
    return cached is not None and cached.object.damaged(start, end)


def _damaged(url: str, start: int, end: int, why: str) -> IntegrityError:
    return IntegrityError(
        f"read of {url} [{start}, {end}) failed: what is cached of it is damaged, and {why}",
        url=url,
    )
