"""Files of the synchronous face: ``io.RawIOBase`` with reads and writes at positions.

A read of cached bytes is one comparison and one system call on the caller's thread.  Everything
that needs the server goes through the client's portal.
"""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Any

from netcache.errors import ClosedError

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from netcache._client.runner import Runner
    from netcache._client.views import Views
    from netcache._core.coherency import Version
    from netcache._netfs.handle import ReadHandle


class File(io.RawIOBase):
    """An open resource.  What a mode does not allow raises ``io.UnsupportedOperation``.

    ``pread``, ``preadinto``, ``pwrite`` may be called by many threads at once; the position
    (``read``, ``write``, ``seek``) belongs to one at a time.  No work is done by the garbage
    collector: a writer that is not closed publishes nothing.
    """

    # ``RawIOBase`` gives each file a dictionary, and Python looks into that one the slow way.
    __slots__ = ("_gone", "_position", "mode", "name", "url")

    def __init__(self, url: str, mode: str) -> None:
        super().__init__()
        self.url = url
        self.name = url
        self.mode = mode
        self._position = 0
        self._gone = False

    def pread(self, length: int, offset: int) -> bytes:
        """Up to ``length`` bytes at ``offset``; fewer only at the end.  May wait for the server."""
        raise io.UnsupportedOperation(f"{self.url} is not open for reading")

    def preadinto(self, buffer: Buffer, offset: int) -> int:
        """Read at ``offset`` into ``buffer``; returns the count, short only at the end."""
        raise io.UnsupportedOperation(f"{self.url} is not open for reading")

    def view(self, offset: int, length: int) -> memoryview:
        """A read-only view of bytes of the cache, without a copy where they are cached."""
        raise io.UnsupportedOperation(f"{self.url} is not open for reading")

    def pwrite(
        self, data: Buffer, offset: int, *, dsync: bool = False, atomic: bool = False
    ) -> int:
        """Write all of ``data`` at ``offset``; returns when it is held, and on its way.

        ``dsync``: returns when the server has it.  ``atomic``: one exchange, all of it or nothing.
        """
        raise io.UnsupportedOperation(f"{self.url} is not open for writing at positions")

    def fsync(self) -> None:
        """Return when the server has everything written so far."""
        self._need_open()

    def save_as(self, path: str | os.PathLike[str], *, changes_only: bool = False) -> int:
        """Save the file as this handle has it to a local ``path``; returns its size in bytes."""
        raise io.UnsupportedOperation(f"{self.url} is not open for changes")

    @property
    def size(self) -> int:
        """The size of the resource in bytes.  May wait for the server."""
        raise io.UnsupportedOperation(f"{self.url} has no size yet")

    def read(self, size: int | None = -1, /) -> bytes:
        """Up to ``size`` bytes from the position on (-1 or None: all); ``b""`` at the end."""
        if size is None or size < 0:
            size = max(0, self.size - self._position)
        data = self.pread(size, self._position)
        self._position += len(data)
        return data

    def readall(self) -> bytes:
        """All bytes from the position on."""
        return self.read(-1)

    def readinto(self, buffer: Buffer, /) -> int:
        """Read from the position on into ``buffer``; returns the count."""
        count = self.preadinto(buffer, self._position)
        self._position += count
        return count

    def write(self, data: Buffer, /) -> int:
        """Write all of ``data`` at the position (at the end in append mode)."""
        if self.mode == "ab":
            self._position = self.size
        count = self.pwrite(data, self._position)
        self._position += count
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move the position; returns it."""
        self._need_open()
        if whence == os.SEEK_CUR:
            offset += self._position
        elif whence == os.SEEK_END:
            offset += self.size
        elif whence != os.SEEK_SET:
            raise ValueError(f"whence={whence!r}: 0, 1 or 2 is needed")
        if offset < 0:
            raise ValueError(f"seek to {offset}: before the start")
        self._position = offset
        return offset

    def tell(self) -> int:
        """The position."""
        self._need_open()
        return self._position

    def seekable(self) -> bool:
        """Whether ``seek`` works."""
        return True

    def readable(self) -> bool:
        """Whether the mode allows reading."""
        return self.mode in ("rb", "r+b", "w+b")

    def writable(self) -> bool:
        """Whether the mode allows writing."""
        return self.mode != "rb"

    def abort(self) -> None:
        """Close without publishing anything more.  Idempotent."""
        self.close()

    def close(self) -> None:
        """Close; a writer returns when the server has everything, or raises.  Idempotent."""
        self._gone = True
        super().close()

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def __del__(self) -> None:
        # RawIOBase would call close() here, and a writer's close() waits for the network.
        return

    def _need_open(self) -> None:
        if self._gone:
            raise ClosedError(f"{self.url} is closed", url=self.url)


class ReadFile(File):
    """A file open for reading: it shows one version, or raises ``StaleError``."""

    __slots__ = ("_descriptor", "_handle", "_runner", "_views", "_whole")

    def __init__(self, handle: ReadHandle, runner: Runner) -> None:
        super().__init__(handle.resource.url, "rb")
        self._handle = handle
        self._runner = runner
        # Made by the first that asks for more than bytes: most files are only read.
        self._views: Views | None = None
        # A map of exactly the resource, once all of it may be shown.
        self._whole: memoryview | None = None
        self._descriptor = -1

    def pread(self, length: int, offset: int) -> bytes:
        """Up to ``length`` bytes at ``offset``."""
        data = self._handle.hit(length, offset)
        return data if data is not None else self._pread_slowly(length, offset)

    def _pread_slowly(self, length: int, offset: int) -> bytes:
        if length < 0 or offset < 0:
            raise ValueError(f"pread of {length} bytes at {offset}: neither may be negative")
        handle = self._handle
        # One that was bound has missed already.
        bound = handle.inode is not None
        there = handle.bind_local() or self._runner.bind_here(handle, offset, length)
        data = None if there is None or bound else handle.hit(length, offset)
        while data is None:
            data = self._runner.fetch(handle, offset, length)
            if data is None:
                data = handle.hit(length, offset)
        return data

    def preadinto(self, buffer: Buffer, offset: int) -> int:
        """Read at ``offset`` into ``buffer``."""
        view = memoryview(buffer).cast("B")
        count = self._handle.hit_into(view, offset)
        if count is not None:
            return count
        handle = self._handle
        bound = handle.inode is not None
        there = handle.bind_local() or self._runner.bind_here(handle, offset, len(view))
        count = None if there is None or bound else handle.hit_into(view, offset)
        while count is None:
            data = self._runner.fetch(handle, offset, len(view))
            if data is not None:
                view[: len(data)] = data
                return len(data)
            count = handle.hit_into(view, offset)
        return count

    def read(self, size: int | None = -1, /) -> bytes:
        """Up to ``size`` bytes from the position on (-1 or None: all)."""
        if size is None or size < 0:
            self.expect(self._position, None)
            return super().read(size)
        data = self.pread(size, self._position)
        self._position += len(data)
        return data

    def expect(self, start: int, length: int | None) -> None:
        """Say what will be read first, so that a cold extent is asked for in one request."""
        self._runner.expect(self._handle, start, length)

    @property
    def size(self) -> int:
        """The size of the version shown."""
        return self._runner.size(self._handle)

    @property
    def version(self) -> Version:
        """The version shown: validator, size, time of modification."""
        _ = self.size
        assert self._handle.inode is not None
        return self._handle.inode.version

    def view(self, offset: int, length: int) -> memoryview:
        """A view of cached bytes, of the version shown, as long as it is held.

        A private copy where they cannot be mapped (see ``docs/semantics.md``).
        """
        whole = self._whole
        if whole is not None and offset >= 0 <= length:
            # A slice ends with the resource, as a view does.
            return whole[offset : offset + length]
        return self._view_part(offset, length)

    def _view_part(self, offset: int, length: int) -> memoryview:
        if self._views is None:
            from netcache._client.views import Views

            self._views = Views(self._handle, self._runner)
        base, low, high = self._views.mapping.window
        end = offset + length
        if low <= offset <= end <= high:
            return base[offset:end]
        view = self._views.view(offset, length)
        self._whole = self._views.whole()
        return view

    def fileno(self) -> int:
        """A descriptor of the whole object's bytes, where all of them are cached.

        Its size is exactly the resource's; it is closed with the file.  A cached file whose last
        block is padded is copied for this (shared, where the filesystem can).
        """
        self._need_open()
        if self._descriptor < 0:
            size = self.size
            inode = self._handle.inode
            assert inode is not None
            if not inode.locate(0, size):
                raise io.UnsupportedOperation(f"{self.url} is not wholly cached")
            self._descriptor = whole_descriptor(inode.window[0], size)
        return self._descriptor

    def close(self) -> None:
        """Let the file go."""
        if not self._gone:
            if self._views is not None:
                self._views.mapping.close()
                self._whole = None
            self._handle.close()
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1
        super().close()


def whole_descriptor(source: int, size: int) -> int:
    """A descriptor with an own position over exactly the first ``size`` bytes of ``source``."""
    if os.fstat(source).st_size == size and os.path.exists("/proc/self/fd"):
        return os.open(f"/proc/self/fd/{source}", os.O_RDONLY | os.O_CLOEXEC)
    import tempfile

    from netcache._fscache.copying import copy_range

    with tempfile.TemporaryFile(buffering=0) as copy:
        copy_range(source, copy.fileno(), 0, size)
        return os.dup(copy.fileno())
