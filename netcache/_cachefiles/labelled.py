"""Labelled objects: a backing file, its label as this process knows it, and what becomes of them.

What can be read of one is in ``readable``, how it is filled in ``object``, how it is changed in
``modify``: each is built on the one before.

Threads: ``_lock`` guards everything but ``fileno`` and the properties, which read one attribute.
Processes: see ``label_file``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from netcache._cachefiles.failures import told_as_cache_errors
from netcache._cachefiles.proof import Proof
from netcache._cachefiles.sums import ObjectSums
from netcache._core.checksums import PendingSums
from netcache._core.content import COMPLETE, Content
from netcache._core.extent import ExtentSet
from netcache._core.verifying import Verify
from netcache.errors import CacheError

if TYPE_CHECKING:
    from netcache._cachefiles.binding import Bound
    from netcache._cachefiles.label_file import LabelFile
    from netcache._cachefiles.writing import Writer
    from netcache._core.coherency import Version
    from netcache._core.keys import ObjectKey
    from netcache._core.label import Label

USED_INTERVAL_S = 60.0


class LabelledObject:
    """An open object; ``_label`` is what this process knows, possibly behind the disk.

    It owns the descriptor of ``file`` and ``sums`` from the first moment, also when the
    constructor fails.
    """

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
        self.key = key
        self.block_size = bound.block_size
        self.inval_counter = 0
        self._bound = bound
        self._ops = bound.ops
        self._file = file
        self._label = label
        self._modifying = False
        self._condemned = False
        # Made by the first write.
        self._writer = writer
        self._pending_made: ExtentSet | None = None
        self._written_made: PendingSums | None = None
        self._lock = threading.RLock()
        # Which regions of a large object were read, for culling it in parts.
        self._regions = 0
        self._proof = Proof(bound.ops, file.fd, sums or ObjectSums(bound))
        try:
            if not file.in_use:
                file.use()
            if label.table and (self.proves or label.content not in COMPLETE):
                # Now, for its name goes when another object replaces this one.
                self._proof.sums.table(label)
        except BaseException:
            self._proof.close()
            bound.ops.close(file.fd)
            raise
        self._used_s: float = file.used_s
        # Who has just made an object has not used it again yet.
        self._counted_s = bound.clock() if writer is not None else 0.0
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

    @property
    def proves(self) -> bool:
        """Whether ``prove`` compares anything with its sums."""
        return self._bound.verify is not Verify.NONE or self._label.doubtful

    @property
    def proves_each_read(self) -> bool:
        """Whether what was proven once has to be proven again for the next read."""
        return self._bound.verify is Verify.READ

    def fileno(self) -> int:
        """The descriptor of the backing file."""
        if self._file.fd < 0:
            raise CacheError("a cache object was used after it was closed")
        return self._file.fd

    @property
    def _pending(self) -> ExtentSet:
        """What was written and not collected yet: nothing of it may be read."""
        if self._pending_made is None:
            self._pending_made = ExtentSet()
        return self._pending_made

    @property
    def _written(self) -> PendingSums:
        """The sums of what was written and not collected yet."""
        if self._written_made is None:
            self._written_made = PendingSums()
        return self._written_made

    # The label.

    def _change(self, change: Callable[[Label], Label]) -> None:
        """Read the label again under its lock, change it, write it.

        While the object is being modified the label on disk stays DIRTY, and only ours changes.
        """
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

    def _learn(self) -> None:
        """Learn what other processes have recorded since.

        Of an object that is complete they can record no more, only less where they found damage,
        and who compares finds that too.
        """
        label = self._label
        complete = label.content in COMPLETE and label.stored_end >= label.version.size
        if not complete or not self.proves:
            self._refresh()

    def _refresh(self) -> None:
        """The label is what is on disk now."""
        if not self._modifying:
            label = self._file.read()
            if label.content is Content.DIRTY:
                label = label._replace(content=Content.NO_DATA, stored_end=0)
            self._saw_growth(self._label, label)
            self._label = label

    def _saw_growth(self, before: Label, after: Label) -> None:
        """What others stored and recorded since we opened the object is believed like our own."""
        grown = after.stored_end > before.stored_end and not after.doubtful
        if grown and before.content in COMPLETE and after.content in COMPLETE:
            self._proof.stored(before.stored_end, after.stored_end)

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

    # Doubts.

    def _doubt(self, error: OSError) -> None:
        """Something failed in the middle: nobody may believe the object any more."""
        self.condemn()

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

    # Times, another file, the end.

    def mark_used(self) -> None:
        """Move to the recent end of the culling order, at most once a minute."""
        bound = self._bound
        now_s = bound.clock()
        if abs(now_s - self._counted_s) >= USED_INTERVAL_S:
            self._counted_s = now_s
            bound.room.opened(bound.place(self.key), now_s, USED_INTERVAL_S)
        if abs(now_s - self._used_s) >= USED_INTERVAL_S:
            self._used_s = now_s
            with told_as_cache_errors(self._bound):
                self._ops.touch(self.fileno(), now_s)

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

    def close(self) -> None:
        """Let the object go.  Idempotent."""
        with self._lock:
            if self._file.fd >= 0:
                if self._pending_made and not self._modifying:
                    self._cancel_pending()
                fd, self._file.fd = self._file.fd, -1
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
        raise NotImplementedError

    def check_invariants(self) -> None:
        """INV-a to INV-k as far as one object can tell; raises ``InvariantError``."""
        from netcache._core.label_rules import check_label

        with self._lock:
            check_label(self._label, self._ops.stat(self.fileno()).st_size, self.block_size)


def _committed(label: Label, covered: int) -> Label:
    """The label once everything below ``covered`` is durable."""
    if label.content not in COMPLETE:
        return label._replace(committed=0)
    return label._replace(committed=max(label.committed, min(covered, label.stored_end)))
