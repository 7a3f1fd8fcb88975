"""Damage at rest: whatever happens to the files, a wrong byte is never given (promise P4).

``NETCACHE_FLIPS`` sets the number of random bit flips; the seed of each is in its message.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from netcache._cachefiles.store import bind
from netcache._core.content import Content
from netcache._core.extent import Extent
from netcache._core.keys import ObjectKey
from netcache._fscache.ports import CacheObject, CacheStore
from netcache.errors import CacheError
from tests.support.bytemodel import ByteModel
from tests.support.damage import (
    expect_only_sound,
    fallocate,
    flip,
    flip_attribute,
    lost_blocks,
    swap,
    tables,
)
from tests.support.labels import ATTRIBUTE, raw_label
from tests.support.stores import (
    KEY,
    OTHER_KEY,
    blocks,
    check,
    create,
    fill_blocks,
    found,
    object_file,
    object_files,
    put,
    text,
)

FLIPS = int(os.environ.get("NETCACHE_FLIPS", "600"))
COUNT = 70
"""Blocks of the objects: more than fit into a label, so that there is a table too."""

PLACES = pytest.mark.parametrize("in_label", [128, 0], ids=["sums-in-label", "table"])
LEVELS = pytest.mark.parametrize("verify", ["open", "read"])


def whole(store: CacheStore, key: ObjectKey = KEY, seed: int = 0) -> ByteModel:
    """An object with all of its blocks, content ALL; the last block is not full."""
    model = text(COUNT * store.block_size - 1000, seed)
    put(store, model.part(0, model.size), key=key).close()
    return model


def sparse(store: CacheStore, key: ObjectKey = KEY, seed: int = 0) -> ByteModel:
    """An object with all of its blocks but number 40, as a map."""
    model = text(COUNT * store.block_size - 1000, seed)
    cache_object = create(store, model.size, key=key)
    for first, last in ((41, COUNT), (0, 11), (11, 40)):
        fill_blocks(cache_object, model, first, last)
    assert cache_object.content is Content.BACKFS_MAP
    cache_object.close()
    return model


Maker = Callable[[CacheStore], ByteModel]
CONTENTS = pytest.mark.parametrize("make", [whole, sparse])
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


def two_objects(store: CacheStore) -> tuple[ByteModel, ByteModel]:
    """Two objects of the same version and size, with other bytes."""
    return whole(store, KEY, 1), whole(store, OTHER_KEY, 2)


def expect_neither_mixed(store: CacheStore, models: tuple[ByteModel, ByteModel]) -> list[int]:
    """Each object gives its own bytes or none; returns how many blocks each has left."""
    left = []
    for key, model in zip((KEY, OTHER_KEY), models, strict=True):
        cache_object = store.lookup(key)
        lost = COUNT if cache_object is None else len(lost_blocks(cache_object, model))
        left.append(COUNT - lost)
    return left


@PLACES
def test_swapped_files(tmp_path: Path, in_label: int) -> None:
    """Two objects with each other's names: neither is believed."""
    store = bind(tmp_path, sums_in_label=in_label)
    models = two_objects(store)
    swap(*object_files(tmp_path))
    assert expect_neither_mixed(store, models) == [0, 0]
    store.close()


@PLACES
def test_swapped_bytes(tmp_path: Path, in_label: int) -> None:
    """Two objects with each other's bytes, labels left where they are."""
    store = bind(tmp_path, sums_in_label=in_label)
    models = two_objects(store)
    one, other = object_files(tmp_path)
    first, second = one.read_bytes(), other.read_bytes()
    for path, data in ((one, second), (other, first)):
        with path.open("r+b") as file:
            file.write(data)
    assert expect_neither_mixed(store, models) == [0, 0]
    store.close()


@PLACES
def test_blocks_that_changed_places(tmp_path: Path, in_label: int) -> None:
    """A block at another block's place is not that block."""
    store = bind(tmp_path, sums_in_label=in_label)
    model = whole(store)
    block, path = store.block_size, object_file(tmp_path)
    with path.open("r+b") as file:
        os.pwrite(file.fileno(), model.part(9 * block, 10 * block), 3 * block)
        os.pwrite(file.fileno(), model.part(3 * block, 4 * block), 9 * block)
    assert lost_blocks(found(store), model) == [3, 9]
    store.close()


