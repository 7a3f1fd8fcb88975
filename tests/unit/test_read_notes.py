"""Notes of reads: the ring, and how a cache directory keeps it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from netcache._cachefiles.read_notes import FOLDER, PENDING_MAX, READS, TOLD_MAX
from netcache._cachefiles.store import bind
from netcache._core.keys import ObjectKey
from netcache._core.misses import RECORD_BYTES, Cause, Record, Trace, encode
from netcache._core.read_ring import (
    NOTES,
    RING_AT,
    RING_BYTES,
    head,
    next_number,
    notes_of,
    number_behind,
    patches,
)
from tests.support.costs import counted

KEY, OTHER = ObjectKey("netcache,http,example", b"a"), ObjectKey("netcache,http,example", b"b")
B = 4096


def note(start: int, tag: int) -> Record:
    """A note of a read of one block."""
    return tag, Trace(0, 5, start, start + B, 0, Cause.NEVER, 0)


@pytest.mark.parametrize("seed", range(3))
def test_the_ring_holds_the_last_notes_of_all_in_order(seed: int) -> None:
    """Against a list, over the end of the ring several times, in batches of any length."""
    picks = random.Random(seed)
    file, every, number = bytearray(RING_AT + RING_BYTES), list[Record](), 1
    while len(every) < 2 * NOTES + 100:
        batch = [
            note(len(every) + index, picks.randrange(1, 40))
            for index in range(picks.choice([1, 2, 63, 64, NOTES]))
        ]
        for at, data in patches(batch, number):
            assert at + len(data) <= len(file)
            file[at : at + len(data)] = data
        every += batch
        number = next_number(bytes(file[:RECORD_BYTES]))
        assert number == len(every) + 1 == number_behind(bytes(file[RING_AT:]))
    ring = bytes(file[RING_AT:])
    for tag in range(1, 40):
        wanted = [one.start for other, one in every[-NOTES:] if other == tag]
        assert [one.start for one in notes_of(ring, tag)] == wanted


def test_a_damaged_head_is_none() -> None:
    """Any flipped bit, and a file that is too short."""
    raw = head(7)
    assert next_number(raw) == 7
    assert next_number(raw[:-1]) == 0
    for bit in range(8 * len(raw)):
        flipped = bytearray(raw)
        flipped[bit // 8] ^= 1 << bit % 8
        assert next_number(bytes(flipped)) == 0
    assert next_number(encode(*note(0, 7))) == 0, "a record is none either"


def test_notes_go_on_after_the_head_was_lost(tmp_path: Path) -> None:
    """They are numbered behind those that are there."""
    store = bind(tmp_path)
    for block in range(3):
        store.memory.note_read(KEY, block * B, block * B + B, Cause.NEVER)
        assert len(store.memory.reads(KEY)) == block + 1
    with (tmp_path / FOLDER / READS).open("r+b") as file:
        file.write(b"\xff" * RECORD_BYTES)
    store.memory.note_read(KEY, 3 * B, 4 * B, Cause.NEVER)
    assert [read.start // B for read in store.memory.reads(KEY)] == [0, 1, 2, 3]
    store.close()


def test_hits_are_counted_with_the_last_note_of_the_same_object(tmp_path: Path) -> None:
    """As long as it waits, is one of hits, and no miss came behind it."""
    store = bind(tmp_path)
    for key, count in ((KEY, 2), (OTHER, 1), (KEY, 3)):
        store.memory.note_hits(key, count)
    store.memory.note_read(KEY, 0, B, Cause.CULLED)
    store.memory.note_hits(KEY, 7)
    found = [(read.cause, read.mask) for read in store.memory.reads(KEY)]
    assert found == [(None, 5), (Cause.CULLED, 0), (None, 7)]
    store.memory.note_hits(KEY, 1)
    assert [read.mask for read in store.memory.reads(KEY)] == [5, 0, 7, 1], "7 is on disk"
    assert [read.mask for read in store.memory.reads(OTHER)] == [1]
    store.close()


def test_the_last_notes_of_an_object_are_told_and_the_file_is_bounded(tmp_path: Path) -> None:
    """Also what was noted right before the end of a process."""
    store = bind(tmp_path)
    for block in range(NOTES + 5):
        store.memory.note_read(KEY, block * B, block * B + B, Cause.NEVER)
    store.close()
    later = bind(tmp_path)
    reads = [read.start // B for read in later.memory.reads(KEY)]
    later.close()
    assert reads == list(range(NOTES + 5 - TOLD_MAX, NOTES + 5))
    assert (tmp_path / FOLDER / READS).stat().st_size == RING_AT + RING_BYTES


def test_a_batch_of_notes_takes_seven_system_calls(tmp_path: Path) -> None:
    """However many there are: to open, read the head, write the notes and the head."""
    store = bind(tmp_path)
    store.memory.note_hits(KEY, 1)
    store.memory.reads(KEY)
    with counted() as costs:
        for number in range(PENDING_MAX):
            store.memory.note_hits(ObjectKey(KEY.volume, b"%d" % number), 1)
    assert dict(costs.kernel) == {"open": 2, "close": 2, "preadv": 1, "pwrite": 2}
    store.close()


def test_without_the_file_nothing_was_read(tmp_path: Path) -> None:
    """It may go at any time, and its folder with it."""
    store = bind(tmp_path)
    store.memory.note_hits(KEY, 1)
    assert len(store.memory.reads(KEY)) == 1
    (tmp_path / FOLDER / READS).unlink()
    (tmp_path / FOLDER).rmdir()
    assert store.memory.reads(KEY) == []
    store.memory.note_hits(KEY, 2)
    assert [read.mask for read in store.memory.reads(KEY)] == [2]
    store.close()
    store.memory.note_hits(KEY, 1)
    assert store.memory.reads(KEY) == []
