"""The ring of notes of reads: what reads hit and missed of late, of all objects together.  Pure.

A head, and behind it a ring of ``NOTES`` records (``misses``), which are numbered from 1 on.  The
number of a note says where it is: so a batch of notes is written at once, and looks at none of
those that it takes the places of.  Notes explain, as traces do, and nothing else.

The head, of 64 bytes, big-endian: 8 bytes 0, the number of the next note (8), 44 bytes 0, and the
CRC-32 of these 60.
"""

from __future__ import annotations

import struct
from binascii import crc32
from collections.abc import Iterator, Sequence

from netcache._core.misses import RECORD_BYTES, Record, Trace, decode, encode

NOTES = 1 << 14
RING_AT = RECORD_BYTES
RING_BYTES = NOTES * RECORD_BYTES
_HEAD = struct.Struct(">8xQ44x")
_SUM = struct.Struct(">I")
_TAG = struct.Struct(">Q")


def head(number: int) -> bytes:
    """The head when ``number`` is the next note's."""
    raw = _HEAD.pack(number)
    return raw + _SUM.pack(crc32(raw))


def next_number(raw: bytes) -> int:
    """The number in a head; 0 when it is none, or not to be believed."""
    if len(raw) != RECORD_BYTES or crc32(raw[:-4]) != _SUM.unpack(raw[-4:])[0]:
        return 0
    if any(raw[: _TAG.size]):
        return 0
    number: int = _HEAD.unpack(raw[:-4])[0]
    return number


def number_behind(ring: bytes) -> int:
    """The number that comes after all of a ring whose head was lost."""
    found = (decode(ring[at : at + RECORD_BYTES]) for at in range(0, len(ring), RECORD_BYTES))
    return max((one[1].number for one in found if one is not None), default=0) + 1


def patches(notes: Sequence[Record], number: int) -> list[tuple[int, bytes]]:
    """What to write, and where, so that notes are in the ring from ``number`` on; the head last.

    There may be as many notes as the ring has places, and no more.
    """
    raw = b"".join(encode(tag, note, number + index) for index, (tag, note) in enumerate(notes))
    start = (number - 1) % NOTES * RECORD_BYTES
    room = RING_BYTES - start
    found = [(RING_AT + start, raw[:room]), (RING_AT, raw[room:]), (0, head(number + len(notes)))]
    return [(at, data) for at, data in found if data]


def notes_of(ring: bytes, tag: int) -> list[Trace]:
    """The notes of the object of ``tag``, oldest first."""
    found = (decode(ring[at : at + RECORD_BYTES]) for at in _places(ring, _TAG.pack(tag)))
    return sorted((one[1] for one in found if one is not None), key=lambda note: note.number)


def _places(ring: bytes, tag: bytes) -> Iterator[int]:
    at = ring.find(tag)
    while at >= 0:
        if at % RECORD_BYTES == 0:
            yield at
        at = ring.find(tag, at + 1)
