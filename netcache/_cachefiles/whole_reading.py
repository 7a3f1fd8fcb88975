"""Small complete objects that are read as a whole, once: without all that readers of parts need.

To keep such an object open (its lock, its extents, its place among the open ones) takes longer than
to read it.  It is opened and believed by the same rules, and is in use as long as it is open: its
label is read once, and what is read then has to fit the sums in that label.  So the bytes are those
of the label's version, whatever anybody does meanwhile, and whatever the level of ``verify``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netcache._cachefiles.failures import as_a_miss, told_as_cache_errors
from netcache._cachefiles.labelled import USED_INTERVAL_S
from netcache._cachefiles.proof import Proof
from netcache._cachefiles.sums import ObjectSums
from netcache._core.content import COMPLETE
from netcache._core.label import LabelError

if TYPE_CHECKING:
    from netcache._cachefiles.binding import Bound
    from netcache._cachefiles.label_file import LabelFile
    from netcache._core.coherency import Version
    from netcache._core.keys import ObjectKey
    from netcache._core.label import Label


def open_whole(bound: Bound, key: ObjectKey) -> WholeReading | None:
    """The object of ``key``, if there is a usable one.  Raises ``OSError``."""
    try:
        return WholeReading(bound, key, *bound.open_object(key))
    except (OSError, LabelError) as error:
        as_a_miss(error)
        return None


class WholeReading:
    """See ``netcache._fscache.whole.WholeObject``.  It owns the descriptor of ``file``."""

    __slots__ = ("_bound", "_file", "_key", "_label")

    def __init__(self, bound: Bound, key: ObjectKey, file: LabelFile, label: Label) -> None:
        self._bound = bound
        self._key = key
        self._file = file
        self._label = label

    @property
    def version(self) -> Version:
        """The version of the label."""
        return self._label.version

    @property
    def checked_s(self) -> float:
        """What the label says."""
        return self._label.checked_ms / 1000

    def read(self, *, wait: bool = True) -> bytes | None:
        """Read, compare."""
        bound, label = self._bound, self._label
        if label.table:
            return None
        proof = Proof(bound.ops, self._file.fd, ObjectSums(bound))
        with told_as_cache_errors(bound):
            return proof.read_whole(label, 0, label.version.size, wait=wait)

    def mark_used(self) -> None:
        """Move to the recent end of the culling order, at most once a minute."""
        bound, file = self._bound, self._file
        now_s = bound.clock()
        bound.room.opened(bound.place(self._key), now_s, USED_INTERVAL_S)
        if abs(now_s - file.used_s) >= USED_INTERVAL_S:
            with told_as_cache_errors(bound):
                bound.ops.touch(file.fd, now_s)

    def mark_checked(self, when_s: float) -> None:
        """Change the label, under its lock."""
        file = self._file
        with told_as_cache_errors(self._bound):
            file.lock()
            try:
                label = file.read()
                if label.content in COMPLETE and label.version == self._label.version:
                    file.write(label._replace(checked_ms=int(when_s * 1000)))
            finally:
                file.unlock()

    def close(self) -> None:
        """Close the file."""
        fd, self._file.fd = self._file.fd, -1
        if fd >= 0:
            self._bound.ops.close(fd)
