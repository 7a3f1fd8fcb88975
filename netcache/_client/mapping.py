"""Maps of backing files, for views of cached bytes without a copy."""

from __future__ import annotations

import mmap


class Mapping:
    """A read-only map of a backing file, renewed when the file has grown.

    The file is never shrunk while it has users, so a view of it cannot fault.  Views keep the map
    that they were cut from.
    """

    __slots__ = ("_descriptor", "_map")

    def __init__(self) -> None:
        self._map: mmap.mmap | None = None
        self._descriptor = -1

    def view(self, descriptor: int, start: int, end: int) -> memoryview:
        """The bytes ``[start, end)``, which are present."""
        if self._map is None or self._descriptor != descriptor or len(self._map) < end:
            self._map = mmap.mmap(descriptor, 0, prot=mmap.PROT_READ)
            self._descriptor = descriptor
        return memoryview(self._map)[start:end]
