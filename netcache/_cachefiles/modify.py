"""Local modification of cache objects: the rows of the transition table (reference 5.3).

Between ``begin_modify`` and ``commit`` the label on disk says DIRTY, durably before the first block
changes in place; the true state is in memory only.  A crash in between costs the object.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from netcache._cachefiles.failures import told_as_cache_errors
from netcache._cachefiles.label_file import LabelFile
from netcache._cachefiles.lease import lease
from netcache._cachefiles.object import CachefilesObject
from netcache._core.coherency import Version
from netcache._core.content import Content, WriteKind
from netcache._core.extent import Extent, round_down, round_up
from netcache._fscache.ports import FillGap
from netcache.errors import CacheError

if TYPE_CHECKING:
    from typing_extensions import Buffer


class ModifiableObject(CachefilesObject):
    """A cache object that can also be changed locally."""

    def begin_modify(self) -> None:
        """Make the label DIRTY, durably, before the first block changes in place."""
        with self._lock, told_as_cache_errors(self._bound, self._doubt):
            self.fileno()
            if self._modifying:
                return
            self._refresh()
            clean = self._label
            self._bound.forget(self)
            if self._file.claim():
                # Nobody can open it before the label says DIRTY.
                self._file.lock()
                try:
                    with self._mapping_changes():
                        self._file.write(clean._replace(content=Content.DIRTY))
                finally:
                    self._file.unlock()
                    self._file.use()
                self._ops.fsync(self._file.fd)
            else:
                # Others show the old version from the file, perhaps through maps: it is theirs.
                self._copy_out(self.stored_end)
            self._modifying = True

    def write(self, start: int, data: Buffer, fill: FillGap) -> None:
        """Write ``data`` at ``start`` and collect it, rounded out to whole blocks."""
        view = memoryview(data).cast("B")
        if not len(view):
            return
        with self._lock, told_as_cache_errors(self._bound, self._doubt):
            self._need_modifying()
            block, end = self.block_size, start + len(view)
            low, high = round_down(start, block), round_up(end, block)
            size = max(self.size, end)
            head = self._gap(low, start, fill)
            tail = self._gap(end, min(high, size), fill) if end < size else b""
            zeros = bytes(high - end - len(tail))
            self._ops.write_all(self._file.fd, b"".join((head, view, tail, zeros)), low)
            self._collect(low, high)
            self._resize(size)

    def _gap(self, start: int, end: int, fill: FillGap) -> bytes:
        """Real bytes of part of a block: cached ones, zeros past ``S``, or else asked for."""
        if start >= end:
            return b""
        known_end = min(end, self.size)
        if start >= known_end:
            return bytes(end - start)
        if self._cached(start, known_end):
            buffer = bytearray(known_end - start)
            if self.read_into(start, buffer) != len(buffer):
                raise CacheError("a cached block could not be read")
            real = bytes(buffer)
        else:
            real = fill(Extent(start, known_end))
            if len(real) != known_end - start:
                raise CacheError(f"{len(real)} bytes were given for {Extent(start, known_end)}")
        return real + bytes(end - known_end)

    def _cached(self, start: int, end: int) -> bool:
        return any(
            found.start <= start and end <= found.end for found in self.query_occupancy(start, end)
        )

    def _collect(self, low: int, high: int) -> None:
        self._label = self._collected(self._label, WriteKind.DATA, low, high, synced=False)

    def _resize(self, size: int) -> None:
        version = self._label.version._replace(size=size)
        self._label = self._label._replace(version=version)

    def truncate(self, size: int) -> None:
        """Make the resource ``size`` bytes long, shorter or longer."""
        with self._lock, told_as_cache_errors(self._bound, self._doubt):
            self._need_modifying()
            if size > self.size:
                if self.size < self.stored_end:
                    self._zero_padding(self.size, self.stored_end)
            elif size < self._ops.stat(self._file.fd).st_size:
                self._cut(size)
            self._resize(size)

    def _cut(self, size: int) -> None:
        """Shrink the file; a block that is cut keeps its head only if it was cached."""
        end = min(round_up(size, self.block_size), self.stored_end)
        if size < end and not self._cached(size, min(end, self.size)):
            # The block that is cut was a hole: zeroing its tail would make it look cached.
            end -= self.block_size
        if not self._file.alone():
            self._copy_out(end)
        self._ops.truncate(self._file.fd, end)
        self._zero(min(size, end), end)
        stored_end = min(self.stored_end, end)
        self._label = self._label._replace(
            stored_end=stored_end,
            content=self._label.content if stored_end else Content.NO_DATA,
            committed=0,
        )

    def _copy_out(self, end: int) -> None:
        """Others have the file open, perhaps mapped: it is not shrunk, we go on with a copy."""
        label, kept = self._label, [extent.clip(0, end) for extent in self.extents()]
        old = self._file.fd
        fd, private = self._bound.new_file(self.key)
        for extent in kept:
            for start in range(extent.start, extent.end, 1 << 20):
                buffer = bytearray(min(1 << 20, round_up(extent.end, self.block_size) - start))
                count = self._ops.read_into(old, buffer, start)
                self._ops.write_all(fd, memoryview(buffer)[:count], start)
        self._ops.truncate(fd, end)
        file = LabelFile(self._ops, fd, self._bound.epoch, self.block_size)
        dirty = label._replace(content=Content.DIRTY, binding=file.binding())
        inode = self._ops.stat(old).st_ino
        written = self._bound.publish(self.key, fd, private, dirty, instead_of=inode)
        self._ops.fsync(fd)
        self.swap(file, label._replace(binding=written.binding, generation=written.generation))

    def invalidate(self, version: Version) -> None:
        """Throw the content away and go on, empty, as ``version``."""
        with self._lock, told_as_cache_errors(self._bound):
            self.fileno()
            self._bound.forget(self)
            self._modifying = False
            self._pending.clear()
            self._bound.replace(self, version)

    def commit(self, version: Version) -> None:
        """Make data durable, then the clean label of ``version`` (reference 5.6 point 3)."""
        with self._lock, told_as_cache_errors(self._bound, self._doubt):
            self.fileno()
            if version.size != self.size:
                raise CacheError(
                    f"a commit of {version.size} bytes for an object of {self.size} bytes"
                )
            self._ops.fdatasync(self._file.fd)
            self._file.lock()
            try:
                if not self._modifying:
                    self._refresh()
                content = self._label.content
                clean = self._label._replace(
                    version=version,
                    committed=0 if content is Content.BACKFS_MAP else self._label.stored_end,
                    epoch=self._bound.epoch,
                    generation=self._file.read().generation,
                )
                with self._mapping_changes():
                    self._label = self._file.write(clean)
            finally:
                self._file.unlock()
            self._ops.fsync(self._file.fd)
            self._modifying = False

    def _mapping_changes(self) -> AbstractContextManager[None]:
        return self._bound.mappings.changing(self._bound.place(self.key))

    def lease(self, descriptor: int) -> int:
        """Open the backing file once more, to be mapped; see ``CacheObject``."""
        with self._lock, told_as_cache_errors(self._bound):
            if descriptor != self.fileno() or self._modifying:
                raise CacheError("a cache object is being changed, and cannot be mapped")
            return lease(self._bound, descriptor, self.key.name)

    def _need_modifying(self) -> None:
        self.fileno()
        if not self._modifying:
            raise CacheError("a local write to an object without begin_modify")
