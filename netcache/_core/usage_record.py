"""The record of use, byte by byte: what is stored, how much room it takes, when it was used.

One file, an array of slots behind a head.  A slot has three things that do not belong together,
so that one array grows and not three:

* a *record*: one object (or the rest of a long path),
* the head of one chain of the hash table that finds records by place,
* the *ghosts* of that chain: what was culled not long ago, and how often it had been used.

Numbers are little-endian.  Slots are counted from 1; 0 is none.  Nothing here is needed to serve a
byte: a record that is lost is made again by walking the cache.  Pure.
"""

from __future__ import annotations

import struct
from binascii import crc32
from collections.abc import Iterable
from enum import IntEnum
from typing import NamedTuple

from xxhash import xxh3_64_intdigest

FORMAT = 1
HEAD_BYTES = 1024
"""The head, and behind it the journal."""

JOURNAL_AT = HEAD_BYTES
PROCESSES = 1024
PROCESS_BYTES = 8
PROCESSES_AT = 1 << 20
SLOTS_AT = PROCESSES_AT + PROCESSES * PROCESS_BYTES
SLOT_BYTES = 192
JOURNAL_BYTES = PROCESSES_AT - JOURNAL_AT

PATH_BYTES = 102
MORE_BYTES = 151
"""How much of a path is in a record, and in each slot that goes on with it."""

GHOSTS = 8
CURSOR_BYTES_MAX = 700

_MAGIC = b"NCUSAGE\x01"
_HEAD = struct.Struct("<8sI4xQ16sQQ BBH IIII IQ IIQ QQQQ IIH")
_JOURNAL = struct.Struct("<QII")
_PATCH = struct.Struct("<QI")
_SLOT = struct.Struct("<I 32s BBH IIII QQQQ H102s")
_REST = struct.Struct("<I 32s B I151s")
_LINKS = struct.Struct("<I36xI12xQ")
GRANTS = struct.Struct(f"<{PROCESSES}Q")
"""The grants of all processes, from ``PROCESSES_AT`` on."""

_STATE_AT = 36
_NO_GHOSTS = bytes(32)
_GHOST = struct.Struct("<HBB")


class State(IntEnum):
    """What a slot's record is."""

    FREE = 0
    SMALL = 1
    MAIN = 2
    PINNED = 3
    LOOSE = 4
    MORE = 5


# Slots are packed and unpacked by the hundred: an enumeration is looked up several times slower.
_STATES = {int(state): state for state in State}
_MORE = int(State.MORE)


class Ghost(NamedTuple):
    """What is left of an object that was culled: part of its tag, its uses, the age they had."""

    mark: int
    uses: int
    age: int


class Slot:
    """One slot, to be changed in place.  The owner packs it again.

    ``chain``, ``before``, ``behind`` and ``more`` are slots: the next of the hash chain, the
    neighbours in the queue, the rest of the path.  ``regions`` has a bit for each sixty-fourth of
    the object that was used of late.
    """

    __slots__ = (
        "age",
        "before",
        "behind",
        "bucket",
        "chain",
        "charge",
        "ghosts",
        "length",
        "more",
        "part",
        "regions",
        "state",
        "tag",
        "used_ms",
        "uses",
    )

    def __init__(self) -> None:
        self.bucket = 0
        self.ghosts: list[Ghost] = []
        self.clear()

    def clear(self) -> None:
        """The record is free; the chain and the ghosts of the slot stay."""
        self.state = State.FREE
        self.uses = self.age = 0
        self.chain = self.before = self.behind = self.more = 0
        self.tag = self.charge = self.used_ms = self.regions = 0
        self.length = 0
        self.part = b""

    @classmethod
    def unpack(cls, raw: bytes) -> Slot:
        """The slot in ``raw``; raises ``ValueError`` for what is none."""
        slot = cls.__new__(cls)
        if raw[_STATE_AT] == _MORE:
            slot.clear()
            slot.bucket, ghosts, state, slot.more, slot.part = _REST.unpack(raw)
        else:
            (
                slot.bucket, ghosts, state, slot.uses, slot.age,
                slot.chain, slot.before, slot.behind, slot.more,
                slot.tag, slot.charge, slot.used_ms, slot.regions,
                slot.length, slot.part,
            ) = _SLOT.unpack(raw)  # fmt: skip
            slot.part = slot.part[: slot.length]
        known = _STATES.get(state)
        if known is None:
            raise ValueError(f"{state} is no state of a slot")
        slot.state = known
        slot.ghosts = []
        if ghosts != _NO_GHOSTS:
            slot.ghosts += [Ghost(*one) for one in _GHOST.iter_unpack(ghosts) if one[0]]
        return slot

    def pack(self) -> bytes:
        """The bytes of the slot."""
        ghosts = b"".join(_GHOST.pack(*ghost) for ghost in self.ghosts) if self.ghosts else b""
        if self.state is State.MORE:
            return _REST.pack(self.bucket, ghosts, self.state, self.more, self.part)
        return _SLOT.pack(
            self.bucket, ghosts, self.state, self.uses, self.age,
            self.chain, self.before, self.behind, self.more,
            self.tag, self.charge, self.used_ms, self.regions,
            self.length, self.part,
        )  # fmt: skip


