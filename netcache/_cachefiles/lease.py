"""Leases: what keeps the file of an object from changing while it is mapped.

A map must never show another version, nor end before its last page (SIGBUS).  So a file is
mapped through an open file description of its own, which has the object in use.  The kernel keeps
that description, and its lock, for as long as the map exists, whatever becomes of descriptors,
files and clients.  Whoever wants to change the file in place, or to shrink it, finds it in use,
also by his own process, and goes on with a copy (``modify``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netcache._cachefiles.label_file import LabelFile
from netcache._core.content import Content
from netcache._core.label import LabelError, Why

if TYPE_CHECKING:
    from netcache._cachefiles.binding import Bound


def lease(bound: Bound, fd: int, key: bytes) -> int:
    """A descriptor with an own description of the file ``fd``, in use as the object of ``key``.

    Raises ``OSError``, and ``LabelError`` when the object is being changed, or not believed.
    """
    own = bound.ops.open_again(fd)
    try:
        file = LabelFile(bound.ops, own, bound.epoch, bound.block_size)
        # First in use, then the label: whoever means to change the file sees us, or we him.
        if not file.use():
            raise LabelError(Why.DIRTY)
        label = file.read()
        if label.content is Content.DIRTY:
            raise LabelError(Why.DIRTY)
        if label.key != key:
            raise LabelError(Why.KEY)
        return own
    except BaseException:
        bound.ops.close(own)
        raise
