"""Damage at rest: whatever happens to the files, a wrong byte is never given (promise P4).

``NETCACHE_FLIPS`` sets the number of random bit flips; the seed of each is in its message.
"""

from __future__ import annotations

import contextlib
import os
import random
from pathlib import Path

import pytest

from netcache._cachefiles.store import bind
from netcache._fscache.ports import CacheObject
from netcache.errors import CacheError
from tests.support.damage import fallocate, flip, flip_attribute, lost_blocks, tables
from tests.support.damage_targets import CONTENTS, COUNT, LEVELS, PLACES, Maker, sparse, whole
from tests.support.labels import ATTRIBUTE, raw_label
from tests.support.stores import KEY, blocks, check, create, fill_blocks, found, object_file, text

FLIPS = int(os.environ.get("NETCACHE_FLIPS", "600"))

_HOLES: dict[Maker, list[int]] = {whole: [], sparse: [40]}


@CONTENTS
@PLACES
@LEVELS
def test_random_bit_flips_in_data(tmp_path: Path, make: Maker, in_label: int, verify: str) -> None:
    """Of every flip exactly the block is lost that it hit; stored again it is there again."""
    store = bind(tmp_path, sums_in_label=in_label, verify=verify)
    model = make(store)
    path, block = object_file(tmp_path), store.block_size
    for seed in range(FLIPS // 10):
        bit = random.Random(seed).randrange(model.size * 8)
        hit = bit // 8 // block
        if hit in _HOLES[make]:
            continue
        flip(path, bit)
        cache_object = found(store)
        assert lost_blocks(cache_object, model) == sorted([*_HOLES[make], hit]), f"seed {seed}"
        assert cache_object.damaged(hit * block, hit * block + 1)
        fill_blocks(cache_object, model, hit, hit + 1)
        assert lost_blocks(cache_object, model) == _HOLES[make], f"seed {seed}"
        assert not cache_object.damaged(0, model.size)
        cache_object.close()
    store.close()


@CONTENTS
def test_random_bit_flips_in_a_table(tmp_path: Path, make: Maker) -> None:
    """A sum that flipped fits nothing: at most a block is lost, and with the head all of them."""
    store = bind(tmp_path, sums_in_label=0)
    model = make(store)
    (path,) = tables(tmp_path)
    intact = path.read_bytes()
    for seed in range(FLIPS // 10):
        bit = random.Random(seed).randrange(len(intact) * 8)
        flip(path, bit)
        cache_object = found(store)
        lost = set(lost_blocks(cache_object, model)) - set(_HOLES[make])
        expected = {(bit // 8 - 64) // 8} if bit // 8 >= 64 else set(range(COUNT))
        assert lost == expected - set(_HOLES[make]), f"seed {seed} bit {bit}"
        cache_object.close()
        store.drop(KEY)
        make(store)
        (path,) = tables(tmp_path)
    store.close()


@CONTENTS
@PLACES
def test_random_bit_flips_in_a_label(tmp_path: Path, make: Maker, in_label: int) -> None:
    """The object is not believed at all."""
    store = bind(tmp_path, sums_in_label=in_label)
    make(store)
    path = object_file(tmp_path)
    length = len(raw_label(path)) * 8
    for seed in range(FLIPS // 10):
        bit = random.Random(seed).randrange(length)
        flip_attribute(path, ATTRIBUTE, bit)
        believed: CacheObject | None = None
        # A format that is newer than ours is refused, and left alone.
        with contextlib.suppress(CacheError) if bit // 8 == 18 else contextlib.nullcontext():
            believed = store.lookup(KEY)
        assert believed is None, f"seed {seed} bit {bit}"
        flip_attribute(path, ATTRIBUTE, bit)
    found(store).close()
    store.close()


@PLACES
def test_several_flips_at_once(tmp_path: Path, in_label: int) -> None:
    """Each takes its own block with it."""
    store = bind(tmp_path, sums_in_label=in_label)
    model = whole(store)
    path = object_file(tmp_path)
    for seed in range(20):
        chance = random.Random(seed)
        bits = {chance.randrange(model.size * 8) for _ in range(chance.randrange(2, 30))}
        for bit in bits:
            flip(path, bit)
        cache_object = found(store)
        lost = lost_blocks(cache_object, model)
        assert lost == sorted({bit // 8 // store.block_size for bit in bits}), f"seed {seed}"
        for number in lost:
            fill_blocks(cache_object, model, number, number + 1)
        assert lost_blocks(cache_object, model) == []
        cache_object.close()
    store.close()


@CONTENTS
@PLACES
@LEVELS
@pytest.mark.parametrize("way", ["punch", "zero-range", "zeros", "cut", "cut-and-stretch"])
def test_blocks_that_became_zeros(
    tmp_path: Path, make: Maker, in_label: int, verify: str, way: str
) -> None:
    """Neither a hole nor a block of zeros passes as data."""
    store = bind(tmp_path, sums_in_label=in_label, verify=verify)
    model = make(store)
    path, block = object_file(tmp_path), store.block_size
    cache_object = found(store)
    place = ["-o", str(3 * block), "-l", str(2 * block)]
    lost = [3, 4]
    if way == "punch":
        fallocate(path, "-p", *place)
    elif way == "zero-range":
        fallocate(path, "-z", *place)
    elif way == "zeros":
        with path.open("r+b") as file:
            os.pwrite(file.fileno(), bytes(2 * block), 3 * block)
    else:
        size = path.stat().st_size
        os.truncate(path, 60 * block)
        lost = list(range(60, COUNT))
        if way == "cut-and-stretch":
            os.truncate(path, size)
    assert lost_blocks(cache_object, model) == sorted({*lost, *_HOLES[make]})
    for number in lost:
        fill_blocks(cache_object, model, number, number + 1)
    assert lost_blocks(cache_object, model) == _HOLES[make]
    store.close()


@CONTENTS
@PLACES
def test_digging_tools(tmp_path: Path, make: Maker, in_label: int) -> None:
    """``fallocate -d`` makes holes of stored zeros; what is given stays right."""
    store = bind(tmp_path, sums_in_label=in_label)
    model = make(store)
    zeros = bytes(3 * store.block_size)
    cache_object = found(store)
    cache_object.begin_modify()
    cache_object.write(5 * store.block_size, zeros, lambda _: b"")
    model.write(5 * store.block_size, zeros)
    cache_object.commit(cache_object.version)
    cache_object.close()
    fallocate(object_file(tmp_path), "-d")
    lost = lost_blocks(found(store), model)
    assert set(lost) <= {5, 6, 7, *_HOLES[make]}
    store.close()


def test_level_none_compares_nothing(tmp_path: Path) -> None:
    """As the name says; that is what the other levels are for."""
    store = bind(tmp_path, verify="none")
    model = whole(store)
    flip(object_file(tmp_path), 5 * 8 * store.block_size)
    cache_object = found(store)
    assert cache_object.prove(0, model.size).end >= model.size
    assert not cache_object.damaged(0, model.size)
    assert not cache_object.is_sound(0, model.size)
    store.close()


def test_a_map_is_only_where_both_witnesses_say_so_on_every_level(tmp_path: Path) -> None:
    """The filesystem alone is not believed: blocks that were never recorded, and copied holes."""
    store = bind(tmp_path, verify="none")
    model = text(COUNT * store.block_size)
    cache_object = create(store, model.size)
    fill_blocks(cache_object, model, 60, 61)
    fill_blocks(cache_object, model, 3, 5)
    with object_file(tmp_path).open("r+b") as file:
        for number in (10, 11, 59):
            os.pwrite(file.fileno(), bytes(store.block_size), number * store.block_size)
    assert blocks(cache_object) == [3, 4, 60]
    check(cache_object, model)
    fallocate(object_file(tmp_path), "-p", "-o", str(4 * store.block_size), "-l", "4096")
    assert blocks(cache_object) == [3, 60]
    store.close()
