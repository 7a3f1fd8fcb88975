"""Writers: how much of the room that was granted goes into which file.

Every open file that may be written to has one.  Whoever writes says so before (``writing``); what
was written stays granted until the file is measured.  A file that is being written to is not
measured, for then nobody knows what of it is there already.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from netcache._core.extent import round_up
from netcache._core.label import SUM_BYTES

CHUNK_BYTES_MAX = 4 << 20
"""A process is granted no more than this ahead of what it needs."""

CHUNK_PART = 256
"""A process is granted this part of the cache's own limit at a time, if it is little."""

_OVERHEAD_BLOCKS = 3
_LATER_PART = 512


class Purse:
    """What a process may still write, and what it has written and not settled.

    ``refill`` is asked for more; it raises ``NoSpaceError`` when there is none.  ``chunk_bytes`` is
    how much is granted at a time, and how much may wait to be settled.
    """

    def __init__(self, block_size: int, filesystem_block: int) -> None:
        self.refill: Callable[[int], None] = self.give
        self.chunk_bytes = CHUNK_BYTES_MAX
        self.lock = threading.Lock()
        self.credit = 0
        # Open files that were written to, and closed ones that are not settled yet.
        self.writers: set[Writer] = set()
        self.closed: set[Writer] = set()
        # How much waits to be settled, of files that are closed.
        self.waiting = 0
        self.block_size = block_size
        # What a file may take besides its data: blocks of attributes, extents and sums.
        self.overhead = _OVERHEAD_BLOCKS * filesystem_block

    def limit(self, limit_bytes: int) -> None:
        """The cache may hold no more than this: grant less at a time."""
        self.chunk_bytes = min(CHUNK_BYTES_MAX, limit_bytes // CHUNK_PART)

    def cost(self, length: int) -> int:
        """The most that writing ``length`` bytes may take, but for the overhead."""
        whole = round_up(length, self.block_size)
        return whole + whole // self.block_size * SUM_BYTES

    def give(self, amount: int) -> None:
        """So much more may be written.  It is on record, or nobody keeps one."""
        with self.lock:
            self.credit += amount

    def held(self) -> int:
        """All that is granted.  Under ``lock``."""
        return self.credit + sum(writer.spent for writer in self.writers | self.closed)

    def add_closed(self, writer: Writer, amount: int) -> None:
        """A closed file waits to be settled, with so much more.  Under ``lock``."""
        self.closed.add(writer)
        self.waiting += amount

    def drop_closed(self, writer: Writer) -> None:
        """A closed file waits no more.  Under ``lock``."""
        if writer in self.closed:
            self.closed.remove(writer)
            self.waiting -= writer.spent


class Writer:
    """One file that is written to.  ``place`` is None as long as it has no name."""

    __slots__ = ("_busy", "_closed", "_purse", "place", "spent")

    def __init__(self, purse: Purse, place: str | None = None) -> None:
        self.place = place
        self.spent = 0
        self._purse = purse
        self._busy = 0
        self._closed = False

    @contextmanager
    def writing(self, length: int) -> Iterator[None]:
        """``length`` bytes are written inside the block.  ``NoSpaceError`` when they may not be.

        May cull for it: not to be entered with a lock that culling needs.
        """
        purse = self._purse
        while not self._begin(purse.cost(length)):
            purse.refill(purse.cost(length) + purse.overhead)
        try:
            yield
        finally:
            with purse.lock:
                self._busy -= 1

    def _begin(self, cost: int) -> bool:
        purse = self._purse
        with purse.lock:
            cost += 0 if self.spent else purse.overhead
            if purse.credit < cost:
                return False
            purse.credit -= cost
            self.spent += cost
            self._busy += 1
            self._count(cost)
            return True

    def take_settled(self) -> int:
        """What may be settled now; it is granted no more.  Under the purse's lock.

        An open file keeps what the records of its last blocks may take, which come later.
        """
        if self.place is None or self._busy:
            return 0
        rest = 0
        if self._closed:
            self._purse.drop_closed(self)
        else:
            rest = min(self.spent, self._purse.overhead + self.spent // _LATER_PART)
        settled, self.spent = self.spent - rest, rest
        return settled

    def unsettle(self, amount: int) -> None:
        """Undo ``take_settled``.  Under the purse's lock."""
        self.spent += amount
        if amount:
            self._count(amount)

    def _count(self, amount: int) -> None:
        """So much more was spent, and is among what is to be settled."""
        if self._closed:
            self._purse.add_closed(self, amount)
        else:
            self._purse.writers.add(self)

    def abandon(self) -> None:
        """The process goes: what it wrote is measured once more.  Under the purse's lock."""
        self._busy = 0
        self._end()

    def close(self) -> None:
        """Nothing more is written.  A file without a name is gone.  Idempotent."""
        with self._purse.lock:
            self._end()

    def _end(self) -> None:
        self._closed = True
        self._purse.writers.discard(self)
        if self.place is None:
            self._purse.credit += self.spent
            self._purse.drop_closed(self)
            self.spent = 0
        if self.spent and self not in self._purse.closed:
            self._purse.add_closed(self, self.spent)
