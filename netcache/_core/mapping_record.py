"""Shared mappings: who of many processes knows which state of an object's mapping.

Worker processes map the file of one object and read it without asking anybody.  When the mapping
changes (the object is replaced, dropped, changed, grown), nobody is woken: the *generation* moves
and the mask of those who know it is cleared.  Whoever looks next compares one word and renews his
map.  Only a consumer that cannot compare asks for all others to renew theirs (``sync_all``).  These
are the rules of DragonFly's KVABIO buffers, with processes in place of processors.

This module has the layout of the table and the rules; it decides, ``_cachefiles.mapping_table``
reads and writes.  Pure.

The table: a page of head, then ``SETS`` sets of ``WAYS`` records of eight words.  The place of an
object decides its set.  Numbers are in the machine's byte order, because a word is what a processor
loads at once, and a table means nothing on another machine.  All zeros is an empty table.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from netcache._core.invariant import invariant

WORKERS = 64
"""How many worker processes a cache directory has places for: the bits of a mask."""

SETS, WAYS = 64, 16
WORD_BYTES = 8
RECORD_BYTES = 64
HEAD_BYTES = 4096
SET_BYTES = WAYS * RECORD_BYTES
TABLE_BYTES = HEAD_BYTES + SETS * SET_BYTES
MESSAGES_AT = 0
"""Where in the head the count of all messages ever sent is."""

GENERATIONS = 1 << 64
UNSHARED = 0
"""Not a generation: bytes that belong to their reader alone, and cannot become stale."""

_RECORD = struct.Struct("=QQQQQ")
_GENERATION_WORD = 1


class MappingRecord(NamedTuple):
    """What is shared of one object.

    ``tag`` names the object (0: the record is free).  ``users`` are the workers that may hold a
    map, ``synced`` those of them that hold none older than ``generation``.  ``lazy`` says that some
    may not be synchronised; it is cleared only when all are.
    """

    tag: int = 0
    generation: int = 0
    synced: int = 0
    users: int = 0
    lazy: bool = False

    @property
    def unsynced(self) -> int:
        """The workers that may hold an older map."""
        return self.users & ~self.synced

    def changed(self, step: int = 1) -> MappingRecord:
        """The mapping changes: a new generation, which nobody knows yet."""
        return self._replace(
            generation=next_generation(self.generation, step), synced=0, lazy=self.users != 0
        )

    def looked(self, worker: int) -> MappingRecord:
        """``worker`` holds a map of this generation."""
        bit = 1 << worker
        return self._replace(synced=self.synced | bit, users=self.users | bit)

    def answered(self, worker: int) -> MappingRecord:
        """``worker`` holds no older map any more; one that is no user stays none."""
        return self._replace(synced=self.synced | (self.users & (1 << worker)))

    def without(self, workers: int) -> MappingRecord:
        """The workers of a mask have left, or are dead: nobody waits for them."""
        return self._replace(synced=self.synced & ~workers, users=self.users & ~workers)

    def settled(self) -> MappingRecord:
        """All users are synchronised, and only then the flag may go."""
        invariant(not self.unsynced, "a mapping is called settled", unsynced=hex(self.unsynced))
        return self._replace(lazy=False)

    def claimed(self, tag: int) -> MappingRecord:
        """The record is another object's from now on; generations are never used again."""
        return MappingRecord(tag, next_generation(self.generation))

    def pack(self) -> bytes:
        """The words of the record."""
        return _RECORD.pack(*self)


def next_generation(generation: int, step: int = 1) -> int:
    """The generation ``step`` further on; it wraps, and is never ``UNSHARED``."""
    following = (generation + step) % GENERATIONS
    return following if following != UNSHARED else UNSHARED + 1


def unpack(raw: bytes | bytearray | memoryview, start: int = 0) -> MappingRecord:
    """The record in the bytes at ``start``."""
    tag, generation, synced, users, lazy = _RECORD.unpack_from(raw, start)
    return MappingRecord(tag, generation, synced, users, bool(lazy))


def choose(ways: Sequence[MappingRecord], tag: int) -> int:
    """The way of a set that is, or may become, the record of ``tag``; -1 when all are in use."""
    for wanted in (tag, 0):
        for way, record in enumerate(ways):
            if record.tag == wanted:
                return way
    for way, record in enumerate(ways):
        if not record.users:
            return way
    return -1


def set_of(tag: int) -> int:
    """The set in which a tag's record is."""
    return tag % SETS


def record_at(set_number: int, way: int) -> int:
    """Where a record begins in the table."""
    return HEAD_BYTES + set_number * SET_BYTES + way * RECORD_BYTES


def generation_word(position: int) -> int:
    """The number, in words from the start of the table, of a record's generation."""
    return position // WORD_BYTES + _GENERATION_WORD


def workers_of(mask: int) -> Iterator[int]:
    """The workers in a mask."""
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest
