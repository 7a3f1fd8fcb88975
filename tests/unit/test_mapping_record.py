"""The record of a shared mapping: layout, rules, wrap-around (K6), reuse of places."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netcache._core import mapping_record as layout
from netcache._core.keys import tag_of
from netcache._core.mapping_record import (
    GENERATIONS,
    UNSHARED,
    WORKERS,
    MappingRecord,
    choose,
    next_generation,
    unpack,
    workers_of,
)
from netcache.errors import InvariantError

WORD = st.integers(0, GENERATIONS - 1)
RECORD = st.builds(MappingRecord, WORD, WORD, WORD, WORD, st.booleans())
WORKER = st.integers(0, WORKERS - 1)


def test_records_and_sets_do_not_overlap_and_are_aligned() -> None:
    """Each record is a cache line of its own; the table ends where the last one does."""
    places = [
        layout.record_at(number, way) for number in range(layout.SETS) for way in range(layout.WAYS)
    ]
    assert places == list(range(layout.HEAD_BYTES, layout.TABLE_BYTES, layout.RECORD_BYTES))
    assert len(MappingRecord(1, 2, 3, 4, True).pack()) <= layout.RECORD_BYTES


@given(record=RECORD)
def test_a_record_comes_back_as_it_was(record: MappingRecord) -> None:
    """Words in the machine's order: what a processor loads is the generation."""
    raw = record.pack()
    assert unpack(b"\xff" * 24 + raw, 24) == record
    table = bytearray(layout.TABLE_BYTES)
    position = layout.record_at(layout.SETS - 1, layout.WAYS - 1)
    table[position : position + len(raw)] = raw
    assert memoryview(table).cast("Q")[layout.generation_word(position)] == record.generation


def test_zeros_are_a_free_record() -> None:
    """A new file needs no initialisation."""
    assert unpack(bytes(layout.RECORD_BYTES)) == MappingRecord()
    assert struct.calcsize("=Q") == layout.WORD_BYTES


@given(record=RECORD, step=st.integers(1, 1 << 49))
def test_a_change_clears_the_mask_and_moves_the_generation(
    record: MappingRecord, step: int
) -> None:
    """Rule 1, for every change; users stay, and the flag says whether any has to look."""
    changed = record.changed(step)
    assert changed.generation not in (record.generation, UNSHARED)
    assert changed.synced == 0
    assert (changed.users, changed.tag) == (record.users, record.tag)
    assert changed.lazy == (record.users != 0)
    assert changed.unsynced == record.users


@pytest.mark.parametrize(
    ("before", "step", "after"),
    [
        (0, 1, 1),
        (GENERATIONS - 2, 1, GENERATIONS - 1),
        (GENERATIONS - 1, 1, 1),
        (GENERATIONS - 1, 2, 1),
        (GENERATIONS - 5, 10, 5),
    ],
)
def test_generations_wrap_and_are_never_unshared(before: int, step: int, after: int) -> None:
    """K6: after the last one comes 1, which differs from the one before."""
    assert next_generation(before, step) == after
    assert after != before


@given(record=RECORD, worker=WORKER)
def test_a_look_sets_the_worker_s_bit_and_no_other(record: MappingRecord, worker: int) -> None:
    """A worker that has looked is a user, and synchronised."""
    looked = record.looked(worker)
    assert looked.synced == record.synced | 1 << worker
    assert looked.users == record.users | 1 << worker
    assert not looked.unsynced >> worker & 1
    assert looked.generation == record.generation


@given(record=RECORD, worker=WORKER)
def test_an_answer_makes_no_user(record: MappingRecord, worker: int) -> None:
    """Who holds nothing has nothing to be synchronised."""
    answered = record.answered(worker)
    assert answered.users == record.users
    assert bool(answered.synced >> worker & 1) == bool((record.users | record.synced) >> worker & 1)
    assert not answered.unsynced >> worker & 1


@given(record=RECORD, mask=WORD)
def test_the_dead_are_in_no_mask(record: MappingRecord, mask: int) -> None:
    """K5: bits of workers that left or died are gone, all others stay."""
    without = record.without(mask)
    assert without.users == record.users & ~mask
    assert without.synced == record.synced & ~mask
    assert without.unsynced & mask == 0


@given(record=RECORD)
def test_the_lazy_flag_goes_only_when_all_are_synchronised(record: MappingRecord) -> None:
    """Rule 3: it cannot be cleared with a worker unsynchronised; it may be set at any time."""
    if record.unsynced:
        with pytest.raises(InvariantError):
            record.settled()
    else:
        assert not record.settled().lazy


@given(record=RECORD, tag=WORD)
def test_a_record_that_is_used_again_never_repeats_a_generation(
    record: MappingRecord, tag: int
) -> None:
    """K6: who still compares with the old object's word sees it move."""
    claimed = record.claimed(tag)
    assert claimed.generation != record.generation
    assert (claimed.tag, claimed.users, claimed.synced) == (tag, 0, 0)
    assert not claimed.lazy


@given(ways=st.lists(RECORD, min_size=1, max_size=layout.WAYS), tag=st.integers(1, 5))
def test_the_chosen_way_is_the_tag_s_or_not_in_use(ways: list[MappingRecord], tag: int) -> None:
    """Never a record that somebody else's workers use; one of its own when there is one."""
    ways = [record._replace(tag=record.tag % 6, users=record.users % 2) for record in ways]
    way = choose(ways, tag)
    tags = [record.tag for record in ways]
    if tag in tags:
        assert way == tags.index(tag)
    elif way < 0:
        assert all(record.tag and record.users for record in ways)
    else:
        assert not ways[way].tag or not ways[way].users
        assert not ways[way].tag or 0 not in tags


@given(mask=WORD)
def test_workers_of_a_mask_are_its_bits(mask: int) -> None:
    """Each bit once, in order."""
    assert list(workers_of(mask)) == [number for number in range(WORKERS) if mask >> number & 1]


def test_tags_are_never_that_of_a_free_record_and_differ() -> None:
    """Ten thousand objects, no two of them alike."""
    tags = {tag_of(f"cache/Ivolume/@00/Dobject-{number}") for number in range(10_000)}
    assert len(tags) == 10_000
    assert 0 not in tags
    assert {layout.set_of(tag) for tag in tags} == set(range(layout.SETS))
