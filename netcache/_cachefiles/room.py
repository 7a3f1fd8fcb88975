"""What this process has of the cache's room: what it may still write, what it wrote, what it used.

Rules:

1. Nothing is written to an object that was not granted before.  A grant is on record, under the
   place of this process, until what was written is *settled*: the room that its file takes is
   measured then, and on record with the object.  So grants and records together are never less
   than what lies in the cache.
2. Uses and what was written are kept in memory, and put on record many at a time.
3. A killed process loses its place.  Whoever finds that out counts its grant as *suspect*, until
   the cache was walked once more.
4. Where the record cannot be had, nothing is lost but order and time: it is tried again later, and
   in a cache with a limit nothing is stored until then.

Places are from the cache directory on.  Thread-safe.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from netcache._cachefiles.pins import Pins
from netcache._cachefiles.sum_table import table_folder, table_name
from netcache._cachefiles.usage_file import Change, Unavailable, UsageFile
from netcache._cachefiles.writing import Purse, Writer
from netcache._core.keys import place_bytes
from netcache._core.usage_record import PROCESSES

if TYPE_CHECKING:
    from netcache._cachefiles.file_port import FileOps
    from netcache._core.label import Epoch

BATCH = 64
"""So many objects are settled, or were used, in one change of the record."""

REMEMBERED_MAX = 1 << 14
"""Of so many objects it is remembered when their opening was counted."""

_BLOCK_BYTES = 4096
_STAT_BLOCK = 512


class Use(NamedTuple):
    """How an object was used since that was last put on record."""

    times: int = 0
    used_ms: int = 0
    regions: int = 0

    def and_then(self, later: Use) -> Use:
        """Both together."""
        used_ms = max(self.used_ms, later.used_ms)
        return Use(self.times + later.times, used_ms, self.regions | later.regions)


_NO_USE = Use()


class Room:
    """The part that one bound cache of this process has."""

    def __init__(
        self, ops: FileOps, root: int, epoch: Epoch, block_size: int, clock: Callable[[], float]
    ) -> None:
        self.file = UsageFile(ops, root, epoch)
        self.pins = Pins(ops, root)
        self.purse = Purse(block_size, max(_BLOCK_BYTES, ops.statvfs(root).f_frsize))
        self._ops = ops
        self._root = root
        self._clock = clock
        # One thread at a time: what it takes from the purse is on record before another looks.
        self._changing = threading.Lock()
        # Guarded by the lock of the purse, which is held for memory only.
        # When each changed, the first that did before the others.
        self._changed: dict[str, int] = {}
        self._uses: dict[str, Use] = {}
        # When the opening of an object was last counted as a use.
        self._counted: dict[str, float] = {}
        self._number = -1
        self._opened = 0

    # Events.

    def writer(self, place: str | None = None) -> Writer:
        """Whoever writes to a file needs one."""
        return Writer(self.purse, place)

    def changed(self, place: str) -> None:
        """Another file has this name now, or none, or a smaller one."""
        if not self._ops.holds_locks:
            return
        now_ms = self._now_ms()
        with self.purse.lock:
            self._changed.setdefault(place, now_ms)
        self._counted.pop(place, None)
        self._flush_batch()

    def closed(self, writer: Writer) -> None:
        """Nothing more is written to a file: what it takes is put on record before long."""
        writer.close()
        if not self._ops.holds_locks:
            # Nobody keeps a record: there is nothing to settle.
            with self.purse.lock:
                self.purse.drop_closed(writer)
            return
        if writer.spent and writer.place:
            self.changed(writer.place)
        if self.purse.waiting >= self.purse.chunk_bytes:
            self.flush()

    def used(self, place: str, *, times: int = 1, regions: int = 0) -> None:
        """The object was used."""
        if not self._ops.holds_locks:
            return
        use = Use(times, self._now_ms(), regions)
        with self.purse.lock:
            self._uses[place] = self._uses.get(place, _NO_USE).and_then(use)
        self._flush_batch()

    def opened(self, place: str, now_s: float, interval_s: float) -> None:
        """The object was opened: a use, if none was counted for that long.

        Counting takes several times as long as opening, and who opens a file again and again
        would count each time.
        """
        last_s = self._counted.get(place)
        if last_s is not None and -interval_s < now_s - last_s < interval_s:
            return
        if len(self._counted) >= REMEMBERED_MAX:
            self._counted.clear()
        self._counted[place] = now_s
        self.used(place)

    def _now_ms(self) -> int:
        return max(0, int(self._clock() * 1000))

    def _flush_batch(self) -> None:
        # Files that were written to and closed have changed, too: they are one each.
        changed = max(len(self._changed), len(self.purse.closed))
        if changed + len(self._uses) >= BATCH:
            self.flush()

    def flush(self) -> bool:
        """Put everything on record; False when that is not possible now."""
        try:
            with self.change():
                return True
        except OSError:
            return False

    # The record.

    @contextmanager
    def change(self) -> Iterator[Change]:
        """Change the record inside the block; what is known here is put on it before.

        What ``Change.grant`` says is credited afterwards.  Raises ``OSError``: then nothing was
        changed, and what was known here is known still.
        """
        with self._changing:
            with self.purse.lock:
                writers = self.purse.writers | self.purse.closed
                settled = [(writer, writer.take_settled()) for writer in writers]
                places, self._changed = self._changed, {}
                uses, self._uses = self._uses, {}
            now_ms = self._now_ms()
            for writer, amount in settled:
                if amount and writer.place:
                    places.setdefault(writer.place, now_ms)
            try:
                with self.file.change() as change:
                    self._be_somebody(change)
                    for place, changed_ms in places.items():
                        self.charge(change, place, changed_ms)
                    for place, use in uses.items():
                        self._record_use(change, place, use)
                    self._hold(change)
                    yield change
                    self._hold(change)
            except BaseException:
                with self.purse.lock:
                    for writer, amount in settled:
                        writer.unsettle(amount)
                    self._changed = {**places, **self._changed}
                    for place, use in uses.items():
                        self._uses[place] = use.and_then(self._uses.get(place, _NO_USE))
                raise
            self.purse.give(change.grant)

    def _hold(self, change: Change) -> None:
        with self.purse.lock:
            granted = self.purse.held() + change.grant
        change.hold(self._number, granted)

    def unsettled(self) -> int:
        """How much this process may have written at most that was not measured."""
        with self.purse.lock:
            return self.purse.held() - self.purse.credit

    def charge(self, change: Change, place: str, used_ms: int | None = None) -> None:
        """Put on record what the object at ``place`` takes now; it came at ``used_ms`` (now)."""
        number = change.index.find(place_bytes(place))
        taken = self.measure(place)
        if taken is None:
            if number:
                change.order.leave(number)
        elif number:
            change.order.recharge(number, taken)
        else:
            entered_ms = self._now_ms() if used_ms is None else used_ms
            number = change.order.enter(place_bytes(place), taken, entered_ms)
            if change.has_pins is None:
                change.has_pins = self.pins.are_there()
            if change.has_pins and self.pins.has(place):
                change.order.pin(number)

    def _record_use(self, change: Change, place: str, use: Use) -> None:
        number = change.index.find(place_bytes(place))
        if not number:
            # Not on record: it is from before the record was lost, and is found early.
            self.charge(change, place)
            number = change.index.find(place_bytes(place))
        if number:
            change.index.slot(number).regions |= use.regions
            for _ in range(use.times):
                change.order.use(number, use.used_ms)

    def measure(self, place: str) -> int | None:
        """The allocated bytes of an object with its table of sums; None when it is not there."""
        try:
            found = self._ops.stat_name(place, self._root)
        except (FileNotFoundError, NotADirectoryError):
            return None
        table = f"{table_folder(found.st_ino)}/{table_name(found.st_ino)}"
        try:
            blocks = self._ops.stat_name(table, self._root).st_blocks
        except (FileNotFoundError, NotADirectoryError):
            blocks = 0
        return (found.st_blocks + blocks) * _STAT_BLOCK

    def touched_ms(self, place: str) -> int | None:
        """When the object's file was last touched; None when it is not there."""
        try:
            return self._ops.stat_name(place, self._root).st_atime_ns // 1_000_000
        except (FileNotFoundError, NotADirectoryError):
            return None

    # Pins.

    def pin(self, place: str) -> None:
        """Keep the object of this place from being culled, whenever it is there."""
        self.pins.add(place)
        self.put_pin_on_record(place, pinned=True)

    def unpin(self, place: str) -> bool:
        """Undo ``pin``; False when it was not pinned."""
        gone = self.pins.remove(place)
        self.put_pin_on_record(place, pinned=False)
        return gone

    def put_pin_on_record(self, place: str, *, pinned: bool) -> None:
        """So that culling need not look at it; where that cannot be done now it finds the pin."""
        try:
            with self.change() as change:
                number = change.index.find(place_bytes(place))
                if number and pinned:
                    change.order.pin(number)
                elif number:
                    change.order.unpin(number)
        except OSError:
            return

    # Places of processes.

    def _be_somebody(self, change: Change) -> None:
        """Take a place among the processes, if we have none in this file yet."""
        if self._number >= 0 and self._opened == self.file.opened:
            return
        first = os.getpid()
        for step in range(PROCESSES):
            number = (first + step) % PROCESSES
            if self.file.take_place(number):
                _bury(change, number)
                self._number, self._opened = number, self.file.opened
                return
        raise Unavailable(f"more than {PROCESSES} processes share the cache")

    def bury_the_dead(self, change: Change) -> None:
        """Take their grants from all processes that are no more."""
        for number, granted in enumerate(change.grants()):
            if granted and number != self._number and self.file.take_place(number):
                _bury(change, number)
                self.file.drop_place(number)

    def close(self) -> None:
        """Put everything on record and give everything back, as far as that is possible."""
        with self.purse.lock:
            for writer in list(self.purse.writers):
                writer.abandon()
            self.purse.credit = 0
            known = bool(self._changed or self._uses or self.purse.closed)
        if known or self.file.opened:
            self.flush()
        self.file.close()


def _bury(change: Change, number: int) -> None:
    """A process is dead: what it may have written is suspect."""
    change.head.suspect += change.granted(number)
    change.hold(number, 0)
