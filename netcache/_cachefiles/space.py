"""Room: how much the cache holds, how much it may, and what goes when there is no more.

Rules:

1. Room is granted before it is written to, to each process for itself.  Below the ``stop``
   percentage of free blocks or files, or at the cache's own limit, there is none until something
   was culled.
2. What goes next is decided by the record of use (``_core.cull_order``), shared by all processes;
   never what is in use by any process, or pinned.
3. Once culling has begun it goes on further than it must (hysteresis), a little with each grant, so
   that nobody waits long.

Nothing here takes longer because there are many objects, but for counting (``counting``), and for
what somebody asks for who looks after the cache (``cull``).
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from netcache._core.keys import place_bytes, place_of
from netcache._core.watermarks import NOTHING, Verdict, Watermarks, judge_limit, most
from netcache.errors import CacheError, NoSpaceError

if TYPE_CHECKING:
    from netcache._cachefiles.binding import Bound
    from netcache._cachefiles.counting import Counting
    from netcache._cachefiles.culling import Target
    from netcache._cachefiles.usage_file import Change
    from netcache._cachefiles.walking import Walk

AHEAD_BYTES_MAX = 64 << 20
"""No more than this is made room for before it is written, however much is announced."""

LOOK_AGAIN_BYTES = 1 << 20
"""So much is granted to files before the filesystem is looked at again, for all that others do."""

TARGETS_MAX = 16
"""So many objects are chosen at a time."""

SUSPECT_PART = 16
"""When killed processes may have left this part of the limit, the cache is counted again."""

PLENTY = 1 << 62


class Space:
    """The room of one bound cache.  Thread-safe; one thread of a process makes room at a time."""

    def __init__(
        self, bound: Bound, limit_bytes: int | None, watermarks: Watermarks | None = None
    ) -> None:
        self.limit_bytes = limit_bytes
        self.watermarks = Watermarks() if watermarks is None else watermarks
        self._counting: Counting | None = None
        self._making = threading.Lock()
        self.culling = False
        # Whether the record was not certain when room was last looked for.
        self._uncertain = False
        # What was granted, and not spent, when the filesystem was found to have room enough.
        self._credit_then = -1
        self._bound = bound
        self._room = bound.room
        self._lock = threading.Lock()

    @property
    def walk(self) -> Walk:
        """Goes over the files.  (Imported when needed: a cached read does not pay for it.)"""
        from netcache._cachefiles.walking import Walk

        return Walk(self._bound)

    @property
    def counting(self) -> Counting:
        """Makes the record of use when there is none."""
        with self._making:
            if self._counting is None:
                from netcache._cachefiles.counting import Counting

                self._counting = Counting(self._bound, self.walk.reap)
            return self._counting

    # Growing.

    def has_room(self, length: int) -> bool:
        """Whether so much is granted already, without culling."""
        return self._has(min(self._cost(length), AHEAD_BYTES_MAX))

    def must_cull(self, length: int) -> bool:
        """Whether something goes for ``length`` more bytes; nothing does for what never fits."""
        need = self._cost(length)
        if self.limit_bytes is not None and need > most(self.limit_bytes):
            return False
        need = min(need, AHEAD_BYTES_MAX)
        if self._has(need):
            return False
        try:
            with self._room.change() as change:
                return self._judge(change, max(0, need - self._room.purse.credit)).culling
        except OSError:
            return False

    def _cost(self, length: int) -> int:
        purse = self._room.purse
        return purse.cost(length) + purse.overhead

    def _has(self, need: int) -> bool:
        """Whether so much is granted already, and the filesystem has room enough."""
        credit = self._room.purse.credit
        if credit < need:
            return False
        if need <= LOOK_AGAIN_BYTES and 0 <= self._credit_then - credit < LOOK_AGAIN_BYTES:
            return True
        has_room = self._judge_filesystem(need, culling=False) == NOTHING
        self._credit_then = credit if has_room else -1
        return has_room

    def reserve(self, length: int) -> None:
        """Make room for ``length`` more bytes; ``NoSpaceError`` when there can be none.

        They are granted when they are written, a little at a time.
        """
        need = self._cost(length)
        if self.limit_bytes is not None and need > most(self.limit_bytes):
            raise NoSpaceError(f"{need} bytes cannot fit into a cache of {self.limit_bytes} bytes")
        need = min(need, AHEAD_BYTES_MAX)
        with self._lock:
            if not self._has(need):
                self._grow(need, min(need, self._room.purse.chunk_bytes))

    def refill(self, need: int) -> None:
        """Grant ``need`` bytes more; ``NoSpaceError`` when there are none."""
        with self._lock:
            if self._room.purse.credit < need:
                self._grow(need, need)

    def _grow(self, need: int, at_once: int) -> None:
        """Make room for ``need`` bytes, and grant ``at_once`` of them."""
        stayed: set[str] = set()
        while True:
            try:
                verdict, targets = self._plan(need, at_once, stayed)
                freed = self._carry_out(targets, stayed)
            except OSError as error:
                if isinstance(error, CacheError):
                    raise
                self._grow_unrecorded(need, error)
                return
            if verdict.allowed:
                return
            if not freed and not targets and not self._count_more():
                raise NoSpaceError(self._why(verdict))

    def _plan(self, need: int, at_once: int, stayed: set[str]) -> tuple[Verdict, list[Target]]:
        """Grant what there is room for, and choose what has to go."""
        with self._room.change() as change:
            head = change.head
            self._uncertain = not head.counted or head.suspect > 0
            if self.limit_bytes is not None:
                if not head.counted:
                    return Verdict(must_bytes=1), []
                if head.suspect * SUSPECT_PART > self.limit_bytes:
                    self.counting.recount(change)
                    self.counting.go_on_alone()
            more = max(0, need - self._room.purse.credit)
            verdict = self._judge(change, more)
            self.culling = head.culling = verdict.culling
            if verdict.allowed:
                change.grant = self._amount(change, at_once)
            if not verdict.culling:
                return verdict, []
            self._room.bury_the_dead(change)
            wanted = verdict._replace(bytes=max(verdict.must_bytes, min(verdict.bytes, 2 * need)))
            return verdict, self._choose(change, wanted, stayed)

    def _judge(self, change: Change, more: int) -> Verdict:
        """What room there is when ``more`` is granted."""
        head = change.head
        verdict = self._judge_filesystem(more, culling=head.culling)
        if self.limit_bytes is None:
            return verdict
        return verdict.and_also(
            judge_limit(self.limit_bytes, _taken(change) + more, culling=head.culling)
        )

    def _judge_filesystem(self, more: int, *, culling: bool) -> Verdict:
        found = self._bound.ops.statvfs(self._bound.root)
        return self.watermarks.judge(
            found.f_bavail * found.f_frsize - more,
            found.f_blocks * found.f_frsize,
            found.f_favail,
            found.f_files,
            culling=culling,
        )

    def _amount(self, change: Change, at_once: int) -> int:
        """How much is granted: what is needed, and somewhat ahead, if there is room for that."""
        purse = self._room.purse
        needed = max(0, at_once - purse.credit)
        ahead = max(0, purse.chunk_bytes - max(0, purse.credit - at_once))
        if (
            self.limit_bytes is not None
            and judge_limit(
                self.limit_bytes, _taken(change) + needed + ahead, culling=False
            ).culling
        ):
            ahead = 0
        return needed + ahead

    def _choose(self, change: Change, wanted: Verdict, stayed: set[str]) -> list[Target]:
        """What goes next, but for what was found to be in use just now."""
        from netcache._cachefiles.culling import Target
        from netcache._core.cull_part import STEPS, in_parts

        order, head = change.order, change.head
        targets: list[Target] = []
        skip = {order.index.find(place_bytes(place)) for place in stayed}
        want_bytes, want_files = wanted.bytes, wanted.files
        while (want_bytes > 0 or want_files > 0) and len(targets) < TARGETS_MAX:
            number = order.choose(skip, len(skip))
            if not number:
                break
            skip.add(number)
            slot = order.index.slot(number)
            target = Target(place_of(order.index.place(number)), slot.regions)
            if want_files <= 0 and in_parts(slot.charge, head.total, want_bytes):
                target.wanted = max(want_bytes, slot.charge // STEPS)
                slot.regions = 0
            targets.append(target)
            want_bytes -= target.wanted or slot.charge
            want_files -= 1
        return targets

    def _carry_out(self, targets: list[Target], stayed: set[str]) -> int:
        """Cull them; returns how many went, at least in part."""
        if not targets:
            return 0
        from netcache._cachefiles.culling import Fate, cull_file

        count = 0
        for target in targets:
            cull_file(self._bound, target)
            if target.fate in (Fate.GONE, Fate.CUT):
                count += 1
                self._room.changed(target.place)
            else:
                stayed.add(target.place)
            if target.fate is Fate.PINNED:
                self._room.put_pin_on_record(target.place, pinned=True)
        return count

    def _count_more(self) -> bool:
        """Count what was never counted, or is suspect; False when that does not help (now)."""
        with self._room.change() as change:
            if change.head.counted and not change.head.suspect:
                # Another process may have counted since.
                return self._uncertain
            self.counting.recount(change)
        if self.counting.go_on():
            return True
        self.counting.go_on_alone()
        return False

    def _grow_unrecorded(self, need: int, error: OSError) -> None:
        """The record cannot be had: in a cache without a limit that is no reason not to store."""
        if self.limit_bytes is not None and not self._fits_by_counting(need):
            raise NoSpaceError(f"what the cache holds is not known now ({error})") from error
        if not self._judge_filesystem(need, culling=False).allowed:
            raise NoSpaceError("the cache's filesystem is almost full") from error
        self._room.purse.give(need)

    def _fits_by_counting(self, need: int) -> bool:
        """Where locks do nothing there is no record, and nothing can be culled: count it."""
        if self._bound.ops.holds_locks or self.limit_bytes is None:
            return False
        with self._room.purse.lock:
            mine = self._room.purse.held()
        return self.walk.allocated_bytes() + mine + need <= most(self.limit_bytes)

    def _why(self, verdict: Verdict) -> str:
        if self.limit_bytes is not None and self._judge_filesystem(0, culling=False).allowed:
            return f"the cache is at its limit of {self.limit_bytes} bytes, all in use or pinned"
        return "the cache's filesystem is almost full, and nothing more can go"

    # Culling for somebody who asks for it.

    def cull(self, target_bytes: int | None) -> tuple[int, int]:
        """Discard down to ``target_bytes`` (None: to the limits); objects and bytes that went.

        Without a target it also tidies up, and walks the cache for that.
        """
        if not self._bound.ops.holds_locks:
            return 0, 0
        with self._lock:
            if target_bytes is None:
                self.walk.reap()
            with self._room.change() as change:
                self._room.bury_the_dead(change)
                if change.head.suspect:
                    self.counting.recount(change)
            while not self.counting.go_on(PLENTY):
                continue
            with self._room.change() as change:
                held = change.head.total + self._room.unsettled()
            if target_bytes is None:
                target_bytes = self.limit_bytes if self.limit_bytes is not None else held
            return self._cull_bytes(held - target_bytes)

    def _cull_bytes(self, excess: int) -> tuple[int, int]:
        from netcache._cachefiles.culling import Fate

        stayed: set[str] = set()
        count = freed = 0
        while freed < excess:
            with self._room.change() as change:
                wanted = Verdict(bytes=excess - freed)
                targets = self._choose(change, wanted, stayed)
            if not targets:
                break
            self._carry_out(targets, stayed)
            count += sum(target.fate is Fate.GONE and target.freed > 0 for target in targets)
            freed += sum(target.freed for target in targets)
        with self._room.change() as change:
            self.culling = change.head.culling = self._judge(change, 0).culling
        return count, freed

    def is_culling(self) -> bool:
        """Whether culling is on, in whatever process; as far as that is known."""
        try:
            with self._room.change() as change:
                self.culling = change.head.culling
        except OSError:
            pass
        return self.culling

    def close(self) -> None:
        """Stop counting.  Idempotent."""
        if self._counting is not None:
            self._counting.close()


def _taken(change: Change) -> int:
    """What the cache takes, or may at any moment."""
    return change.head.total + change.head.granted + change.head.suspect
