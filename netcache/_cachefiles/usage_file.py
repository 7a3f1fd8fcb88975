"""The record of use on disk: one file, changed by one process at a time, as a whole or not at all.

Rules:

1. A change is made under a lock on one byte, which the kernel gives back when a process dies.  The
   wait for it is bounded; who does not get it goes on without.
2. A change is first written to the journal behind the head, then made, and the head, with its
   number, comes last.  Whoever finds the journal one number ahead of the head makes the change
   again.  So a killed process leaves all of its change, or nothing.
3. Nothing is synced.  A file of another boot (or mount), or one that contradicts itself, begins
   anew: what it knew is found again by walking the cache.
4. It is written with ``pwrite``, never through a map: a full disk is an error, not a signal.
"""

from __future__ import annotations

import errno
import os
import struct
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from netcache._core import usage_record as layout
from netcache._core.cull_order import CullOrder
from netcache._core.usage_index import TornError, UsageIndex
from netcache._core.usage_record import Head, Slot

if TYPE_CHECKING:
    from netcache._cachefiles.file_port import FileOps
    from netcache._core.label import Epoch

NAME = "usage"

_LOCK_BYTE = 1 << 60
_PLACES_BASE = _LOCK_BYTE + 1
"""Bytes for locks, far above any slot."""

BLOCK_SLOTS = 16
"""So many slots are read at a time: as many take hardly longer than one."""

BLOCKS_MAX = 1024
"""No more blocks of slots than about so many are remembered."""

_LOCK_WAIT_S = 1.0
_FIRST_PAUSE_S = 0.0001
_LONGEST_PAUSE_S = 0.002


class Unavailable(OSError):
    """The record of use cannot be had at the moment: it is locked, or was found torn."""

    def __init__(self, why: str) -> None:
        super().__init__(errno.EAGAIN, why)


_BLOCK_BYTES = BLOCK_SLOTS * layout.SLOT_BYTES

Blocks = dict[int, bytearray]
"""Slots as they are in the file, by the block, as far as they are known."""


