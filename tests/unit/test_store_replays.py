"""Sequences of fsx that broke caching in the kernel, replayed through the store (T10 to T14).

Each step is checked byte for byte; copies are a read of the model and a write.
"""

from __future__ import annotations

import pytest

from netcache._core.content import WriteKind
from netcache._fscache.ports import CacheObject, CacheStore
from tests.support.bytemodel import ByteModel, pattern
from tests.support.stores import (
    blocks,
    check,
    create,
    fill_blocks,
    found,
    text,
    version,
    write,
)

Step = tuple[str, int, int]

PAGE_NOT_ZEROED = [
    ("truncate", 0x1BBAE, 0),
    ("write", 0x3EF2E, 0xF9C8),
    ("write", 0x67E05, 0xCB5A),
    ("copy", 0x5D3D, 0x54FAC),
    ("write", 0x64710, 0x1C2B),
]
PARTIAL_RECORD_KEPT = [
    ("truncate", 0, 0),
    ("truncate", 0x927C0, 0),
    ("write", 0x63FB8, 0x53C8),
    ("copy", 0xB704, 0x24429),
    ("write", 0x2402B, 0x144A2),
    ("write", 0x204D5, 0x140A0),
    ("copy", 0x1F72C, 0x7A906),
]
COPIED = {0x5D3D: 0x10329, 0xB704: 0x19B9, 0x1F72C: 0x137D0}


def replay(cache_object: CacheObject, model: ByteModel, steps: list[Step]) -> None:
    """Do the steps, checking after each."""
    for number, (kind, first, second) in enumerate(steps):
        if kind == "truncate":
            cache_object.truncate(first)
            model.truncate(first)
        elif kind == "write":
            write(cache_object, model, first, pattern(0, second, seed=number + 1))
        else:
            write(cache_object, model, second, model.padded(first, first + COPIED[first]))
        check(cache_object, model)


@pytest.mark.parametrize("steps", [PAGE_NOT_ZEROED, PARTIAL_RECORD_KEPT], ids=["T10", "T11"])
@pytest.mark.parametrize("cached", ["all", "none", "every third block"])
@pytest.mark.parametrize("block_size", [None, 65536])
def test_a_replayed_sequence_reads_right_after_every_step(
    store: CacheStore, steps: list[Step], cached: str
) -> None:
    """From a file of 0x82864 bytes that is cached wholly, in part, or not at all."""
    model = text(0x82864)
    cache_object = create(store, model.size)
    count = -(-model.size // store.block_size)
    step = {"all": 1, "none": count, "every third block": 3}[cached]
    for number in range(step - 1, count if cached != "none" else 0, step):
        fill_blocks(cache_object, model, number, number + 1)
    cache_object.begin_modify()
    replay(cache_object, model, steps)
    cache_object.commit(version(model.size, "b"))
    cache_object.close()
    again = found(store)
    assert blocks(again)
    check(again, model)


def test_writes_joined_at_odd_positions_leave_one_record(store: CacheStore) -> None:
    """Overlapping and adjoining parts of one block, in any order, add up (T12 to T14)."""
    block = store.block_size
    model = text(3 * block)
    cache_object = create(store, model.size)
    cache_object.begin_modify()
    for start, length in ((100, 50), (150, 10), (90, 20), (0, 95), (block - 5, 10), (1, block)):
        write(cache_object, model, start, pattern(0, length, seed=start))
        check(cache_object, model)
    assert blocks(cache_object) == [0, 1]


def test_a_failed_fill_between_writes_is_no_write(store: CacheStore) -> None:
    """A cancelled run over part of what was modified does not bring old bytes back."""
    block = store.block_size
    model = text(4 * block)
    cache_object = create(store, model.size)
    fill_blocks(cache_object, model, 0, 2)
    cache_object.begin_modify()
    write(cache_object, model, block + 10, b"modified")
    cache_object.collect_write(WriteKind.CANCEL, 2 * block, 3 * block)
    write(cache_object, model, 3 * block, b"end")
    check(cache_object, model)
    assert 2 not in blocks(cache_object)
