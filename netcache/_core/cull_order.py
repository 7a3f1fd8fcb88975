"""The culling order: what goes first when room is needed.

Two queues.  An object begins in the *small* one, and leaves it first in, first out.  What was used
again by then, or comes back soon after it went (a ghost tells), moves to the *main* one: that is
where the hot set lives, and a scan never gets there.  Rules:

1. The small queue is culled as long as it is more than a twentieth of what is held, else main.
   While nothing was ever used again, that is plain "oldest first", over all of the cache.
2. Main has at most nine tenths.  When it is full, a newcomer must have been used at least
   two times more than the worst of the next few of main, to take its place.  In a cycle
   that is larger than the cache all have been used equally often, but for one: so main stays as it
   is, and that part of each round is found in the cache.
3. Uses age: each lose half of their weight when the cache has been used a few times as often as it
   has objects.  So what was hot once does not stay for ever.

Why not plain LRU, S3-FIFO or 2Q: ``docs/decisions.md``.  Pure.
"""

from __future__ import annotations

from collections.abc import Container

from netcache._core.usage_index import UsageIndex, aged
from netcache._core.usage_record import Slot, State

USES_MAX = 7
"""Uses count up to this."""

PERIOD = 4
PERIOD_OBJECTS_MIN = 64
"""An age lasts ``PERIOD`` uses for each object, as if there were at least so many."""

SAMPLE = 4
"""How many of main are looked at to find one that goes."""

LEAD = 2
"""By how many uses a newcomer must be ahead of what it displaces from main."""

AGAIN = 2
"""So many uses make an object a candidate for main."""

SMALL_PART = 20
"""The small queue is culled as long as it has more than this part of what is held."""

MAIN_PARTS = (9, 10)
"""How much of what is held main may have.  What is left is more than ``SMALL_PART``: else a
newcomer would displace what it cannot compete with."""

PROMOTIONS_MAX = 64
"""So many objects are moved to main for one that goes; then the next goes, whatever it is."""

_AGES = 1 << 16