class Change:
    """One change of the record of use: what it reads and changes, in memory.

    ``grant`` is for ``Room``: how much more this process may write, once the change is made.  More
    of ``blocks`` become known.
    """

    def __init__(self, ops: FileOps, fd: int, head: Head, blocks: Blocks) -> None:
        self.head = head
        self.grant = 0
        self.order = CullOrder(UsageIndex(self))
        self._ops = ops
        self._fd = fd
        self._slots: dict[int, tuple[Slot, bytes]] = {}
        self._blocks = blocks
        self._granted: dict[int, int] = {}
        # Whether anything is pinned; None: nobody has looked.
        self.has_pins: bool | None = None
        self._head_before = head.pack()

    @property
    def index(self) -> UsageIndex:
        """The records by place."""
        return self.order.index

    def slot(self, number: int) -> Slot:
        """Slot ``number``, to be changed in place."""
        known = self._slots.get(number)
        if known is None:
            block, at = self._find(number)
            raw = bytes(block[at : at + layout.SLOT_BYTES])
            try:
                known = self._slots[number] = Slot.unpack(raw), raw
            except ValueError as error:
                raise TornError(f"slot {number} is not a slot") from error
        return known[0]

    def new_slot(self, number: int) -> Slot:
        """A slot at the end of the file, where nothing has been written yet."""
        slot = Slot()
        self._slots[number] = slot, b""
        return slot

    def links(self, number: int) -> tuple[int, int, int]:
        """``bucket``, ``chain`` and ``tag`` of slot ``number``."""
        known = self._slots.get(number)
        if known is None:
            return layout.links(*self._find(number))
        return known[0].bucket, known[0].chain, known[0].tag

    def _find(self, number: int) -> tuple[bytearray, int]:
        """The block with slot ``number`` as it is in the file, and where in it that begins."""
        if not 1 <= number <= self.head.slots:
            raise TornError(f"slot {number} of {self.head.slots}")
        which, place = divmod(number - 1, BLOCK_SLOTS)
        block = self._blocks.get(which)
        if block is None:
            block = self._blocks[which] = bytearray(_BLOCK_BYTES)
            self._ops.read_into(self._fd, block, layout.slot_at(which * BLOCK_SLOTS + 1))
        return block, place * layout.SLOT_BYTES

    def granted(self, number: int) -> int:
        """How much process ``number`` may still write, or has written and not settled."""
        known = self._granted.get(number)
        if known is None:
            raw = self.read(layout.process_at(number), layout.PROCESS_BYTES)
            known = int.from_bytes(raw, "little")
        return known

    def grants(self) -> list[int]:
        """The same of all processes."""
        raw = self.read(layout.PROCESSES_AT, layout.PROCESSES * layout.PROCESS_BYTES)
        granted = list(layout.GRANTS.unpack(raw))
        for number, known in self._granted.items():
            granted[number] = known
        return granted

    def hold(self, number: int, granted: int) -> None:
        """Process ``number`` is granted this from now on."""
        before = self.granted(number)
        if granted != before:
            self.head.granted += granted - before
            self._granted[number] = granted

    def read(self, start: int, length: int) -> bytes:
        """Bytes of the file; zeros past its end."""
        buffer = bytearray(length)
        self._ops.read_into(self._fd, buffer, start)
        return bytes(buffer)

    def commit(self) -> None:
        """Make the change, in the order of rule 2."""
        changed = {
            number: packed
            for number, (slot, raw) in self._slots.items()
            if (packed := slot.pack()) != raw
        }
        patches = [(layout.slot_at(number), packed) for number, packed in changed.items()]
        patches += [
            (layout.process_at(number), granted.to_bytes(layout.PROCESS_BYTES, "little"))
            for number, granted in self._granted.items()
        ]
        if not patches and self.head.pack() == self._head_before:
            return
        self.head.sequence += 1
        patches.append((0, self.head.pack()))
        journal = layout.journal(self.head.sequence, patches)
        if len(journal) > layout.JOURNAL_BYTES:
            raise Unavailable("a change of the record of use is too large")
        self._ops.write_all(self._fd, journal, layout.JOURNAL_AT)
        for at, data in layout.joined(patches):
            self._ops.write_all(self._fd, data, at)
        for number, packed in changed.items():
            which, place = divmod(number - 1, BLOCK_SLOTS)
            if (block := self._blocks.get(which)) is not None:
                start = place * layout.SLOT_BYTES
                block[start : start + layout.SLOT_BYTES] = packed


