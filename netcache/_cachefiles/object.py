"""Cache objects: the bytes of one version of one resource, in one sparse file.

The invariants are those of the reference (5.1), checked by ``check_invariants``; what a finished
write records is decided by ``_core.collect``.

Threads: ``_lock`` guards everything but ``fileno`` and the properties, which read one attribute.
Processes: see ``label_file``.
"""

from __future__ import annotations

import contextlib
import errno
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from netcache._cachefiles.failures import told_as_cache_errors
from netcache._cachefiles.label_file import FILLS_BASE, LabelFile
from netcache._core.coherency import Version
from netcache._core.collect import collect_write
from netcache._core.content import Content, Occupancy, WriteKind
from netcache._core.extent import Extent, ExtentSet, round_down, round_up
from netcache._core.label import Label, LabelError
from netcache._core.label_rules import check_label
from netcache._fscache.ports import CachedExtent, ObjectKey
from netcache.errors import CacheError

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from netcache._cachefiles.binding import Bound

USED_INTERVAL_S = 60.0


class CachefilesObject:
    """An open object; ``_label`` is what this process knows, possibly behind the disk.

    It owns the descriptor of ``file`` from the first moment, also when the constructor fails.
    """

    def __init__(self, bound: Bound, key: ObjectKey, file: LabelFile, label: Label) -> None:
        self.key = key
        self.block_size = bound.block_size
        self.inval_counter = 0
        self._bound = bound
        self._ops = bound.ops
        self._file = file
        self._label = label
        self._modifying = False
        self._used_s = 0.0
        # Written and not collected yet: nothing of it may be read.
        self._pending = ExtentSet()
        self._lock = threading.RLock()
        try:
            file.use()
        except BaseException:
            bound.ops.close(file.fd)
            raise
        bound.objects.add(self)

    # What is known without asking.

    @property
    def version(self) -> Version:
        """The version whose bytes the object holds."""
        return self._label.version

    @property
    def content(self) -> Content:
        """The content state as far as this process knows it."""
        return self._label.content

    @property
    def size(self) -> int:
        """``S``: the size of the resource."""
        return self._label.version.size

    @property
    def stored_end(self) -> int:
        """``L``: nothing at or past it may be read."""
        return self._label.stored_end

    @property
    def checked_s(self) -> float:
        """When the version was last found current (wall clock), 0.0 for never."""
        return self._label.checked_ms / 1000

    def fileno(self) -> int:
        """The descriptor of the backing file."""
        if self._file.fd < 0:
            raise CacheError("a cache object was used after it was closed")
        return self._file.fd

    # Reading.

    def query_occupancy(self, start: int, end: int) -> tuple[CachedExtent, ...]:
        """Up to two cached extents that meet ``[start, end)``; no seek for ALL and SINGLE."""
        with self._lock, told_as_cache_errors(self._bound):
            self.fileno()
            self._refresh()
            limit = min(self._label.stored_end, self.size)
            if start >= min(end, limit) or self._label.content is Content.NO_DATA:
                return ()
            if self._label.content in (Content.ALL, Content.SINGLE):
                return (CachedExtent(0, limit, Occupancy.DATA),)
            found = []
            for low, high in self._data_extents(start, min(end, limit), limit):
                found.append(CachedExtent(low, high, Occupancy.DATA))
                if len(found) == 2:
                    break
            return tuple(found)

    def _data_extents(self, start: int, end: int, limit: int) -> Iterator[Extent]:
        """What the filesystem calls data, rounded in to whole blocks (the last ends with ``S``)."""
        position = round_down(start, self.block_size)
        while position < end:
            data = self._ops.seek_data(self._file.fd, position)
            if data < 0 or data >= end:
                return
            hole = self._ops.seek_hole(self._file.fd, data)
            position = max(hole, data + 1)
            low = round_up(data, self.block_size)
            high = min(round_down(hole, self.block_size), limit)
            yield from self._pending.missing(low, high)

    def extents(self) -> Iterator[Extent]:
        """All cached extents, in order, clipped to ``S``."""
        position = 0
        while position < self.size:
            answer = self.query_occupancy(position, self.size)
            if not answer:
                return
            for extent in answer:
                yield Extent(extent.start, extent.end)
            position = answer[-1].end

    def read_into(self, start: int, buffer: Buffer) -> int:
        """Read cached bytes at ``start``, clamped at ``S`` and ``L``."""
        fd = self.fileno()
        view = memoryview(buffer).cast("B")
        length = min(len(view), self.size - start, self._label.stored_end - start)
        if length <= 0 or start < 0:
            return 0
        with told_as_cache_errors(self._bound):
            return self._ops.read_into(fd, view[:length], start)

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
        with self._lock, told_as_cache_errors(self._bound, self._doubt_fill):
            self.fileno()
            self._pending.add(start, round_up(end, self.block_size))
            if whole:
                self._ops.write_all(self._file.fd, view[:whole], start)
            if whole < len(view):
                tail = bytes(view[whole:]).ljust(self.block_size, b"\0")
                self._ops.write_all(self._file.fd, tail, start + whole)

    def collect_write(self, kind: WriteKind, start: int, end: int) -> None:
        """Record a finished run by the decision table."""
        with self._lock, told_as_cache_errors(self._bound, self._doubt):
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
                return
            synced = self._sync_data()
            self._change(lambda label: self._collected(label, kind, start, end, synced=synced))
            self._pending.remove(start, end)
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

    def _collected(
        self, label: Label, kind: WriteKind, start: int, end: int, *, synced: bool
    ) -> Label:
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

        Under the lock of the label: what others have recorded as present from 0 on stays.
        """
        self._file.lock()
        try:
            self._refresh()
            if self._label.content in (Content.ALL, Content.SINGLE):
                start = max(start, self._label.stored_end)
            if start < end:
                self._unwrite(start, end)
        finally:
            self._file.unlock()

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

    def swap(self, file: LabelFile, label: Label) -> None:
        """Go on with another backing file; the old one is closed."""
        try:
            file.use()
        except BaseException:
            self._ops.close(file.fd)
            raise
        old, self._file = self._file, file
        self._label = label
        self.inval_counter += 1
        self._ops.close(old.fd)

    # The label.

    def _change(self, change: object) -> None:
        """Read the label again under its lock, change it, write it.

        While the object is being modified the label on disk stays DIRTY, and only ours changes.
        """
        assert callable(change)
        if self._modifying:
            self._label = change(self._label)
            return
        self._file.lock()
        try:
            self._refresh()
            changed = change(self._label)
            if changed != self._label:
                self._label = self._file.write(changed)
        finally:
            self._file.unlock()

    def _refresh(self) -> None:
        """Learn what other processes have recorded since."""
        if not self._modifying:
            label = self._file.read()
            if label.content is Content.DIRTY:
                label = label._replace(content=Content.NO_DATA, stored_end=0)
            self._label = label

    def _doubt(self, error: OSError) -> None:
        """Something failed in the middle: nobody may believe the object any more."""
        self.condemn()

    def _doubt_fill(self, error: OSError) -> None:
        """A full disk costs a fill only its own run, which is not recorded; the rest stays."""
        if self._modifying or error.errno not in (errno.ENOSPC, errno.EDQUOT):
            self._doubt(error)

    def condemn(self) -> None:
        """Make the object stale: its label goes, and with it its content."""
        self._label = self._label._replace(content=Content.NO_DATA, stored_end=0, committed=0)
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
        """Give a claim back."""
        if self._file.fd >= 0:
            with told_as_cache_errors(self._bound):
                self._ops.unlock_range(self._file.fd, FILLS_BASE + start, max(1, end - start))

    def mark_checked(self, when_s: float) -> None:
        """Record that the version was found current at the server."""
        with self._lock, told_as_cache_errors(self._bound):
            self.fileno()
            self._change(lambda label: label._replace(checked_ms=int(when_s * 1000)))

    def commit_fills(self) -> None:
        """Make filled data durable, then say so in the label; a later fill is not covered.

        Only for what is present from 0 on.  A map has no length below which all of it is durable,
        and another process may be filling a hole of it at this moment.
        """
        with self._lock, told_as_cache_errors(self._bound):
            self.fileno()
            self._refresh()
            covered = self._label.stored_end
            if self._label.content not in (Content.ALL, Content.SINGLE):
                return
            self._ops.fdatasync(self._file.fd)
            self._change(lambda label: _committed(label, covered))

    def reuse(self) -> None:
        """Mark the object as in use again, after its use was tried exclusively."""
        self._file.use()

    def mark_used(self) -> None:
        """Move to the recent end of the culling order, at most once a minute."""
        now_s = self._bound.clock()
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
                self._ops.close(fd)

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
        with self._lock:
            check_label(self._label, self._ops.stat(self.fileno()).st_size, self.block_size)


def _committed(label: Label, covered: int) -> Label:
    """The label once everything below ``covered`` is durable."""
    if label.content not in (Content.ALL, Content.SINGLE):
        return label._replace(committed=0)
    return label._replace(committed=max(label.committed, min(covered, label.stored_end)))
