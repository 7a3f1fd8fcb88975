"""What caches are used for, in short: each scenario is crashed at every one of its calls."""

from __future__ import annotations

import contextlib
import random
import tempfile
from collections.abc import Callable

from netcache._core.content import WriteKind
from netcache._fscache.ports import CacheObject
from tests.support.bytemodel import ByteModel, pattern
from tests.support.crash_world import KEYS, World, tag_of
from tests.support.stores import CHECKED_S, version

Scenario = Callable[[World, random.Random], None]

ONE, TWO, THREE = KEYS


def size_of(world: World, chance: random.Random, most: int = 8) -> int:
    """A size that ends on a block, or near one, or anywhere."""
    blocks = chance.randint(1, most)
    rest = chance.choice([0, 0, 1, world.block - 1, chance.randrange(world.block)])
    return blocks * world.block + rest


def count_blocks(world: World, cache_object: CacheObject) -> int:
    """How many blocks the resource has."""
    return -(-cache_object.size // world.block)


def fill_in_order(world: World, chance: random.Random) -> None:
    """Appends, committed in the background now and then, over several openings."""
    tag = world.truth.new(ONE, size_of(world, chance))
    cache_object = world.create(ONE, tag)
    done, total = 0, count_blocks(world, cache_object)
    while done < total:
        end = min(total, done + chance.randint(1, 3))
        world.fill(cache_object, done, end)
        done = end
        if chance.random() < 0.3:
            world.settle(cache_object)
        if chance.random() < 0.3:
            cache_object.close()
            found = world.store.lookup(ONE)
            assert found is not None
            cache_object = found
    cache_object.mark_checked(CHECKED_S + 5)
    world.commit_pending()
    cache_object.close()


def fill_out_of_order(world: World, chance: random.Random) -> None:
    """Blocks in any order; runs stored before they are recorded, cancelled, or never recorded."""
    tag = world.truth.new(TWO, size_of(world, chance, 7) + world.block)
    cache_object = world.create(TWO, tag)
    order = list(range(count_blocks(world, cache_object)))
    chance.shuffle(order)
    held: list[int] = []
    for number in order:
        what = chance.choice(["fill", "fill", "hold", "cancel", "commit"])
        if what == "hold":
            world.store_blocks(cache_object, number, number + 1)
            held.append(number)
        elif what == "cancel":
            world.store_blocks(cache_object, number, number + 1)
            start = number * world.block
            cache_object.collect_write(WriteKind.CANCEL, start, start + world.block)
        else:
            world.fill(cache_object, number, number + 1)
        if what == "commit":
            world.settle(cache_object)
        if held and chance.random() < 0.5:
            late = held.pop(0)
            world.collect(cache_object, late, late + 1)
    cache_object.close()


def put_over(world: World, chance: random.Random) -> None:
    """Whole objects, one over the other."""
    for round_number in range(3):
        size = 0 if chance.random() < 0.1 else size_of(world, chance, 5)
        tag = world.truth.new(ONE, size)
        cache_object = world.put(ONE, tag, chance.randint(1, 3))
        if round_number != 1:
            world.settle(cache_object)
        cache_object.close()
    with tempfile.TemporaryFile() as file:
        model = world.truth.model(tag)
        file.write(model.part(0, model.size))
        file.flush()
        new = world.store.begin(TWO)
        new.copy_from(file.fileno(), model.size)
        copy = world.truth.say(TWO, model)
        world.nothing(TWO)
        new.publish(version(model.size, copy), checked_s=CHECKED_S).close()
    world.store.begin(THREE).discard()


def modify(world: World, chance: random.Random) -> None:
    """Local writes and changes of size, committed, more than once, alone or with other readers."""
    first = world.truth.new(ONE, size_of(world, chance, 5))
    cache_object = world.put(ONE, first)
    world.settle(cache_object)
    for _ in range(2):
        reader = world.store.lookup(ONE) if chance.random() < 0.4 else None
        model = ByteModel(bytes(world.truth.model(tag_of(cache_object)).data))
        world.modify(cache_object)
        for _ in range(chance.randint(1, 3)):
            change(world, chance, cache_object, model)
        world.commit(cache_object, model)
        if reader is not None:
            reader.close()
    world.settle(cache_object)
    cache_object.close()


def change(
    world: World, chance: random.Random, cache_object: CacheObject, model: ByteModel
) -> None:
    """One local change."""
    start = chance.randrange(model.size + 1)
    if chance.random() < 0.3:
        target = chance.choice([0, start, start - start % world.block, model.size + 700])
        world.truncate(cache_object, model, target)
        return
    length = chance.choice([1, 300, world.block, 2 * world.block + 5])
    offset = chance.randrange(1 << 19)
    world.write(cache_object, model, start, pattern(offset, offset + length))


def modify_map(world: World, chance: random.Random) -> None:
    """Local changes of an object with holes; the rest is filled afterwards."""
    tag = world.truth.new(TWO, size_of(world, chance, 6) + 2 * world.block)
    cache_object = world.create(TWO, tag)
    total = count_blocks(world, cache_object)
    for number in chance.sample(range(total), 2):
        world.fill(cache_object, number, number + 1)
    model = ByteModel(bytes(world.truth.model(tag).data))
    world.modify(cache_object)
    for _ in range(2):
        change(world, chance, cache_object, model)
    world.commit(cache_object, model)
    for number in range(0, count_blocks(world, cache_object), 2):
        world.fill(cache_object, number, number + 1)
    cache_object.close()


def invalidate(world: World, chance: random.Random) -> None:
    """The server has another version, known from a reply; a reader keeps the old one."""
    cache_object = world.put(ONE, world.truth.new(ONE, size_of(world, chance, 4)))
    world.settle(cache_object)
    for _ in range(2):
        reader = world.store.lookup(ONE)
        tag = world.truth.new(ONE, size_of(world, chance, 4))
        world.invalidate(cache_object, tag)
        for number in range(0, count_blocks(world, cache_object), chance.randint(1, 2)):
            world.fill(cache_object, number, number + 1)
        if reader is not None:
            reader.close()
    cache_object.close()


def replace(world: World, chance: random.Random) -> None:
    """A new version is created over the old one, filled, and created again."""
    for _ in range(3):
        cache_object = world.create(TWO, world.truth.new(TWO, size_of(world, chance, 4)))
        for number in range(chance.randint(0, count_blocks(world, cache_object))):
            world.fill(cache_object, number, number + 1)
        if chance.random() < 0.5:
            world.settle(cache_object)
        cache_object.close()


def carry_over(world: World, chance: random.Random) -> None:
    """Versions with the same bytes follow one another, under readers, before and after syncs."""
    cache_object = world.put(ONE, world.truth.new(ONE, size_of(world, chance, 5)))
    for _ in range(3):
        if chance.random() < 0.5:
            world.settle(cache_object)
        reader = world.store.lookup(ONE) if chance.random() < 0.5 else None
        world.carry_over(cache_object)
        if reader is not None:
            reader.mark_checked(CHECKED_S + 10)
            reader.close()
    world.settle(cache_object)
    model = ByteModel(bytes(world.truth.model(tag_of(cache_object)).data))
    world.modify(cache_object)
    change(world, chance, cache_object, model)
    world.commit(cache_object, model)
    if cache_object.size:
        world.carry_over(cache_object)
    world.commit_pending()
    cache_object.close()


def make_room(world: World, chance: random.Random) -> None:
    """Reserve, cull, drop and clear, with objects in use and not."""
    for key in KEYS:
        cache_object = world.put(key, world.truth.new(key, size_of(world, chance, 3)))
        world.settle(cache_object)
        cache_object.close()
    used = world.store.lookup(TWO)
    world.store.reserve(world.block)
    world.drop(ONE)
    world.put(ONE, world.truth.new(ONE, 3 * world.block)).close()
    world.cull(0)
    world.put(THREE, world.truth.new(THREE, 5)).close()
    if used is not None:
        used.close()
    world.clear()
    world.put(ONE, world.truth.new(ONE, 2 * world.block)).close()


def two_programs(world: World, chance: random.Random) -> None:
    """Two stores fill and replace the same objects in turn."""
    other = World(
        world.ops,
        world.truth,
        sync=world.sync,
        block=world.block,
        promised=world.promised,
        **world.options,
    )
    other.promised = world.promised
    tag = world.truth.new(ONE, size_of(world, chance, 6) + world.block)
    mine = world.create(ONE, tag)
    theirs = other.store.lookup(ONE)
    assert theirs is not None
    order = list(range(count_blocks(world, mine)))
    if chance.random() < 0.5:
        chance.shuffle(order)
    for number in order:
        who, cache_object = chance.choice([(world, mine), (other, theirs)])
        who.fill(cache_object, number, number + 1)
        if chance.random() < 0.2:
            who.commit_pending()
    theirs.close()
    other.put(TWO, world.truth.new(TWO, 3 * world.block)).close()
    other.close()
    mine.close()


def anything(world: World, chance: random.Random) -> None:
    """A few of the others, one after the other, on the same objects."""
    for scenario in chance.sample(BASIC, 3):
        scenario(world, chance)


BASIC: list[Scenario] = [
    fill_in_order,
    fill_out_of_order,
    put_over,
    modify,
    modify_map,
    invalidate,
    replace,
    make_room,
    two_programs,
]
SCENARIOS: list[Scenario] = [*BASIC, anything, carry_over]


def go_on(world: World, chance: random.Random) -> None:
    """What the next program does after a crash: fill what is missing, replace, change."""
    for key in KEYS:
        cache_object = world.store.lookup(key)
        if cache_object is None:
            if chance.random() < 0.5:
                world.put(key, world.truth.new(key, 2 * world.block + 9)).close()
            continue
        with contextlib.closing(cache_object):
            total = count_blocks(world, cache_object)
            for number in chance.sample(range(total), min(2, total)):
                world.fill(cache_object, number, number + 1)
            if chance.random() < 0.3:
                model = ByteModel(bytes(world.truth.model(tag_of(cache_object)).data))
                world.modify(cache_object)
                change(world, chance, cache_object, model)
                world.commit(cache_object, model)
            if chance.random() < 0.3:
                world.settle(cache_object)
    world.store.cull(None)
