"""Views: cached bytes of one handle as memory, without a copy where they can be mapped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netcache._client.mapping import Mapping

if TYPE_CHECKING:
    from netcache._client.runner import Runner
    from netcache._netfs.handle import ReadHandle


class Views:
    """What cuts views of the version that a handle shows.

    A view is of cached bytes where they can be mapped; else, and where each read has to be checked
    at the server, it is a private copy.  Either shows one version, for as long as it is held.
    """

    __slots__ = ("_handle", "_runner", "mapping")

    def __init__(self, handle: ReadHandle, runner: Runner) -> None:
        self._handle = handle
        self._runner = runner
        self.mapping = Mapping()

    def expect(self, start: int, length: int | None) -> None:
        """Say what will be read first (None: to the end)."""
        self._runner.expect(self._handle, start, length)

    @property
    def size(self) -> int:
        """The size of the version shown."""
        return self._runner.size(self._handle)

    def view(self, offset: int, length: int) -> memoryview:
        """``[offset, offset + length)``, clipped to the size; may wait for the server."""
        if length < 0 or offset < 0:
            raise ValueError(f"view of {length} bytes at {offset}: neither may be negative")
        handle = self._handle
        self.expect(offset, length)
        while True:
            end = min(offset + length, self.size)
            if end <= offset:
                return memoryview(b"")
            # The size was shown: the handle stays with this version from here on.
            inode = handle.inode
            assert inode is not None
            if not handle.checks_each_read and inode.locate(offset, end):
                view = self.mapping.view(inode, offset, end)
                if view is not None:
                    return view
                data = handle.hit(end - offset, offset)
                if data is not None:
                    return memoryview(data)
            data = self._runner.fetch(handle, offset, end - offset)
            if data is not None:
                return memoryview(data)

    def whole(self) -> memoryview | None:
        """All of the resource, when all of it is mapped and may be shown."""
        base, low, high = self.mapping.window
        return base[:high] if not low and high == self.size else None
