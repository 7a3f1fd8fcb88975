"""A cache that is nothing but its record of use, in memory: what is culled, and what found?"""

from __future__ import annotations

from netcache._core.cull_order import CullOrder
from netcache._core.usage_index import TornError, UsageIndex
from netcache._core.usage_record import Head, Slot


class MemoryCells:
    """Slots in memory."""

    def __init__(self) -> None:
        self.head = Head()
        self.slots: dict[int, Slot] = {}
        self.looked_at = 0

    def slot(self, number: int) -> Slot:
        """Slot ``number``; counts how often one was asked for."""
        self.looked_at += 1
        if not 1 <= number <= self.head.slots:
            raise TornError(f"slot {number} of {self.head.slots}")
        return self.slots.setdefault(number, Slot())

    def new_slot(self, number: int) -> Slot:
        """A slot at the end."""
        return self.slot(number)

    def links(self, number: int) -> tuple[int, int, int]:
        """What is needed to pass by a slot."""
        slot = self.slot(number)
        return slot.bucket, slot.chain, slot.tag


class CulledCache:
    """Holds ``limit`` bytes.  ``read`` is a use of an object; a miss stores it and culls for it."""

    def __init__(self, limit: int) -> None:
        self.cells = MemoryCells()
        self.order = CullOrder(UsageIndex(self.cells))
        self.limit = limit
        self.held: dict[str, int] = {}
        self.hits = self.misses = 0
        self._now = 0

    def read(self, name: str, size: int = 1) -> bool:
        """Use an object; whether it was there."""
        self._now += 1
        index = self.order.index
        number = index.find(name.encode())
        assert bool(number) == (name in self.held)
        if number:
            self.order.use(number, self._now)
            self.hits += 1
            return True
        self.misses += 1
        while sum(self.held.values()) + size > self.limit:
            self.cull()
        self.order.enter(name.encode(), size, self._now)
        self.held[name] = size
        assert self.cells.head.total == sum(self.held.values())
        return False

    def cull(self) -> str:
        """Discard what goes next; returns its name."""
        number = self.order.choose()
        assert number, "nothing goes"
        name = self.order.index.place(number).decode()
        self.order.leave(number)
        del self.held[name]
        return name