def test_a_copied_file_and_its_label(tmp_path: Path) -> None:
    """A restored backup has another inode, and is not believed."""
    store = bind(tmp_path)
    whole(store)
    path = object_file(tmp_path)
    copy = path.with_name("copy")
    shutil.copy2(path, copy)
    copy.rename(path)
    assert store.lookup(KEY) is None
    store.close()


@pytest.mark.parametrize("way", ["swapped", "exchanged", "copied", "gone", "cut", "folder"])
def test_tables_that_are_not_their_own(tmp_path: Path, way: str) -> None:
    """What another table says of another file is nothing; a doubt is a miss."""
    store = bind(tmp_path, sums_in_label=0)
    models = two_objects(store)
    one, other = tables(tmp_path)
    if way == "swapped":
        swap(one, other)
    elif way == "exchanged":
        first, second = one.read_bytes(), other.read_bytes()
        one.write_bytes(second)
        other.write_bytes(first)
    elif way == "copied":
        one.write_bytes(other.read_bytes())
    elif way == "cut":
        os.truncate(one, 64 + 8 * 30)
    else:
        one.unlink()
        if way == "folder":
            one.mkdir()
    left = expect_neither_mixed(store, models)
    assert left in {
        "swapped": ([0, 0],),
        "exchanged": ([0, 0],),
        "cut": ([30, COUNT], [COUNT, 30]),
    }.get(way, ([0, COUNT], [COUNT, 0]))
    if way != "folder":
        for key, model in zip((KEY, OTHER_KEY), models, strict=True):
            cache_object = found(store, key)
            for number in lost_blocks(cache_object, model):
                fill_blocks(cache_object, model, number, number + 1)
            assert lost_blocks(cache_object, model) == []
    store.close()


def test_an_old_table_for_the_same_inode_number(tmp_path: Path) -> None:
    """A name that is taken again is another table: number and birth are other ones."""
    store = bind(tmp_path, sums_in_label=0)
    old = whole(store, seed=1)
    (path,) = tables(tmp_path)
    before = path.read_bytes()
    store.drop(KEY)
    new = whole(store, seed=2)
    (path,) = tables(tmp_path)
    path.write_bytes(before)
    assert len(lost_blocks(found(store), new)) == COUNT
    assert old.data != new.data
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


@PLACES
def test_damage_is_forgotten_on_disk_too(tmp_path: Path, in_label: int) -> None:
    """Another process sees a hole there, whatever its level, and may fill it alone."""
    store = bind(tmp_path, sums_in_label=in_label)
    other = bind(tmp_path, sums_in_label=in_label, verify="none")
    model = whole(store)
    flip(object_file(tmp_path), 5 * 8 * store.block_size)
    here, there = found(store), found(other)
    assert there.content is Content.ALL
    assert lost_blocks(here, model) == [5]
    everything_but_5 = [*range(5), *range(6, COUNT)]
    assert blocks(there) == blocks(here) == everything_but_5
    fill_blocks(there, model, 5, 6)
    assert lost_blocks(here, model) == []
    check(here, model)
    check(there, model)
    store.close()
    other.close()


@PLACES
def test_what_another_process_stored_meanwhile_stays(tmp_path: Path, in_label: int) -> None:
    """Damage is looked at once more under the lock before its record goes."""
    from netcache._cachefiles.fileops import PosixFileOps
    from tests.support.intercept import Override

    other = bind(tmp_path, sums_in_label=in_label)
    model = whole(other)
    block = other.block_size
    there = found(other)
    inner = PosixFileOps()
    refilled: list[int] = []

    def lock_range(fd: int, start: int, length: int, *, shared: bool = False) -> bool:
        if start == 1 << 62 and not refilled:
            refilled.append(start)
            fill_blocks(there, model, 5, 6)
        return inner.lock_range(fd, start, length, shared=shared)

    shim = Override(inner, lock_range=lock_range)
    store = bind(tmp_path, fileops=shim.fileops, sums_in_label=in_label)
    here = found(store)
    flip(object_file(tmp_path), 5 * 8 * block)
    assert here.prove(5 * block, 6 * block).end <= 5 * block, "found damaged at first"
    assert refilled
    assert not here.damaged(0, model.size)
    assert lost_blocks(here, model) == []
    assert here.content is Content.ALL
    store.close()
    other.close()


