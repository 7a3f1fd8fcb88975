"""A backing file and its label: reading, checking, changing under the lock of the label.

Rules:

1. A label is read again before it is changed, under an exclusive lock on one reserved byte of the
   file, so that processes that fill one object do not undo each other.  The wait is bounded: a
   stopped process holds nobody up, and what is lost then is knowledge of cached blocks.
2. A label of another epoch counts as far as its data was synced, and beyond that as far as sums
   prove.  Whoever meets one first takes it over into the present epoch, as a map of doubtful
   blocks where not all was synced.  While others have the object open in this boot it is only
   another mount of the same filesystem: the data is there, and the label stays as it is.  The file
   is cut to it only by who is alone.
3. What breaks a rule is stale: it counts as a miss, keeps its name, and is replaced later.
"""

from __future__ import annotations

import os
import stat
import time
from typing import TYPE_CHECKING

from netcache._core.content import Content
from netcache._core.label import (
    ATTRIBUTE,
    Binding,
    Epoch,
    Label,
    LabelError,
    Why,
    decode,
    encode,
)
from netcache.errors import CacheError

if TYPE_CHECKING:
    from netcache._cachefiles.file_port import FileOps
    from netcache._cachefiles.statx import Identity

LABEL_BYTE = 1 << 62
USE_BYTE = LABEL_BYTE + 1
FILLS_BASE = 1 << 61
"""Reserved bytes, far above any data: locks only, nothing is ever written there."""

# Looked up for each file opened: see ``label``.
_DIRTY, _NO_DATA = Content.DIRTY, Content.NO_DATA
_LOCK_TRIES = 100
_LOCK_PAUSE_S = 0.002