class CullOrder:
    """The two queues over the records of an index."""

    def __init__(self, index: UsageIndex) -> None:
        self.index = index

    # Uses.

    def uses(self, slot: Slot) -> int:
        """How often an object was used, as of now."""
        return aged(slot.uses, (self.index.head.age - slot.age) % _AGES)

    def use(self, number: int, used_ms: int) -> None:
        """Count a use of a record."""
        slot, head = self.index.slot(number), self.index.head
        slot.uses = min(USES_MAX, self.uses(slot) + 1)
        slot.age = head.age
        slot.used_ms = max(slot.used_ms, used_ms)
        self._pass_time()

    def _pass_time(self) -> None:
        head = self.index.head
        head.uses += 1
        if head.uses >= PERIOD * max(head.objects, PERIOD_OBJECTS_MIN):
            head.age, head.uses = (head.age + 1) % _AGES, 0

    # Coming, changing, going.

    def enter(self, place: bytes, charge: int, used_ms: int) -> int:
        """A record for a new object; what comes back goes to main if there is room."""
        index, head = self.index, self.index.head
        number = index.add(place)
        slot = index.slot(number)
        before = index.recall(slot.tag)
        slot.charge, slot.used_ms = charge, used_ms
        slot.uses, slot.age = min(USES_MAX, before + 1), head.age
        head.total += charge
        if slot.uses >= AGAIN and self._main_has_room(charge):
            self._put_in_main(number)
        else:
            self._put_in_small(number)
        self._pass_time()
        return number

    def recharge(self, number: int, charge: int) -> None:
        """An object takes more, or less, than it did."""
        slot, head = self.index.slot(number), self.index.head
        more = charge - slot.charge
        slot.charge = charge
        head.total += more
        if slot.state is State.SMALL:
            head.small_bytes += more
        elif slot.state is State.MAIN:
            head.main_bytes += more

    def leave(self, number: int) -> None:
        """The object is gone: so is its record, but for a ghost."""
        slot = self.index.slot(number)
        self.unlink(number)
        self.index.head.total -= slot.charge
        tag, uses = slot.tag, self.uses(slot)
        self.index.remove(number)
        self.index.remember(tag, uses)

    def unlink(self, number: int) -> None:
        """Take a record out of its queue, if it is in one."""
        slot = self.index.slot(number)
        if slot.state is State.SMALL:
            self._take_from_small(number)
        elif slot.state is State.MAIN:
            self._take_from_main(number)

    def pin(self, number: int) -> None:
        """Out of the queues: it is never looked at again, until ``unpin``."""
        self.unlink(number)
        self.index.slot(number).state = State.PINNED

    def unpin(self, number: int) -> None:
        """Back among the others."""
        if self.index.slot(number).state is State.PINNED:
            self._put_in_main(number)

    # Culling.

    def choose(self, skip: Container[int] = (), skipped: int = 0) -> int:
        """What goes next, but for the ``skipped`` records of ``skip``; 0 when nothing is left.

        It goes to the end of its queue, until somebody calls ``leave``: should it stay after all
        (in use, or its culler was killed), it is as good as the others for a while.
        """
        for _ in range(PROMOTIONS_MAX):
            number = self._next(skip, skipped)
            if number is not None:
                break
        else:
            number = self._first_of_small(skip, skipped) or self._worst_of_main(skip, skipped)
        if number and self.index.slot(number).state is State.SMALL:
            self._to_the_end(number)
        return number

    def _next(self, skip: Container[int], skipped: int) -> int | None:
        """What goes; 0 for nothing; None when an object was moved instead."""
        head = self.index.head
        held = head.small_bytes + head.main_bytes
        number = self._first_of_small(skip, skipped)
        if not number:
            return self._worst_of_main(skip, skipped)
        if head.main_count and head.small_bytes * SMALL_PART <= held:
            return self._worst_of_main(skip, skipped) or number
        slot = self.index.slot(number)
        uses = self.uses(slot)
        if uses < AGAIN:
            return number
        if self._main_has_room(slot.charge):
            self._promote(number)
            return None
        worst = self._worst_of_main(skip, skipped)
        if not worst or uses < self.uses(self.index.slot(worst)) + LEAD:
            return number
        self._promote(number)
        return worst

    def _first_of_small(self, skip: Container[int], skipped: int) -> int:
        """The first that is not to be skipped; those before it go to the end."""
        head = self.index.head
        for _ in range(min(head.small_count, skipped + 1)):
            number = head.small_first
            if number not in skip:
                return number
            self._to_the_end(number)
        return 0

    def _to_the_end(self, number: int) -> None:
        self._take_from_small(number)
        self._put_in_small(number)

    def _promote(self, number: int) -> None:
        self._take_from_small(number)
        self._put_in_main(number)

    def _main_has_room(self, charge: int) -> bool:
        head = self.index.head
        held = head.small_bytes + head.main_bytes + charge
        return (head.main_bytes + charge) * MAIN_PARTS[1] <= held * MAIN_PARTS[0]

    def _worst_of_main(self, skip: Container[int], skipped: int) -> int:
        """The least used of the next few, the one used longest ago among equals; 0 for none.

        The hand moves on behind them.
        """
        head, best, best_rank, looked = self.index.head, 0, (0, 0), 0
        number = head.main_hand
        for _ in range(min(SAMPLE + skipped, head.main_count)):
            slot = self.index.slot(number)
            if number not in skip:
                rank = (self.uses(slot), slot.used_ms)
                if not best or rank < best_rank:
                    best, best_rank = number, rank
                looked += 1
            number = slot.behind
            if looked == SAMPLE:
                break
        head.main_hand = number
        return best

    # The queues: a chain with two ends, and a ring with a hand.

    def _put_in_small(self, number: int) -> None:
        head, slot = self.index.head, self.index.slot(number)
        slot.state = State.SMALL
        slot.before = slot.behind = 0
        if not head.small_count:
            head.small_first = head.small_last = number
        else:
            slot.before, head.small_last = head.small_last, number
            self.index.slot(slot.before).behind = number
        head.small_count += 1
        head.small_bytes += slot.charge

    def _take_from_small(self, number: int) -> None:
        head, slot = self.index.head, self.index.slot(number)
        if slot.before:
            self.index.slot(slot.before).behind = slot.behind
        else:
            head.small_first = slot.behind
        if slot.behind:
            self.index.slot(slot.behind).before = slot.before
        else:
            head.small_last = slot.before
        head.small_count -= 1
        head.small_bytes -= slot.charge
        slot.before = slot.behind = 0

    def _put_in_main(self, number: int) -> None:
        """Just before the hand: it comes to it last."""
        head, slot = self.index.head, self.index.slot(number)
        slot.state = State.MAIN
        if not head.main_count:
            slot.before = slot.behind = head.main_hand = number
        else:
            behind = self.index.slot(head.main_hand)
            slot.before, slot.behind = behind.before, head.main_hand
            self.index.slot(slot.before).behind = number
            behind.before = number
        head.main_count += 1
        head.main_bytes += slot.charge

    def _take_from_main(self, number: int) -> None:
        head, slot = self.index.head, self.index.slot(number)
        if head.main_count == 1:
            head.main_hand = 0
        else:
            self.index.slot(slot.before).behind = slot.behind
            self.index.slot(slot.behind).before = slot.before
            if head.main_hand == number:
                head.main_hand = slot.behind
        head.main_count -= 1
        head.main_bytes -= slot.charge
        slot.before = slot.behind = 0
