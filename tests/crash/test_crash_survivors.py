"""One of two programs is killed at any of its calls; the other goes on, with what it has open."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from netcache._core.content import WriteKind
from netcache._fscache.ports import CacheObject
from tests.support.bytemodel import ByteModel, pattern
from tests.support.crash_fileops import CrashFileOps
from tests.support.crash_recovery import check_all, check_bytes, go_over
from tests.support.crash_world import KEYS, Truth, World, tag_of
from tests.support.intercept import Intercept
from tests.support.stores import Sync

MOST_CALLS = 400
ONE, TWO, _ = KEYS


class Killed(BaseException):
    """The program stops here; nothing of it runs any more."""


class Program(Intercept):
    """One of the programs that use a filesystem: it can be killed, and its descriptors go."""

    def __init__(self, inner: CrashFileOps) -> None:
        super().__init__(inner.fileops)
        self.ops = inner
        self.mine: set[int] = set()
        self.calls_left = MOST_CALLS
        self.dead = False

    def around(self, name: str, args: tuple[Any, ...], call: Callable[[], Any]) -> Any:
        """Perform the call, unless the program was killed before it."""
        if self.dead or self.calls_left <= 0:
            raise Killed(name)
        self.calls_left -= 1
        result = call()
        if name.startswith("open_"):
            self.mine.add(result)
        elif name == "close":
            self.mine.discard(args[0])
        return result

    def kill(self) -> None:
        """``kill -9``: the kernel closes what was open, and gives locks back."""
        self.dead = True
        for fd in self.mine:
            self.ops.close(fd)


def fills(world: World, cache_object: CacheObject, chance: random.Random) -> None:
    """Fill holes, some stored long before they are recorded, one run cancelled."""
    order = [2, 3, 5, 6, 7, 8]
    chance.shuffle(order)
    for number in order[:2]:
        world.store_blocks(cache_object, number, number + 1)
    for number in order[2:4]:
        world.fill(cache_object, number, number + 1)
    world.collect(cache_object, order[0], order[0] + 1)
    start = order[1] * world.block
    cache_object.collect_write(WriteKind.CANCEL, start, start + world.block)
    world.commit_pending()


def modifies(world: World, cache_object: CacheObject, chance: random.Random) -> None:
    """Change the object locally; the other has it open, and keeps its version."""
    model = ByteModel(bytes(world.truth.model(tag_of(cache_object)).data))
    world.modify(cache_object)
    world.write(cache_object, model, chance.randrange(3000), pattern(7, 2000))
    world.truncate(cache_object, model, 2500)
    world.commit(cache_object, model)


def replaces(world: World, cache_object: CacheObject, chance: random.Random) -> None:
    """Find out that there is another version; then put a third one, and drop it."""
    world.invalidate(cache_object, world.truth.new(ONE, 3000))
    world.fill(cache_object, 0, 1)
    world.put(ONE, world.truth.new(ONE, chance.randrange(1, 5000))).close()
    world.drop(ONE)


WORKS = [fills, modifies, replaces]


@pytest.mark.parametrize("sync", ["lazy", "commit"])
@pytest.mark.parametrize("nameless", [True, False], ids=["tmpfile", "no-tmpfile"])
@pytest.mark.parametrize("work", WORKS, ids=lambda work: work.__name__)
def test_a_program_that_is_killed_leaves_the_other_one_right(
    work: Callable[[World, CacheObject, random.Random], None], sync: Sync, nameless: bool
) -> None:
    """At any call: the survivor's open object and a new one serve true bytes, and go on."""
    for calls in count(1):
        assert calls < MOST_CALLS, "the work never goes through"
        if _kill_after(calls, work, sync, nameless):
            return


def _kill_after(
    calls: int,
    work: Callable[[World, CacheObject, random.Random], None],
    sync: Sync,
    nameless: bool,
) -> bool:
    ops, truth, chance = CrashFileOps(nameless=nameless), Truth(), random.Random(calls)
    survivor = World(ops, truth, sync=sync, block=1024)
    tag = truth.new(ONE, 8 * 1024 + 300)
    mine = survivor.create(ONE, tag)
    survivor.fill(mine, 0, 2)
    survivor.fill(mine, 4, 5)
    program = Program(ops)
    world = World(ops, truth, sync=sync, block=1024, wrap=lambda _: program.fileops)
    world.promised = survivor.promised
    theirs = world.store.lookup(ONE)
    assert theirs is not None
    program.calls_left = calls
    with contextlib.suppress(Killed):
        work(world, theirs, chance)
    through = program.calls_left > 0
    program.kill()
    check_bytes(survivor, mine)
    known = mine.version
    survivor.store.lookup(TWO)
    for number in (7, 2, 5):
        survivor.fill(mine, number, number + 1)
        check_bytes(survivor, mine)
    assert mine.version == known, "the survivor's handle changed its version"
    if work is not fills:
        # The name may stand for another file by now, and what was filled lies in the old one.
        survivor.promised = {}
    check_all(survivor, killed=True)
    mine.close()
    go_over(survivor)
    survivor.close()
    return through


@pytest.mark.parametrize("work", WORKS, ids=lambda work: work.__name__)
def test_a_power_cut_after_a_survivor_went_on(
    work: Callable[[World, CacheObject, random.Random], None],
) -> None:
    """What the survivor's object shows is not what its name stands for: both end well."""
    ops, truth = CrashFileOps(), Truth()
    world = World(ops, truth, sync="lazy", block=1024)
    mine = world.create(ONE, truth.new(ONE, 8 * 1024 + 300))
    world.fill(mine, 0, 3)
    theirs = world.store.lookup(ONE)
    assert theirs is not None
    work(world, theirs, random.Random(3))
    ops.settle()
    after = World(CrashFileOps(ops.live, boot=2), truth, sync="lazy", block=1024)
    check_all(after, killed=False)
    after.close()
