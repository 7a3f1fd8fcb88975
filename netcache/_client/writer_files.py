"""Files of the synchronous face that are open for writing."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

from netcache._client.files import File

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from netcache._client.async_edit import AsyncEditFile
    from netcache._client.async_files import AsyncFile
    from netcache._client.runner import Runner

WRITE_BUFFER_BYTES = 1 << 20


class StreamFile(File):
    """A file written front to back (``wb``, ``xb``), over its asynchronous twin.

    Small writes are gathered up to 1 MiB before they cross to the client's loop.
    """

    def __init__(self, inner: AsyncFile, runner: Runner) -> None:
        super().__init__(inner.url, inner.mode)
        self._inner = inner
        self._runner = runner
        self._gathered = bytearray()

    def write(self, data: Buffer, /) -> int:
        """Append."""
        self._need_open()
        view = memoryview(data).cast("B")
        self._gathered += view
        self._position += len(view)
        if len(self._gathered) >= WRITE_BUFFER_BYTES:
            self._flush_gathered()
        return len(view)

    def pwrite(
        self, data: Buffer, offset: int, *, dsync: bool = False, atomic: bool = False
    ) -> int:
        """Write all of ``data`` at ``offset``, which must be the end."""
        self._need_open()
        self._flush_gathered()
        count = self._runner.run(
            self._inner.pwrite(memoryview(data), offset, dsync=dsync, atomic=atomic)
        )
        self._position = max(self._position, offset + count)
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Only to where the position is."""
        before = self._position
        if super().seek(offset, whence) != before:
            self._position = before
            raise io.UnsupportedOperation(f"{self.url} is written front to back (use 'w+b')")
        return self._position

    def truncate(self, size: int | None = None, /) -> int:
        """Not for a stream."""
        self._need_open()
        return self._runner.run(self._inner.truncate(self._position if size is None else size))

    def fsync(self) -> None:
        """Not for a stream: the server has nothing of it before ``close``."""
        self._need_open()
        self._runner.run(self._inner.fsync())

    @property
    def size(self) -> int:
        """How much was written."""
        self._need_open()
        return self._position

    def close(self) -> None:
        """Return when the server has it all; raises what prevented it."""
        if self._gone:
            return
        try:
            self._flush_gathered()
            self._runner.run(self._inner.close())
        except BaseException:
            self.abort()
            raise
        super().close()

    def abort(self) -> None:
        """Publish nothing."""
        if not self._gone:
            self._gone = True
            self._gathered.clear()
            self._runner.run(self._inner.abort())
        super().close()

    def _flush_gathered(self) -> None:
        if self._gathered:
            data, self._gathered = bytes(self._gathered), bytearray()
            self._runner.run(self._inner.write(data))


class EditFile(File):
    """A file open for editing (``r+b``, ``ab``, ``w+b``), over its asynchronous twin.

    A read or write for which nothing of the server is needed is done on the caller's thread.
    """

    def __init__(self, inner: AsyncEditFile, runner: Runner) -> None:
        super().__init__(inner.url, inner.mode)
        self._inner = inner
        self._handle = inner.handle
        self._runner = runner

    def pread(self, length: int, offset: int) -> bytes:
        """Read what the file holds now, unsent changes included."""
        return self._runner.run(self._inner.pread(length, offset))

    def preadinto(self, buffer: Buffer, offset: int) -> int:
        """Read into ``buffer``."""
        view = memoryview(buffer).cast("B")
        count = self._handle.try_read_into(view, offset)
        return count if count is not None else self._runner.run(self._inner.preadinto(view, offset))

    def view(self, offset: int, length: int) -> memoryview:
        """A copy: the bytes of a file being edited do not stand still."""
        return self._runner.run(self._inner.view(offset, length))

    def pwrite(
        self, data: Buffer, offset: int, *, dsync: bool = False, atomic: bool = False
    ) -> int:
        """Write all of ``data`` at ``offset``; a gap before it reads as zeros."""
        view = memoryview(data).cast("B")
        if dsync or atomic or not self._handle.try_write(view, offset):
            self._runner.run(self._inner.pwrite(view, offset, dsync=dsync, atomic=atomic))
        return len(view)

    def truncate(self, size: int | None = None, /) -> int:
        """Make the file ``size`` bytes long (None: up to the position); returns the size."""
        return self._runner.run(self._inner.truncate(self._position if size is None else size))

    def fsync(self) -> None:
        """Return when the server has everything written so far."""
        self._runner.run(self._inner.fsync())

    def flush(self) -> None:
        """With ``durability="journal"``: return when what was written survives this process."""
        if not self._gone and self._handle.file.entry is not None:
            self._runner.run(self._inner.flush())

    @property
    def size(self) -> int:
        """The size as edited."""
        return self._handle.size

    def save_as(self, path: str | os.PathLike[str], *, changes_only: bool = False) -> int:
        """Save the file as edited to the local file ``path``; returns its size.

        For what cannot be sent: after a ``ConflictError``, also of ``close``.  ``changes_only``
        leaves holes where nothing was changed.  Raises ``StaleError`` when unchanged bytes are
        needed that neither the cache nor the server has any more.
        """
        return self._runner.run(self._inner.save_as(path, changes_only=changes_only))

    def close(self) -> None:
        """Return when the server has it all; raises what prevented it."""
        if not self._gone:
            super().close()
            self._runner.run(self._inner.close())

    def abort(self) -> None:
        """Send nothing more, and throw away what is unsent."""
        super().close()
        self._runner.run(self._inner.abort())
