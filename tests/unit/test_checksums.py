"""Sums of blocks: what they tell, how tables and heads are made, what is pending."""

from __future__ import annotations

import random

import pytest

from netcache._core.checksums import (
    ABSENT,
    HEAD_BYTES,
    PendingSums,
    TableHead,
    block_sums,
    differing_runs,
    part,
    recorded_runs,
    with_part,
)
from netcache._core.label import SUM_BYTES, Binding

UNIT = 512


def table(*marks: int) -> bytes:
    """A table with a made-up sum for each number, absent for 0."""
    return b"".join(mark.to_bytes(SUM_BYTES, "big") for mark in marks)


def test_a_sum_for_each_block_and_the_last_counts_as_padded() -> None:
    """A short block has the sum of what lies on disk: itself and zeros."""
    data = bytes(range(256)) * 5
    sums = block_sums(data, UNIT)
    assert len(sums) == 3 * SUM_BYTES
    assert sums == block_sums(data + bytes(256), UNIT)
    assert block_sums(memoryview(bytearray(data)), UNIT) == sums
    assert block_sums(b"", UNIT) == b""


def test_the_sums_are_those_of_xxh3_and_stay_what_they_are() -> None:
    """They lie on disk: a value fixed by the published test vector of XXH3-64 for no input, and
    one written down when the format was made."""
    import xxhash

    assert xxhash.xxh3_64_digest(b"").hex() == "2d06800538d394c2"
    assert block_sums(bytes(4096), 4096).hex() == xxhash.xxh3_64_hexdigest(bytes(4096))
    assert block_sums(b"netcache" * 512, 4096).hex() == "ac64401264aa6156"


def test_zeros_and_nothing_are_not_the_same() -> None:
    """A block of zeros has a sum; a hole has none."""
    assert block_sums(bytes(UNIT), UNIT) != ABSENT
    assert differing_runs(ABSENT, block_sums(bytes(UNIT), UNIT), 7) == [(7, 8)]


@pytest.mark.parametrize("seed", range(8))
def test_every_single_bit_of_a_block_counts(seed: int) -> None:
    """No single bit flips without another sum."""
    chance = random.Random(seed)
    data = bytearray(chance.randbytes(UNIT))
    sums = block_sums(data, UNIT)
    for bit in range(UNIT * 8):
        data[bit // 8] ^= 1 << bit % 8
        assert differing_runs(sums, block_sums(data, UNIT), 0) == [(0, 1)], (seed, bit)
        data[bit // 8] ^= 1 << bit % 8


def test_recorded_runs() -> None:
    """What has a sum, run by run."""
    assert list(recorded_runs(b"", 3)) == []
    assert list(recorded_runs(table(1, 2, 3), 3)) == [(3, 6)]
    assert list(recorded_runs(table(0, 2, 3, 0, 0, 6), 10)) == [(11, 13), (15, 16)]
    assert list(recorded_runs(table(0, 0), 0)) == []


def test_differing_runs() -> None:
    """What is not as recorded, run by run; without a sum nothing is."""
    assert differing_runs(table(1, 2, 3), table(1, 2, 3), 0) == []
    assert differing_runs(table(1, 2, 0, 4), table(1, 9, 3, 4), 5) == [(6, 8)]
    assert differing_runs(table(0, 0), table(0, 0), 0) == [(0, 2)], "absent fits nothing"


def test_parts_of_a_table_that_may_be_short() -> None:
    """What lies past the end of a table is absent, and is not kept."""
    sums = table(1, 2, 3)
    assert part(sums, 1, 3) == table(2, 3)
    assert part(sums, 2, 5) == table(3, 0, 0)
    assert part(b"", 0, 2) == table(0, 0)
    assert with_part(sums, 4, table(5)) == table(1, 2, 3, 0, 5)
    assert with_part(sums, 1, table(0, 0)) == table(1)
    assert with_part(sums, 0, table(0)) == table(0, 2, 3)
    assert with_part(b"", 0, table(0)) == b""


def test_the_head_of_a_table_belongs_to_one_object() -> None:
    """Each of its fields is told apart."""
    head = TableHead(77, Binding(5, -9), 4096)
    raw = head.pack()
    assert len(raw) == HEAD_BYTES
    for other in (
        head._replace(number=78),
        head._replace(binding=Binding(6, -9)),
        head._replace(binding=Binding(5, -8)),
        head._replace(unit=512),
    ):
        assert other.pack() != raw


def test_pending_sums_are_taken_as_they_were_added() -> None:
    """The rule: a run is recorded as it was written, once."""
    pending = PendingSums()
    pending.add(4, table(4, 5))
    assert pending.take(4, 6) == [(4, table(4, 5))]
    assert pending.take(4, 6) == []


def test_pending_sums_are_taken_in_parts() -> None:
    """A run may be recorded piece by piece, or several at once."""
    pending = PendingSums()
    pending.add(4, table(4, 5, 6, 7))
    pending.add(10, table(10))
    assert pending.take(5, 6) == [(5, table(5))]
    assert pending.take(0, 20) == [(4, table(4)), (6, table(6, 7)), (10, table(10))]


def test_blocks_written_twice_have_the_newer_sums() -> None:
    """Also when the writes overlap."""
    pending = PendingSums()
    pending.add(4, table(4, 5, 6))
    pending.add(5, table(50, 60, 70))
    assert pending.take(0, 9) == [(4, table(4)), (5, table(50, 60, 70))]
    pending.add(1, table(1))
    pending.clear()
    assert pending.take(0, 9) == []
