"""The record of use as a hash table: from the place of an object to its record.

Linear hashing: there are as many chains as slots, and each new slot splits one chain.  So no
operation takes longer because there are many objects, and nothing is ever hashed anew as a whole.

A free slot is used again before the file grows; the file does not shrink.  Pure: what it reads and
changes are slots that the owner has in memory (``Cells``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from netcache._core.usage_record import (
    GHOSTS,
    MORE_BYTES,
    PATH_BYTES,
    Ghost,
    Head,
    Slot,
    State,
    tag_of,
)

CHAIN_MAX = 4096
"""A chain or a path that is longer than this many slots is a ring: the record is torn."""


class TornError(Exception):
    """The record of use contradicts itself; it is thrown away and made again."""


class Cells(Protocol):
    """Slots in memory."""

    head: Head

    def slot(self, number: int) -> Slot:
        """Slot ``number``, from 1 to ``head.slots``, to be changed in place.

        Raises ``TornError`` when there is none of that number.
        """

    def new_slot(self, number: int) -> Slot:
        """Slot ``number``, which has just been counted in: there is nothing in it yet."""

    def links(self, number: int) -> tuple[int, int, int]:
        """``bucket``, ``chain`` and ``tag`` of slot ``number``, which most often is only passed by.

        Raises ``TornError`` as ``slot`` does.
        """


class UsageIndex:
    """Records by place.  Places are the bytes of paths below the folder of all volumes."""

    def __init__(self, cells: Cells) -> None:
        self.cells = cells
        self.head: Head = cells.head
        # A method of theirs, not one of ours round it: it is called ten times for each record.
        self.slot: Callable[[int], Slot] = cells.slot

    # Finding.

    def _bucket(self, tag: int) -> Slot:
        """The slot that has the chain (and the ghosts) of a tag.  There is at least one slot."""
        return self.slot(bucket_of(tag, self.head.slots) + 1)

    def find(self, place: bytes) -> int:
        """The record of a place; 0 when it has none."""
        if not self.head.slots:
            return 0
        links, tag = self.cells.links, tag_of(place)
        number = links(bucket_of(tag, self.head.slots) + 1)[0]
        for _ in range(CHAIN_MAX):
            if not number:
                return 0
            _, following, found = links(number)
            if found == tag and self.place(number) == place:
                return number
            number = following
        raise TornError("a chain without an end")

    def place(self, number: int) -> bytes:
        """The place of a record."""
        slot = self.slot(number)
        if slot.length <= PATH_BYTES:
            return slot.part
        parts, more = [slot.part], slot.more
        while more and len(parts) < CHAIN_MAX:
            rest = self.slot(more)
            parts.append(rest.part)
            more = rest.more
        return b"".join(parts)[: slot.length]

    # Making and removing.

    def add(self, place: bytes) -> int:
        """A record, in no queue yet, for a place that has none."""
        number = self._allocate()
        slot = self.slot(number)
        slot.state = State.LOOSE
        slot.tag, slot.length = tag_of(place), len(place)
        slot.part = place[:PATH_BYTES]
        last = number
        for start in range(PATH_BYTES, len(place), MORE_BYTES):
            more = self._allocate()
            rest = self.slot(more)
            rest.state, rest.part = State.MORE, place[start : start + MORE_BYTES]
            self.slot(last).more = more
            last = more
        # Now, for making room for the path may have split the chain.
        bucket = self._bucket(slot.tag)
        slot.chain, bucket.bucket = bucket.bucket, number
        self.head.objects += 1
        return number

    def remove(self, number: int) -> None:
        """Forget a record that is in no queue."""
        slot = self.slot(number)
        bucket = self._bucket(slot.tag)
        if bucket.bucket == number:
            bucket.bucket = slot.chain
        else:
            for before, following, _ in self._links(bucket):
                if following == number:
                    self.slot(before).chain = slot.chain
                    break
            else:
                raise TornError("a record that is not in its chain")
        more = slot.more
        self._free(number)
        while more:
            following = self.slot(more).more
            self._free(more)
            more = following
        self.head.objects -= 1

    def _free(self, number: int) -> None:
        slot = self.slot(number)
        if slot.state is State.FREE:
            raise TornError("a slot that is freed twice")
        slot.clear()
        slot.behind, self.head.free = self.head.free, number

    def _allocate(self) -> int:
        number = self.head.free
        if number:
            slot = self.slot(number)
            if slot.state is not State.FREE:
                raise TornError("a free slot that is in use")
            self.head.free, slot.behind = slot.behind, 0
            return number
        self.head.slots += 1
        self._split(self.cells.new_slot(self.head.slots))
        return self.head.slots

    def _split(self, new: Slot) -> None:
        """Give the new last chain its share of the one that had it until now."""
        count = self.head.slots
        if count == 1:
            return
        old = self.slot(split_of(count) + 1)
        new.ghosts = list(old.ghosts)
        stay, go = 0, 0
        for number, following, tag in reversed(self._links(old)):
            if bucket_of(tag, count) == count - 1:
                after, go = go, number
            else:
                after, stay = stay, number
            # Most go on to what they went on to: those are only passed by.
            if after != following:
                self.slot(number).chain = after
        old.bucket, new.bucket = stay, go

    def _links(self, bucket: Slot) -> list[tuple[int, int, int]]:
        """The number of each record of a chain, what it goes on to, and its tag."""
        found: list[tuple[int, int, int]] = []
        links, number = self.cells.links, bucket.bucket
        for _ in range(CHAIN_MAX):
            if not number:
                return found
            _, following, tag = links(number)
            found.append((number, following, tag))
            number = following
        raise TornError("a chain without an end")

    # Ghosts.

    def remember(self, tag: int, uses: int) -> None:
        """Something that was used so often is gone."""
        ghosts = self._bucket(tag).ghosts
        ghosts[:] = [ghost for ghost in ghosts if ghost.mark != mark_of(tag)][: GHOSTS - 1]
        ghosts.insert(0, Ghost(mark_of(tag), min(uses, 255), self.head.age & 0xFF))

    def recall(self, tag: int) -> int:
        """How often what comes back had been used, as of now; 0 when nothing is known of it."""
        if not self.head.slots:
            return 0
        ghosts = self._bucket(tag).ghosts
        for ghost in ghosts:
            if ghost.mark == mark_of(tag):
                ghosts.remove(ghost)
                return aged(ghost.uses, (self.head.age - ghost.age) & 0xFF)
        return 0


def bucket_of(tag: int, count: int) -> int:
    """The chain of a tag when there are ``count`` of them, counted from 0."""
    half = 1 << count.bit_length() - 1
    number = tag & (2 * half - 1)
    return number if number < count else tag & (half - 1)


def split_of(count: int) -> int:
    """The chain that is split when there are ``count`` of them now."""
    return count - 1 - (1 << (count - 1).bit_length() - 1)


def mark_of(tag: int) -> int:
    """What a ghost knows of a tag; never 0."""
    return tag >> 48 or 1


def aged(uses: int, ages: int) -> int:
    """Uses lose half of their weight with each age; the first keeps its own."""
    return max(1, uses >> min(ages, 8))
