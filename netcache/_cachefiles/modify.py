"""Local modification of cache objects: how their label, their size and their blocks change.

Between ``begin_modify`` and ``commit`` the label on disk says DIRTY, durably before the first block
changes in place; the true state is in memory only.  A crash in between costs the object.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from netcache._cachefiles.failures import told_as_cache_errors
from netcache._cachefiles.label_file import LabelFile
from netcache._cachefiles.object import CachefilesObject
from netcache._cachefiles.sums import ObjectSums
from netcache._core.checksums import block_sums
from netcache._core.content import Content, WriteKind
from netcache._core.extent import Extent, round_down, round_up
from netcache.errors import CacheError

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from netcache._core.coherency import Version
    from netcache._core.label import Label
    from netcache._fscache.ports import FillGap

_COPY_BYTES = 1 << 20


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
        block, end = self.block_size, start + len(view)
        low, high = round_down(start, block), round_up(end, block)
        with (
            self._lock,
            told_as_cache_errors(self._bound, self._doubt),
            self._growing(high - low),
        ):
            self._need_modifying()
            size = max(self.size, end)
            head = self._gap(low, start, fill)
            tail = self._gap(end, min(high, size), fill) if end < size else b""
            zeros = bytes(high - end - len(tail))
            whole = b"".join((head, view, tail, zeros))
            self._ops.write_all(self._file.fd, whole, low)
            self._collect(low, high)
            self._resize(size)
            self._record_whole(low, whole)

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
        """Whether ``[start, end)`` is there, and sound: what is carried on gets a new sum."""
        return any(
            found.start <= start and end <= found.end for found in self.query_occupancy(start, end)
        ) and self.is_sound(start, end)

    def _collect(self, low: int, high: int) -> None:
        self._label = self._collected(self._label, WriteKind.DATA, low, high, synced=False)

    def _record_whole(self, start: int, blocks: bytes) -> None:
        """The sums of blocks that were changed; the label on disk is DIRTY meanwhile."""
        unit = self._label.unit
        sums = [(start // unit, block_sums(blocks, unit))]
        self._label = self._recorded(self._label, sums, synced=False)
        self._stored(sums)

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
        old_end = self.stored_end
        end = min(round_up(size, self.block_size), old_end)
        if size < end and not self._cached(size, min(end, self.size)):
            # The block that is cut was a hole: zeroing its tail would make it look cached.
            end -= self.block_size
        if not self._file.alone():
            self._copy_out(end)
        self._ops.truncate(self._file.fd, end)
        self._label = self._proof.sums.cut(self._label, end // self._label.unit)
        self._proof.lost(end, old_end)
        if size < end:
            self._zero(size, end)
            block = bytearray(self.block_size)
            self._ops.read_into(self._file.fd, block, end - self.block_size)
            self._record_whole(end - self.block_size, bytes(block))
        stored_end = min(self.stored_end, end)
        self._label = self._label._replace(
            stored_end=stored_end,
            content=self._label.content if stored_end else Content.NO_DATA,
            committed=0,
        )

    def _copy_out(self, end: int) -> None:
        """Others have the file open, perhaps mapped: it is not shrunk, we go on with a copy."""
        kept = [extent.clip(0, end) for extent in self.extents()]
        with self._growing(sum(extent.length + self.block_size for extent in kept)):
            self._copy_kept(kept, end)

    def _copy_kept(self, kept: list[Extent], end: int) -> None:
        label, old = self._label, self._file.fd
        fd, private = self._bound.new_file(self.key)
        sums = ObjectSums(self._bound)
        try:
            file = LabelFile(self._ops, fd, self._bound.epoch, self.block_size)
            label = label._replace(binding=file.binding(), table=0, sums=b"")
            for extent in kept:
                label = self._copy_extent(extent, fd, label, sums)
            self._ops.truncate(fd, end)
            inode = self._ops.stat(old).st_ino
            dirty = label._replace(content=Content.DIRTY)
            dirty = self._bound.publish(self.key, fd, private, dirty, instead_of=inode)
            self._ops.fsync(fd)
        except BaseException:
            sums.close()
            self._ops.close(fd)
            raise
        self.swap(file, label._replace(generation=dirty.generation), sums)

    def _copy_extent(self, extent: Extent, fd: int, label: Label, sums: ObjectSums) -> Label:
        """Copy blocks as they are, with the sums that they had: damage stays damage."""
        unit, old = label.unit, self._file.fd
        for start in range(extent.start, round_up(extent.end, self.block_size), _COPY_BYTES):
            stop = min(start + _COPY_BYTES, round_up(extent.end, self.block_size))
            buffer = bytearray(stop - start)
            count = self._ops.read_into(old, buffer, start)
            self._ops.write_all(fd, memoryview(buffer)[:count], start)
            first, last = start // unit, stop // unit
            label = sums.record(label, first, self._proof.sums.read(self._label, first, last))
        return label

    def invalidate(self, version: Version) -> None:
        """Throw the content away and go on, empty, as ``version``."""
        with self._lock, told_as_cache_errors(self._bound):
            self.fileno()
            self._bound.forget(self)
            self._modifying = False
            self._pending.clear()
            self._bound.replace(self, version)

    def carry_over(self, was: Version, version: Version, *, checked_s: float) -> bool:
        """Let the bytes of ``was`` count as those of ``version``, which has the same ones.

        The label changes as a whole or not at all, and is true before and after: nothing has to be
        durable first, nobody has to be alone, and who still fills the object under ``was`` brings
        the same bytes.
        """
        if version.size != was.size:
            raise CacheError(f"bytes of {was.size} cannot be carried over to {version.size}")
        checked_ms = int(checked_s * 1000)

        def carried(label: Label) -> Label:
            known = label.version == was or any(map(label.version.same_as, (was, version)))
            if not known or label.content is Content.NO_DATA:
                return label
            return label._replace(version=version, checked_ms=checked_ms)

        with self._lock, told_as_cache_errors(self._bound):
            self.fileno()
            if self._modifying:
                return False
            with self._mapping_changes():
                self._change(carried)
            label = self._label
            return label.version == version and label.content is not Content.NO_DATA

    def commit(self, version: Version) -> None:
        """Make data durable, then the clean label of ``version``."""
        with self._lock, told_as_cache_errors(self._bound, self._doubt):
            self.fileno()
            if version.size != self.size:
                raise CacheError(
                    f"a commit of {version.size} bytes for an object of {self.size} bytes"
                )
            self._ops.fdatasync(self._file.fd)
            self._proof.sums.sync(self._label)
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
            from netcache._cachefiles.lease import lease

            return lease(self._bound, descriptor, self.key.name)

    def _need_modifying(self) -> None:
        self.fileno()
        if not self._modifying:
            raise CacheError("a local write to an object without begin_modify")