def changed(
    cache_object: CacheObject, model: ByteModel, start: int, data: bytes, asked: list[int]
) -> None:
    """A local write that takes what it needs and lacks from the model."""

    def fill(extent: Extent) -> bytes:
        asked.append(extent.start)
        return model.padded(*extent)

    cache_object.write(start, data, fill)
    model.write(start, data)


@PLACES
@pytest.mark.parametrize("verify", ["none", "open"])
@pytest.mark.parametrize("shared", [False, True], ids=["alone", "others-have-it-open"])
def test_a_modification_never_blesses_damage(
    tmp_path: Path, in_label: int, verify: str, shared: bool
) -> None:
    """What is carried over from a damaged block is asked for; other damage stays known."""
    store = bind(tmp_path, sums_in_label=in_label, verify=verify)
    model = whole(store)
    block = store.block_size
    path = object_file(tmp_path)
    other = bind(tmp_path, sums_in_label=in_label)
    reader = found(other) if shared else None
    for number in (3, 9, 20):
        flip(path, 8 * (number * block + 17))
    cache_object = found(store)
    cache_object.begin_modify()
    asked: list[int] = []
    changed(cache_object, model, 3 * block + 100, b"new", asked)
    assert asked, "the rest of block 3 is damaged"
    cache_object.truncate(20 * block + 500)
    model.truncate(20 * block + 500)
    cache_object.commit(cache_object.version)
    cache_object.close()
    lost = lost_blocks(found(other), model)
    assert lost == [9, 20]
    if reader is not None:
        expect_only_sound(reader, whole(bind(tmp_path / "again")))
    store.close()
    other.close()


def test_tables_go_with_their_objects(tmp_path: Path) -> None:
    """Dropped, replaced, invalidated, culled, cleared: no table is left behind."""
    store = bind(tmp_path, sums_in_label=0)
    whole(store)
    assert len(tables(tmp_path)) == 1
    whole(store, seed=1)
    assert len(tables(tmp_path)) == 1, "replaced"
    cache_object = found(store)
    cache_object.invalidate(cache_object.version)
    assert tables(tmp_path) == [], "invalidated"
    fill_blocks(cache_object, text(cache_object.size), 0, 3)
    assert len(tables(tmp_path)) == 1
    cache_object.close()
    store.drop(KEY)
    assert tables(tmp_path) == [], "dropped"
    whole(store)
    store.cull(0)
    assert tables(tmp_path) == [], "culled"
    whole(store)
    store.clear()
    assert tables(tmp_path) == [], "cleared"
    store.close()


def test_a_table_outlives_its_name_for_those_who_have_it(tmp_path: Path) -> None:
    """A reader of a replaced object goes on with what is cached of it."""
    store, other = bind(tmp_path, sums_in_label=0), bind(tmp_path, sums_in_label=0)
    old = whole(store, seed=1)
    reader = found(other)
    whole(store, seed=2)
    assert lost_blocks(reader, old) == []
    store.close()
    other.close()


def test_orphaned_tables_are_reaped_and_used_ones_are_not(tmp_path: Path) -> None:
    """What a killed process left behind goes with the next culling."""
    store = bind(tmp_path, sums_in_label=0)
    model = whole(store)
    unpublished = store.begin(OTHER_KEY)
    unpublished.write(bytes(9000) * store.block_size)
    (path,) = (path for path in tables(tmp_path) if path.stat().st_size > 64 * COUNT)
    orphan = path.with_name("ffff")
    orphan.write_bytes(b"x")
    problems = [what for what, _ in store.verify()]
    assert problems == [str(orphan.relative_to(tmp_path))]
    store.cull(None)
    assert len(tables(tmp_path)) == 2
    assert not orphan.exists()
    assert path.exists(), "of an object that is being written"
    unpublished.discard()
    assert len(tables(tmp_path)) == 1
    assert lost_blocks(found(store), model) == []
    store.close()