class LabelFile:
    """An open backing file.  The owner serialises the calls of one instance."""

    __slots__ = (
        "_block_size",
        "_epoch",
        "_known",
        "_loaded_size",
        "_ops",
        "fd",
        "in_use",
        "used_s",
    )

    def __init__(self, ops: FileOps, fd: int, epoch: Epoch, block_size: int) -> None:
        self._ops = ops
        self.fd = fd
        self._epoch = epoch
        self._block_size = block_size
        # The time of the last use that is on record when it was loaded, 0 for none.
        self.used_s = 0
        self._loaded_size = 0
        # The label last read or written, and its bytes: most often they are the same still.
        self._known: tuple[bytes, Label] | None = None
        # Whether we hold the lock "in use".
        self.in_use = False

    def binding(self) -> Binding:
        """What the label of this file must say of it."""
        found = self._ops.identify(self.fd)
        return Binding(found.inode, found.born_ns)

    def load(self, key: bytes) -> Label:
        """The label of an object just opened, checked in the order of ``_check``.

        Raises ``LabelError``; takes a label of another epoch over.
        """
        while True:
            found = self._ops.identify(self.fd)
            # A file of another user can be changed by him at any time.
            mode, owner, _, size, used_s, _, _ = found
            if not stat.S_ISREG(mode) or owner != os.getuid():
                raise LabelError(Why.TYPE)
            label = self.read()
            try:
                self._check(label, key, found)
                break
            except LabelError as error:
                # Between the two looks the file may have grown, and its label with it.
                if error.why is not Why.LENGTH or self._ops.identify(self.fd).size <= size:
                    raise
        self.used_s = used_s
        self._loaded_size = size
        if label.epoch != self._epoch:
            label = self._take_over(key)
        return label

    def read(self) -> Label:
        """The label as it is on disk now."""
        raw = self._ops.getxattr(self.fd, ATTRIBUTE)
        if raw is None:
            raise LabelError(Why.XATTR)
        if self._known is None or self._known[0] != raw:
            self._known = raw, decode(raw)
        return self._known[1]

    def _check(self, label: Label, key: bytes, found: Identity) -> None:
        # Each is looked at at each open: a tuple is taken apart faster than asked for its parts.
        _, _, inode, backing_size, _, born_ns, _ = found
        version, content, _, stored_end, committed, _, binding, _, own_key, unit, _, _, _ = label
        block_size = self._block_size
        if binding != (inode, born_ns):
            raise LabelError(Why.BINDING)
        if own_key != key:
            raise LabelError(Why.KEY)
        if content is _DIRTY:
            raise LabelError(Why.DIRTY)
        whole = backing_size >= stored_end and backing_size % block_size == 0
        if not whole and not _provable(label, self._epoch):
            raise LabelError(Why.LENGTH)
        if stored_end % block_size or unit > block_size:
            raise LabelError(Why.LENGTH)
        if committed > stored_end:
            raise LabelError(Why.LENGTH)
        # No block begins past the end of the resource.
        if stored_end >= version.size + block_size:
            raise LabelError(Why.SIZE)
        if content is _NO_DATA and stored_end:
            raise LabelError(Why.CONTENT)

    def _take_over(self, key: bytes) -> Label:
        """Bring a label of another epoch into the present one, as far as its data is durable."""
        self.lock()
        try:
            label, found = self.read(), self._ops.identify(self.fd)
            self._check(label, key, found)
            if label.epoch == self._epoch:
                return label
            if not self._ops.holds_locks:
                # Somebody else may be taking it over at this moment, and filling it already.
                raise LabelError(Why.EPOCH)
            alone = self.claim()
            if not alone and label.epoch.boot == self._epoch.boot:
                if found.size < label.stored_end:
                    raise LabelError(Why.LENGTH)
                return label
            label = _after_reboot(label, found.size)._replace(epoch=self._epoch)
            if alone:
                # First the file, then the label: what lies above could be anything.
                self._ops.truncate(self.fd, label.stored_end)
            elif found.size < label.stored_end or found.size % self._block_size:
                # Others may have given our lock up, and be filling it already.  (They do not mind
                # what lies above: it has no sums, and goes when somebody is alone.)
                raise LabelError(Why.LENGTH)
            return self.write(label)
        finally:
            self.use()
            self.unlock()

    def write(self, label: Label) -> Label:
        """Put a label on the file; returns it as written, with the next generation."""
        label = label._replace(generation=(label.generation + 1) & 0xFFFFFFFF)
        try:
            raw = encode(label)
        except ValueError as error:
            raise CacheError(f"an object cannot be cached: {error}") from error
        self._ops.setxattr(self.fd, ATTRIBUTE, raw)
        self._known = raw, label
        return label

    def condemn(self) -> None:
        """Take the label away: nobody believes the object any more."""
        self._ops.removexattr(self.fd, ATTRIBUTE)

    def lock(self) -> None:
        """Lock the label against other processes, waiting about 0.2 s at most."""
        for _ in range(_LOCK_TRIES):
            if self._ops.lock_range(self.fd, LABEL_BYTE, 1):
                return
            time.sleep(_LOCK_PAUSE_S)

    def unlock(self) -> None:
        """Undo ``lock``."""
        self._ops.unlock_range(self.fd, LABEL_BYTE, 1)

    def use(self) -> bool:
        """Mark the object as in use, as long as the descriptor is open.

        Waits, not long, for somebody who has it for himself (``claim``); False when he keeps it.
        """
        for _ in range(_LOCK_TRIES):
            if self.in_use or self._ops.lock_range(self.fd, USE_BYTE, 1, shared=True):
                self.in_use = True
                return True
            time.sleep(_LOCK_PAUSE_S)
        return False

    def claim(self) -> bool:
        """Have the object for oneself until ``use``; False when others have it in use."""
        if not self._ops.lock_range(self.fd, USE_BYTE, 1):
            return False
        self.in_use = False
        return True

    def tidy(self, label: Label) -> None:
        """Cut off what a killed process wrote and did not record, when nobody has the object open.
        ``label`` is what ``load`` returned.

        A later fill further up would make a map of it, and the filesystem calls it data.
        """
        if self._loaded_size <= label.stored_end:
            return
        if self.claim():
            recorded = self.read().stored_end
            if self._ops.stat(self.fd).st_size > recorded:
                self._ops.truncate(self.fd, recorded)
            self.use()

    def alone(self) -> bool:
        """Whether nobody else has the object in use (for the moment)."""
        alone = self.claim()
        self.use()
        return alone


def _provable(label: Label, epoch: Epoch) -> bool:
    """Whether sums can tell what of the data of another epoch is there."""
    return label.epoch != epoch and bool(label.table or label.sums)


def _after_reboot(label: Label, backing_size: int) -> Label:
    """What of a label is still to be believed; the file is then cut, or stretched, to its end."""
    durable = label.stored_end == label.committed <= backing_size
    if durable and label.content is not Content.BACKFS_MAP:
        return label
    if label.table or label.sums:
        return label._replace(content=Content.BACKFS_MAP, committed=0, doubtful=True)
    if label.content is not Content.ALL:
        raise LabelError(Why.EPOCH)
    content = label.content if label.committed else Content.NO_DATA
    return label._replace(content=content, stored_end=label.committed)
