"""Asking all workers to let their older maps of an object go (``sync_all``).

The only message that lazily synchronised mappings know; it is sent for a consumer that cannot
compare generations.  The dead are not waited for, nor is anybody for longer than the timeout.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from typing import Protocol

from netcache._cachefiles.mapping_table import Located
from netcache._core.mapping_record import UNSHARED, MappingRecord, workers_of
from netcache._fscache.sharing import Synced

NOTHING_SHARED = Synced(UNSHARED, 0, 0, 0)

_FIRST_PAUSE_S = 0.0005
_LONGEST_PAUSE_S = 0.01


class Worker(Protocol):
    """Who asks; see ``mapping_worker``."""

    number: int

    def at(self, place: str) -> AbstractContextManager[Located | None]:
        """The record of ``place``, if there is one, under its lock; or ``BlockingIOError``."""

    def write(self, located: Located, record: MappingRecord) -> None:
        """Write a record back, inside ``at``."""

    def let_go(self, place: str, generation: int) -> None:
        """Have the holders of this process let all other generations go."""

    def dead(self, mask: int) -> int:
        """The dead among the workers of a mask."""

    def ring(self, worker: int) -> None:
        """Send a message to a worker."""


def sync_all(worker: Worker, place: str, timeout_s: float) -> Synced:
    """Ask, and wait for the answers; begins anew when the mapping changes meanwhile."""
    asking = _Asking(worker, place)
    until, pause_s = time.monotonic() + timeout_s, _FIRST_PAUSE_S
    while True:
        try:
            waiting = asking.look()
        except OSError:
            return asking.outcome(silent=1)
        if waiting == 0:
            return asking.outcome(silent=0)
        if waiting > 0:
            asking.ask(waiting)
        if time.monotonic() >= until:
            return asking.outcome(silent=waiting.bit_count() if waiting > 0 else 1)
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


class _Asking:
    """Who was asked about which generation."""

    def __init__(self, worker: Worker, place: str) -> None:
        self._worker = worker
        self._place = place
        self._generation = UNSHARED
        self._asked: dict[int, int] = {}
        self._dead = 0
        self._messages = 0

    def look(self) -> int:
        """The mask of those to wait for; -1 when somebody stopped keeps the record to himself."""
        worker = self._worker
        try:
            with worker.at(self._place) as found:
                if found is None:
                    self._generation = UNSHARED
                    return 0
                self._generation = found.record.generation
                worker.let_go(self._place, self._generation)
                record = found.record.answered(worker.number)
                dead = worker.dead(record.unsynced)
                self._dead |= dead
                record = record.without(dead)
                if not record.unsynced:
                    record = record.settled()
                worker.write(found, record)
                return record.unsynced
        except BlockingIOError:
            return -1

    def ask(self, waiting: int) -> None:
        """Send each of them one message for this generation."""
        for number in workers_of(waiting):
            if self._asked.get(number) != self._generation:
                self._asked[number] = self._generation
                self._messages += 1
                self._worker.ring(number)

    def outcome(self, *, silent: int) -> Synced:
        """How it went."""
        alive = sum(1 for number in self._asked if not self._dead >> number & 1)
        return Synced(self._generation, self._messages, max(0, alive - silent), silent)
