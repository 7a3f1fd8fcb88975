"""Doubts: uploads whose outcome nobody told.  Pure.

When every attempt of an upload ended without a reply, the server may have it or not.  The next
upload then meets either the version it was made from, or a version that it does not know: ours, or
somebody else's.  Before that is called a conflict, what is there is compared with what was sent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

from netcache._core.extent import Extent, ExtentSet


class Doubt(NamedTuple):
    """An upload that may have arrived.

    ``size`` is what the resource then has; ``part`` what was sent of it, None for all; ``digests``
    the SHA-256 of what was sent, one of each attempt.
    ``unchanged`` says of which bytes here it is known that they are as they were sent, and ``cut``
    where the file was cut since, if it was.
    """

    size: int
    part: Extent | None
    digests: frozenset[bytes]
    unchanged: tuple[Extent, ...] = ()
    cut: int | None = None

    @classmethod
    def of_part(cls, size: int, part: Extent, buffers: Iterable[memoryview]) -> Doubt:
        """Of these bytes, which a resource has that is ``size`` bytes long then."""
        digest = hashlib.sha256()
        for buffer in buffers:
            digest.update(buffer)
        return cls(size, part, frozenset([digest.digest()]))

    @property
    def span(self) -> Extent:
        """Where what was sent lies."""
        return self.part if self.part is not None else Extent(0, self.size)

    def truncated(self, size: int) -> Doubt:
        """The file was cut, or extended, to ``size`` after the upload."""
        cut = self.size if self.cut is None else self.cut
        if size >= cut:
            return self
        return self._written(size, 1 << 62)._replace(cut=size)

    def written(self, start: int, end: int) -> Doubt:
        """``[start, end)`` was written after the upload."""
        return self._written(start, end) if self.unchanged else self

    def _written(self, start: int, end: int) -> Doubt:
        unchanged = ExtentSet(self.unchanged)
        unchanged.remove(start, end)
        return self._replace(unchanged=tuple(unchanged))