class UsageFile:
    """The record of use of a bound cache; opened when it is first needed.  Thread-safe.

    ``opened`` counts how often it was, for it is opened again when somebody has removed it.
    """

    def __init__(self, ops: FileOps, root: int, epoch: Epoch) -> None:
        self.opened = 0
        self._ops = ops
        self._root = root
        self._epoch = epoch
        self._believed = False
        self._fd = -1
        self._patient = True
        # Slots as they were when the head had this number.
        self._blocks: Blocks = {}
        self._read_at = -1
        self._lock = threading.Lock()
        _LIVING.add(self)

    @contextmanager
    def change(self) -> Iterator[Change]:
        """Change the record inside the block; an error there means that nothing is changed.

        Raises ``OSError``, of which ``Unavailable`` is one, also for what the block does.
        """
        if not self._ops.holds_locks:
            raise Unavailable("a record of use cannot be shared where locks do nothing")
        with self._lock:
            self._open()
            self._lock_file()
            try:
                change = self._begin()
                try:
                    yield change
                    change.commit()
                    self._read_at = change.head.sequence
                except (TornError, struct.error) as error:
                    self._begin_anew(change.head)
                    raise Unavailable(f"the record of use is torn: {error}") from error
            finally:
                self._ops.unlock_range(self._fd, _LOCK_BYTE, 1)

    def _begin(self) -> Change:
        """A change, which need not read again what nobody has changed since the last of ours."""
        head = self._head()
        if head.sequence != self._read_at or len(self._blocks) > BLOCKS_MAX:
            self._blocks.clear()
        # What a change reads that fails may be torn.
        self._read_at = -1
        return Change(self._ops, self._fd, head, self._blocks)

    def take_place(self, number: int) -> bool:
        """Be process ``number`` until the end of this one; False when somebody is.

        Inside ``change``.
        """
        return self._ops.lock_range(self._fd, _PLACES_BASE + number, 1)

    def drop_place(self, number: int) -> None:
        """Be process ``number`` no longer.  Inside ``change``."""
        self._ops.unlock_range(self._fd, _PLACES_BASE + number, 1)

    def _open(self) -> None:
        if self._fd >= 0 and self._ops.stat(self._fd).st_nlink:
            return
        self._close()
        self._fd = self._ops.open_shared(NAME, self._root)
        self.opened += 1
        self._believed, self._read_at = False, -1

    def _lock_file(self) -> None:
        until, pause_s = 0.0, _FIRST_PAUSE_S
        while not self._ops.lock_range(self._fd, _LOCK_BYTE, 1):
            now_s = time.monotonic()
            until = until or now_s + _LOCK_WAIT_S
            if now_s >= until or not self._patient:
                # Somebody was stopped with the lock: he is waited for once, not each time.
                self._patient = False
                raise Unavailable("the record of use is locked by another process")
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        self._patient = True

    def _head(self) -> Head:
        """The head, once the change that a killed process had begun is made."""
        raw = bytearray(layout.HEAD_BYTES + layout.JOURNAL_HEAD_BYTES)
        self._ops.read_into(self._fd, raw, 0)
        head = Head.unpack(bytes(raw[: layout.HEAD_BYTES]))
        if head is None or head.inode != self._inode() or not self._believe(head):
            return self._begin_anew(None)
        sequence, length, checksum = layout.journal_of(bytes(raw[layout.HEAD_BYTES :]))
        if sequence != head.sequence + 1 or length > layout.JOURNAL_BYTES:
            return head
        body = bytearray(length)
        self._ops.read_into(self._fd, body, layout.JOURNAL_AT + layout.JOURNAL_HEAD_BYTES)
        patches = layout.patches_of(bytes(body), checksum)
        if patches is None:
            return head
        for at, data in layout.joined(patches):
            self._ops.write_all(self._fd, data, at)
        return Head.unpack(dict(patches)[0]) or head

    def _believe(self, head: Head) -> bool:
        """Whether nothing that the head counts on can have been lost, for want of a sync.

        In the same boot another mount is one of the same filesystem while others live there.
        """
        if not self._believed:
            self._believed = head.boot == self._epoch.boot and (
                head.mount == self._epoch.mount or self._others_live()
            )
        return self._believed

    def _others_live(self) -> bool:
        """Before we have a place ourselves."""
        if not self._ops.lock_range(self._fd, _PLACES_BASE, layout.PROCESSES):
            return True
        self._ops.unlock_range(self._fd, _PLACES_BASE, layout.PROCESSES)
        return False

    def _inode(self) -> int:
        return self._ops.stat(self._fd).st_ino

    def _begin_anew(self, torn: Head | None) -> Head:
        """Empty the record.  What living processes hold in a torn one stays granted to them."""
        head = Head()
        self._believed = True
        head.boot, head.mount, head.inode = *self._epoch, self._inode()
        head.sequence = int.from_bytes(os.urandom(6), "little")
        self._ops.truncate(self._fd, layout.SLOTS_AT if torn is not None else 0)
        if torn is not None:
            head.granted = sum(Change(self._ops, self._fd, head, {}).grants())
        self._ops.write_all(self._fd, head.pack(), 0)
        return head

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            self._ops.close(fd)

    def close(self) -> None:
        """Let the file go for good; idempotent.  Every later call is an ``OSError``."""
        with self._lock:
            self._close()
            # The number may be another folder's before long.
            self._root = -1

    def after_fork(self) -> None:
        """In the child: the locks are the parent's, and end with him only if we let go."""
        self._lock = threading.Lock()
        self._close()


_LIVING: weakref.WeakSet[UsageFile] = weakref.WeakSet()


def _close_in_child() -> None:
    for file in list(_LIVING):
        file.after_fork()


os.register_at_fork(after_in_child=_close_in_child)
