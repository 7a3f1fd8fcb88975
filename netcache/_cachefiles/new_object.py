"""New objects: written front to back in private, then named; content ALL without a seek call."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from netcache._cachefiles.binding import Bound
from netcache._cachefiles.failures import told_as_cache_errors
from netcache._cachefiles.label_file import LabelFile
from netcache._cachefiles.modify import ModifiableObject
from netcache._cachefiles.proof import STEP_BYTES
from netcache._cachefiles.sum_table import remove_table
from netcache._cachefiles.sums import ObjectSums, SumWriter
from netcache._core.coherency import Version
from netcache._core.content import Content
from netcache._core.extent import round_up
from netcache._core.keys import ObjectKey
from netcache._core.label import Label
from netcache._fscache.buffers import page_buffer
from netcache.errors import CacheError

if TYPE_CHECKING:
    from typing_extensions import Buffer


GRANT_BYTES = 8 << 20
"""No more than this is asked for at a time, while a file is copied."""

COPY_BYTES = 1 << 20
"""What is in the hand of a file that is copied: it stays in the processor's cache."""


class CachefilesNewObject:
    """A private object; not thread-safe."""

    def __init__(self, bound: Bound, key: ObjectKey) -> None:
        self._bound = bound
        self._key = key
        self._size = 0
        # Whether blocks of other files may be shared; nobody knows before it is tried.
        self._shares = True
        # Where the file ends, when that is not where its data ends.
        self._file_end = 0
        self._writer = bound.room.writer()
        with told_as_cache_errors(bound):
            self._fd, self._private = bound.new_file(key)
            file = LabelFile(bound.ops, self._fd, bound.epoch, bound.block_size)
            try:
                self._binding = file.binding()
                self._sums = SumWriter(bound, self._binding)
            except BaseException:
                bound.discard_private(self._fd, self._private)
                raise
        bound.nameless.add(self)

    def _growing(self, length: int) -> AbstractContextManager[None]:
        """``length`` more bytes are written inside the block."""
        block, end = self._bound.block_size, self._size + length
        return self._writer.writing(round_up(end, block) - round_up(self._size, block))

    @property
    def size(self) -> int:
        """How many bytes were appended."""
        return self._size

    def fileno(self) -> int:
        """The descriptor of the backing file."""
        if self._fd < 0:
            raise CacheError("a private cache object was used after its end")
        return self._fd

    def write(self, data: Buffer) -> None:
        """Append ``data``."""
        view = memoryview(data).cast("B")
        with told_as_cache_errors(self._bound), self._growing(len(view)):
            self._bound.ops.write_all(self.fileno(), view, self._size)
            self._sums.add(view)
        self._size += len(view)

    def write_all(self, data: bytes) -> None:
        """Append ``data``, the last of it, filled up with zeros to a whole block: in one step."""
        if self._size % self._bound.block_size:
            self.write(data)
            return
        whole = data.ljust(round_up(len(data), self._bound.block_size), b"\0")
        with told_as_cache_errors(self._bound), self._growing(len(whole)):
            self._bound.ops.write_all(self.fileno(), whole, self._size)
            self._sums.add(data)
        self._file_end = self._size + len(whole)
        self._size += len(data)

    def copy_from(self, source: int, length: int) -> int:
        """Append ``length`` bytes of the file ``source`` from the place that ``size`` names.

        Returns how many there were.  Raises ``OSError`` when it is ``source`` that fails.
        """
        begin, stop = self._size, self._size + length
        while self._size < stop:
            end = min(stop, self._size + GRANT_BYTES)
            if not (self._shares and self._share(source, end)):
                self._shares = False
                if self._append(source, end) < end:
                    break
        return self._size - begin

    @property
    def shares(self) -> bool:
        """Whether ``copy_from`` may share blocks; False once it was tried in vain."""
        return self._shares

    def _share(self, source: int, end: int) -> bool:
        """Let the file have the blocks of ``source`` up to ``end``; False where it cannot."""
        buffer = page_buffer(min(STEP_BYTES, end - self._size))
        with told_as_cache_errors(self._bound), self._growing(end - self._size):
            if not self._bound.ops.clone_range(source, self.fileno(), self._size, end):
                return False
            # The copy is what counts: it is sent, and it is served later.
            for start in range(self._size, end, STEP_BYTES):
                view = buffer[: min(STEP_BYTES, end - start)]
                self._bound.ops.read_into(self.fileno(), view, start)
                self._sums.add(view)
        self._size = end
        return True

    def _append(self, source: int, end: int) -> int:
        """Append what ``source`` has up to ``end``; returns how far that is.

        By hand: the bytes pass through here for their sums anyway, and a kernel that has to copy
        them would only do so once more.
        """
        buffer = page_buffer(min(COPY_BYTES, end - self._size))
        while self._size < end:
            count = self._bound.ops.read_into(source, buffer[: end - self._size], self._size)
            if not count:
                break
            self.write(buffer[:count])
        return self._size

    def publish(self, version: Version, *, checked_s: float) -> ModifiableObject:
        """Give it its name and label; the object goes on with the same descriptor.

        After a ``CacheError`` it is as private as before, and still to be discarded.
        """
        with told_as_cache_errors(self._bound), self._growing(0):
            file, label, sums = self._name(version, checked_s)
            bound = self._bound
            made = ModifiableObject(bound, self._key, file, label, sums, writer=self._writer)
            made.believe()
            if not bound.sync_each:
                bound.filled(made)
            return made

    def publish_and_close(self, version: Version, *, checked_s: float) -> None:
        """``publish``, and let go of it at once; nobody makes it durable then."""
        with told_as_cache_errors(self._bound), self._growing(0):
            file, _, sums = self._name(version, checked_s)
            sums.close()
            self._bound.ops.close(file.fd)
        self._bound.room.closed(self._writer)

    def _name(self, version: Version, checked_s: float) -> tuple[LabelFile, Label, ObjectSums]:
        """Give it its name and label; the descriptor is the caller's from then on."""
        if version.size != self._size:
            raise CacheError(
                f"an object of {self._size} bytes cannot be a version of {version.size}"
            )
        bound, fd = self._bound, self.fileno()
        end = round_up(self._size, bound.block_size)
        if end != (self._file_end or self._size):
            bound.ops.truncate(fd, end)
        if bound.sync_each:
            bound.ops.fdatasync(fd)
        label = bound.empty_label(self._key, version, checked_s)._replace(
            content=Content.ALL if end else Content.NO_DATA,
            stored_end=end,
            committed=end if bound.sync_each else 0,
        )
        file = LabelFile(bound.ops, fd, bound.epoch, bound.block_size)
        label, sums = self._sums.finish(label._replace(binding=self._binding))
        try:
            # (A listing that is renewed is nobody's loss.)
            superseding = b"\0" not in self._key.name
            label = bound.publish(self._key, fd, self._private, label, superseding=superseding)
        except BaseException:
            sums.close()
            remove_table(bound.ops, bound.root, label.binding.inode)
            raise
        self._fd, self._private = -1, None
        bound.nameless.discard(self)
        self._writer.place = bound.place(self._key)
        return file, label, sums

    def discard(self) -> None:
        """Throw it away.  Idempotent, also after ``publish``."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            self._bound.nameless.discard(self)
            try:
                self._sums.discard()
                self._bound.discard_private(fd, self._private)
            finally:
                self._writer.close()


def publish_whole(
    bound: Bound, key: ObjectKey, version: Version, data: bytes, *, checked_s: float
) -> None:
    """Make ``data`` the object of ``version``, whatever that takes; see ``whole_object``."""
    new = CachefilesNewObject(bound, key)
    try:
        new.write_all(data)
        new.publish_and_close(version, checked_s=checked_s)
    finally:
        new.discard()