class Head:
    """The head, to be changed in place.

    ``counted`` says that every object has a record; until then ``cursor`` is how far the walk has
    come.  ``total`` is what all objects take; ``granted`` what processes may still write;
    ``suspect`` what processes that were killed may have written, ``suspected`` that of the time
    when the present walk began.
    """

    __slots__ = (
        "age",
        "boot",
        "counted",
        "culling",
        "cursor",
        "free",
        "granted",
        "inode",
        "main_bytes",
        "main_count",
        "main_hand",
        "mount",
        "objects",
        "sequence",
        "slots",
        "small_bytes",
        "small_count",
        "small_first",
        "small_last",
        "suspect",
        "suspected",
        "total",
        "uses",
        "walking",
    )

    def __init__(self) -> None:
        self.sequence = 0
        self.boot = bytes(16)
        self.mount = self.inode = 0
        self.counted = self.culling = self.walking = False
        self.slots = self.free = 0
        self.small_first = self.small_last = self.small_count = self.small_bytes = 0
        self.main_hand = self.main_count = self.main_bytes = 0
        self.total = self.granted = self.suspect = self.suspected = 0
        self.objects = self.uses = self.age = 0
        self.cursor = b""

    def pack(self) -> bytes:
        """``HEAD_BYTES`` bytes."""
        flags = self.counted | self.culling << 1 | self.walking << 2
        fixed = _HEAD.pack(
            _MAGIC, FORMAT, self.sequence, self.boot, self.mount, self.inode,
            flags, 0, len(self.cursor),
            self.slots, self.free, self.small_first, self.small_last,
            self.small_count, self.small_bytes,
            self.main_hand, self.main_count, self.main_bytes,
            self.total, self.granted, self.suspect, self.suspected,
            self.objects, self.uses, self.age,
        )  # fmt: skip
        return (fixed + self.cursor).ljust(HEAD_BYTES, b"\0")

    @classmethod
    def unpack(cls, raw: bytes) -> Head | None:
        """The head in ``raw``; None when it is none of ours."""
        if len(raw) < HEAD_BYTES:
            return None
        head = cls()
        (
            magic, found, head.sequence, head.boot, head.mount, head.inode,
            flags, _, cursor,
            head.slots, head.free, head.small_first, head.small_last,
            head.small_count, head.small_bytes,
            head.main_hand, head.main_count, head.main_bytes,
            head.total, head.granted, head.suspect, head.suspected,
            head.objects, head.uses, head.age,
        ) = _HEAD.unpack_from(raw)  # fmt: skip
        if magic != _MAGIC or found != FORMAT:
            return None
        head.counted, head.culling, head.walking = (bool(flags & 1 << bit) for bit in range(3))
        head.cursor = bytes(raw[_HEAD.size : _HEAD.size + cursor])
        return head


Patch = tuple[int, bytes]
"""Where in the file bytes go, and the bytes."""


def journal(sequence: int, patches: Iterable[Patch]) -> bytes:
    """What is written behind the head before any of ``patches`` is made."""
    body = b"".join(_PATCH.pack(at, len(data)) + data for at, data in patches)
    return _JOURNAL.pack(sequence, len(body), crc32(body)) + body


JOURNAL_HEAD_BYTES = _JOURNAL.size


def journal_of(raw: bytes) -> tuple[int, int, int]:
    """The number of the change that the journal is of, its length, its checksum."""
    sequence, length, checksum = _JOURNAL.unpack_from(raw)
    return sequence, length, checksum


def patches_of(body: bytes, checksum: int) -> list[Patch] | None:
    """The patches of a journal; None when it was not written to its end."""
    if crc32(body) != checksum:
        return None
    patches, at = [], 0
    while at < len(body):
        start, length = _PATCH.unpack_from(body, at)
        at += _PATCH.size
        patches.append((start, body[at : at + length]))
        at += length
    return patches


def joined(patches: Iterable[Patch]) -> list[Patch]:
    """The same patches, neighbours as one, in order of place, but with the head's last."""
    runs: list[tuple[int, bytearray]] = []
    for at, data in sorted(patches):
        if runs and at and runs[-1][0] + len(runs[-1][1]) == at:
            runs[-1][1].extend(data)
        else:
            runs.append((at, bytearray(data)))
    return [(at, bytes(data)) for at, data in (*runs[1:], *runs[:1])]


def slot_at(number: int) -> int:
    """Where slot ``number`` begins."""
    return SLOTS_AT + (number - 1) * SLOT_BYTES


def links(raw: bytes | bytearray, at: int = 0) -> tuple[int, int, int]:
    """What of the slot at ``at`` is needed to find a record: where its chain begins; the next of
    the record's chain, and its tag."""
    bucket, chain, tag = _LINKS.unpack_from(raw, at)
    return (bucket, 0, 0) if raw[at + _STATE_AT] == _MORE else (bucket, chain, tag)


def process_at(number: int) -> int:
    """Where it says what process ``number``, counted from 0, may still write."""
    return PROCESSES_AT + number * PROCESS_BYTES


def tag_of(path: bytes) -> int:
    """The hash of a path."""
    return xxh3_64_intdigest(path)
