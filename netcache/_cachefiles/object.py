"""Cache objects: the bytes of one version of one resource, in one sparse file.

The invariants are in ``_core.label_rules``, checked by ``check_invariants``; what a finished write
records is decided by ``_core.collect``.  Threads and processes: ``labelled``.
"""

from __future__ import annotations

import contextlib
import errno
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from netcache._cachefiles.failures import told_as_cache_errors
from netcache._cachefiles.label_file import FILLS_BASE
from netcache._cachefiles.readable import ReadableObject
from netcache._core.checksums import block_sums
from netcache._core.content import COMPLETE, Content, WriteKind
from netcache._core.extent import round_down, round_up
from netcache._core.label import SUM_BYTES, Label, LabelError
from netcache.errors import CacheError

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from netcache._core.coherency import Version

_TAKES_NO_MORE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class CachefilesObject(ReadableObject):
    """An object that bytes from the server are filled into."""

    # Filling.

    def write_blocks(self, start: int, data: Buffer) -> None:
        """Write whole blocks without recording them; the last may end with the resource."""
        view = memoryview(data).cast("B")
        whole = round_down(len(view), self.block_size)
        end = start + len(view)
        if start < 0 or start % self.block_size or (whole < len(view) and end != self.size):
            raise CacheError(f"a write of [{start}, {end}) is not in whole blocks")
        if end > round_up(self.size, self.block_size):
            raise CacheError(f"a write of [{start}, {end}) ends past the resource")
        with (
            self._lock,
            told_as_cache_errors(self._bound, self._doubt_fill),
            self._growing(len(view)),
        ):
            self.fileno()
            self._pending.add(start, round_up(end, self.block_size))
            self._written.add(start // self._label.unit, block_sums(view, self._label.unit))
            if whole:
                self._ops.write_all(self._file.fd, view[:whole], start, in_steps=True)
            if whole < len(view):
                tail = bytes(view[whole:]).ljust(self.block_size, b"\0")
                self._ops.write_all(self._file.fd, tail, start + whole)

    def _growing(self, length: int) -> AbstractContextManager[None]:
        """No more than ``length`` bytes are written to the file inside the block."""
        if self._writer is None:
            self._writer = self._bound.room.writer()
        if self._writer.place is None:
            self._writer.place = self._bound.place(self.key)
        return self._writer.writing(length)

    def collect_write(self, kind: WriteKind, start: int, end: int) -> None:
        """Record a finished run by the decision table."""
        with self._lock, told_as_cache_errors(self._bound, self._doubt_record):
            backing = self._ops.stat(self.fileno()).st_size
            if start % self.block_size or end % self.block_size or backing % self.block_size:
                self.condemn()
                raise CacheError(
                    f"a run of [{start}, {end}) is not in whole blocks (object dropped)"
                )
            if kind is not WriteKind.DATA:
                # What a gap skipped may be cached since long; what was cancelled may be torn.
                if kind is WriteKind.CANCEL:
                    self._discard_run(start, min(end, backing))
                self._pending.remove(start, end)
                self._take_sums(start, end)
                return
            synced = self._sync_data()
            sums = self._take_sums(start, end)
            self._change(
                lambda label: self._recorded(
                    self._collected(label, kind, start, end, synced=synced), sums, synced=synced
                )
            )
            self._pending.remove(start, end)
            self._stored(sums)
            if synced:
                self._ops.fsync(self._file.fd)
            elif not self._modifying:
                self._bound.filled(self)

    def _sync_data(self) -> bool:
        """By the policy "commit", data is durable before a label promises it."""
        if not self._bound.sync_each or self._modifying:
            return False
        self._ops.fdatasync(self._file.fd)
        return True

    def _take_sums(self, start: int, end: int) -> list[tuple[int, bytes]]:
        unit = self._label.unit
        return self._written.take(start // unit, end // unit)

    def _recorded(self, label: Label, sums: list[tuple[int, bytes]], *, synced: bool) -> Label:
        """Put sums on record before the label that counts on them."""
        for first, run in sums:
            label = self._proof.sums.record(label, first, run)
        if synced:
            self._proof.sums.sync(label)
        return label

    def _stored(self, sums: list[tuple[int, bytes]]) -> None:
        """What we have just written and recorded needs no proof."""
        unit = self._label.unit
        for first, run in sums:
            self._proof.stored(first * unit, (first + len(run) // SUM_BYTES) * unit)

    def _collected(
        self, label: Label, kind: WriteKind, start: int, end: int, *, synced: bool
    ) -> Label:
        from netcache._core.collect import collect_write

        done = collect_write(
            kind, start, end, old=label.stored_end, size=label.version.size, content=label.content
        )
        if done.padding is not None:
            self._zero_padding(*done.padding)
        committed = label.committed
        if synced:
            committed = done.stored_end
        elif done.content is Content.BACKFS_MAP:
            committed = 0
        return label._replace(content=done.content, stored_end=done.stored_end, committed=committed)

    def _discard_run(self, start: int, end: int) -> None:
        """Blocks of a failed run that reached the file must not look like data.

        Under the lock of the label: what others have recorded as present from 0 on stays.  In a
        map they may be showing a block that they have stored too, the same bytes: those stay where
        they are, and only their record goes.
        """
        self._file.lock()
        try:
            self._refresh()
            if self._label.content in COMPLETE:
                start = max(start, self._label.stored_end)
            if start < end:
                # First the record: a block without one is not there, whatever is in it.
                unit, label = self._label.unit, self._label
                kept = self._proof.sums.forget(label, start // unit, -(-end // unit))
                if kept != label and not self._modifying:
                    kept = self._file.write(kept)
                self._label = kept
                self._proof.lost(start, end)
                self._unwrite_alone(start, end)
        finally:
            self._file.unlock()

    def _unwrite_alone(self, start: int, end: int) -> None:
        """Make blocks a hole unless somebody else has the object in use, or maps it."""
        if self._modifying:
            self._unwrite(start, end)
        elif self._file.claim():
            try:
                self._unwrite(start, end)
            finally:
                self._file.use()

    def _unwrite(self, start: int, end: int) -> None:
        """Make whole blocks a hole; without holes, a file that is being modified begins anew.

        Elsewhere they may stay: their record is gone, and others are reading from this file.
        """
        try:
            self._ops.punch_hole(self._file.fd, start, end - start)
        except OSError:
            if self._modifying:
                self.invalidate(self._label.version)
                self.begin_modify()

    def _cancel_pending(self) -> None:
        """What was written and never recorded must not be taken for data by the next opener."""
        try:
            backing = self._ops.stat(self._file.fd).st_size
            for run in list(self._pending):
                self._discard_run(run.start, min(run.end, backing))
        except (OSError, LabelError):
            with contextlib.suppress(OSError):
                self._file.condemn()
        self._pending.clear()

    def _zero_padding(self, start: int, end: int) -> None:
        """Zero the rest of the last stored block, unless it is a hole and must stay one."""
        block = end - self.block_size
        if self._label.content is Content.BACKFS_MAP:
            data = self._ops.seek_data(self._file.fd, block)
            if not 0 <= data < end:
                return
        self._zero(start, end)

    def _zero(self, start: int, end: int) -> None:
        """Zero part of a block (a whole one would become a hole)."""
        if start < end:
            self._ops.write_all(self._file.fd, bytes(end - start), start)

    def invalidate(self, version: Version) -> None:
        """Throw the content away and go on, empty, as ``version``."""
        raise NotImplementedError

    def begin_modify(self) -> None:
        """Make the label DIRTY, durably, before the first block changes in place."""
        raise NotImplementedError

    # Doubts.

    def _doubt_fill(self, error: OSError) -> None:
        """A full disk costs a fill only its own run, which is not recorded; the rest stays."""
        if self._modifying or error.errno not in _TAKES_NO_MORE:
            self._doubt(error)

    def _doubt_record(self, error: OSError) -> None:
        """A label is changed as a whole or not at all: a disk that takes no more keeps the old."""
        if error.errno not in _TAKES_NO_MORE:
            self._doubt(error)

    # Claims.

    def try_lock_extent(self, start: int, end: int) -> bool:
        """Claim ``[start, end)`` for a fill against other processes."""
        try:
            return self._ops.lock_range(self.fileno(), FILLS_BASE + start, max(1, end - start))
        except (OSError, OverflowError):
            return True

    def unlock_extent(self, start: int, end: int) -> None:
        """Give a claim back, also when the store is dead: others may be waiting for it."""
        if self._file.fd >= 0:
            with contextlib.suppress(OSError):
                self._ops.unlock_range(self._file.fd, FILLS_BASE + start, max(1, end - start))
