"""Cache objects: the bytes of one version of one resource, in one sparse file.

The invariants are those of the reference (5.1), checked by ``check_invariants``; what a finished
write records is decided by ``_core.collect``.  Reading, threads and processes: ``readable``.
"""

from __future__ import annotations

import contextlib
import errno
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from netcache._cachefiles.failures import told_as_cache_errors
from netcache._cachefiles.label_file import FILLS_BASE, LabelFile
from netcache._cachefiles.proof import Proof
from netcache._cachefiles.readable import ReadableObject
from netcache._cachefiles.sums import ObjectSums
from netcache._core.checksums import PendingSums, block_sums
from netcache._core.content import Content, WriteKind
from netcache._core.extent import round_down, round_up
from netcache._core.label import SUM_BYTES, Label, LabelError
from netcache.errors import CacheError

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from netcache._cachefiles.binding import Bound
    from netcache._cachefiles.writing import Writer
    from netcache._core.coherency import Version
    from netcache._core.keys import ObjectKey

USED_INTERVAL_S = 60.0
_TAKES_NO_MORE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class CachefilesObject(ReadableObject):
    """An object that bytes from the server are filled into."""

    def __init__(
        self,
        bound: Bound,
        key: ObjectKey,
        file: LabelFile,
        label: Label,
        sums: ObjectSums | None = None,
        *,
        writer: Writer | None = None,
    ) -> None:
        super().__init__(bound, key, file, label, sums)
        self._used_s: float = file.used_s
        # Who has just made an object has not used it again yet.
        self._counted_s = bound.clock() if writer is not None else 0.0
        # Made by the first write.
        self._writer = writer
        self._written_made: PendingSums | None = None
        self._condemned = False
        bound.objects.add(self)

    @property
    def _written(self) -> PendingSums:
        """The sums of what was written and not collected yet."""
        if self._written_made is None:
            self._written_made = PendingSums()
        return self._written_made

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
                self._ops.write_all(self._file.fd, view[:whole], start)
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
            if self._label.content in (Content.ALL, Content.SINGLE):
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
        """Make whole blocks a hole; without holes, begin anew with an empty file."""
        try:
            self._ops.punch_hole(self._file.fd, start, end - start)
        except OSError:
            modifying = self._modifying
            self.invalidate(self._label.version)
            if modifying:
                self.begin_modify()

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

    def swap(self, file: LabelFile, label: Label, sums: ObjectSums | None = None) -> None:
        """Go on with another backing file; the old one is closed."""
        sums = sums or ObjectSums(self._bound)
        try:
            file.use()
        except BaseException:
            sums.close()
            self._ops.close(file.fd)
            raise
        self._proof.close()
        self._proof = Proof(self._ops, file.fd, sums)
        self._written.clear()
        old, self._file = self._file, file
        self._label = label
        self._condemned = False
        self.inval_counter += 1
        self._ops.close(old.fd)

    # Doubts.

    def _doubt(self, error: OSError) -> None:
        """Something failed in the middle: nobody may believe the object any more."""
        self.condemn()

    def _doubt_fill(self, error: OSError) -> None:
        """A full disk costs a fill only its own run, which is not recorded; the rest stays."""
        if self._modifying or error.errno not in _TAKES_NO_MORE:
            self._doubt(error)

    def _doubt_record(self, error: OSError) -> None:
        """A label is changed as a whole or not at all: a disk that takes no more keeps the old."""
        if error.errno not in _TAKES_NO_MORE:
            self._doubt(error)

    @property
    def withdrawn(self) -> bool:
        """Whether nothing more can be kept here: the store died, or nobody believes the object."""
        return self._bound.dead or self._condemned

    def condemn(self) -> None:
        """Make the object stale: its label goes, and with it its content."""
        self._label = self._label._replace(content=Content.NO_DATA, stored_end=0, committed=0)
        self._condemned = True
        self._bound.forget(self)
        with self._bound.mappings.changing(self._bound.place(self.key), needed=False):
            self._file.condemn()

    # Claims, times, end.

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

    def mark_checked(self, when_s: float) -> None:
        """Record that the version was found current at the server."""
        with self._lock, told_as_cache_errors(self._bound):
            self.fileno()
            self._change(lambda label: label._replace(checked_ms=int(when_s * 1000)))

    def commit_fills(self) -> None:
        """Make filled data durable, then say so in the label; a later fill is not covered.

        The label says so only of what is present from 0 on.  A map has no length below which all
        of it is durable, and another process may be filling a hole of it at this moment: after a
        reboot its sums tell.
        """
        with self._lock, told_as_cache_errors(self._bound, self._doubt):
            self.fileno()
            self._refresh()
            covered = self._label.stored_end
            if self._label.content is Content.NO_DATA:
                return
            self._ops.fdatasync(self._file.fd)
            self._proof.sums.sync(self._label)
            if self._label.content is Content.BACKFS_MAP:
                return
            self._change(lambda label: _committed(label, covered))

    def mark_used(self) -> None:
        """Move to the recent end of the culling order, at most once a minute."""
        now_s = self._bound.clock()
        if abs(now_s - self._counted_s) >= USED_INTERVAL_S:
            self._counted_s = now_s
            self._bound.room.opened(self._bound.place(self.key), USED_INTERVAL_S)
        if abs(now_s - self._used_s) >= USED_INTERVAL_S:
            self._used_s = now_s
            with told_as_cache_errors(self._bound):
                self._ops.touch(self.fileno(), now_s)

    def close(self) -> None:
        """Let the object go.  Idempotent."""
        with self._lock:
            if self._file.fd >= 0 and self._pending and not self._modifying:
                self._cancel_pending()
            fd, self._file.fd = self._file.fd, -1
            if fd >= 0:
                self._bound.released(self)
                self._proof.sums.close()
                self._ops.close(fd)
                if self._writer is not None:
                    self._bound.room.closed(self._writer)
                if self._regions:
                    place = self._bound.place(self.key)
                    self._bound.room.used(place, times=0, regions=self._regions)

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

    def check_invariants(self) -> None:
        """INV-a to INV-k as far as one object can tell; raises ``InvariantError``."""
        from netcache._core.label_rules import check_label

        with self._lock:
            check_label(self._label, self._ops.stat(self.fileno()).st_size, self.block_size)


def _committed(label: Label, covered: int) -> Label:
    """The label once everything below ``covered`` is durable."""
    if label.content not in (Content.ALL, Content.SINGLE):
        return label._replace(committed=0)
    return label._replace(committed=max(label.committed, min(covered, label.stored_end)))
