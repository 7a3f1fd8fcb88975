"""A program that works on a cache until it is killed, and says what it was told was done.

``python -m tests.support.crash_worker DIRECTORY TASK SEED SYNC BLOCK FIRST``.  A line is printed
when a call has returned, so what it says must be there after a kill, and with ``commit`` after a
power cut too; ``begin N`` is printed before the object goes away for a while.
"""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from netcache._cachefiles.store import bind
from netcache._core.content import Content
from netcache._core.keys import ObjectKey
from netcache._fscache.ports import CacheObject, CacheStore
from tests.support.bytemodel import ByteModel, pattern
from tests.support.stores import (
    VOLUME,
    Sync,
    cached,
    create,
    fill_blocks,
    fill_from,
    put,
    served,
    version,
)

TASKS = ("put", "modify", "fill", "scatter")
KEYS = {task: ObjectKey(VOLUME, task.encode()) for task in TASKS}
_STEP = 8191
_BLOCKS = 12


def model(task: str, number: int, block: int) -> ByteModel:
    """The bytes of the ``number``-th version of a task's resource."""
    chance = random.Random(f"{task} {number}")
    size = chance.randrange(1, _BLOCKS * block)
    if task != "put":
        size += 2 * block
    start = (number * 7 + TASKS.index(task)) * _STEP
    return ByteModel(pattern(start, start + size))


def say(*words: object) -> None:
    """One line, at once."""
    print(*words, flush=True)


class Work(NamedTuple):
    """What a task works with."""

    store: CacheStore
    chance: random.Random
    first: int

    def numbers(self) -> Iterator[int]:
        """The versions to make, without end."""
        number = self.first
        while True:
            number += 1
            yield number


def put_whole(work: Work) -> None:
    """Whole objects, one over the other."""
    for number in work.numbers():
        data = model("put", number, work.store.block_size).data
        put(work.store, bytes(data), key=KEYS["put"], tag=str(number)).close()
        say("put", number)


def modify(work: Work) -> None:
    """Change an object into the next version, piece by piece, and commit it."""
    key, block = KEYS["modify"], work.store.block_size
    for number in work.numbers():
        say("begin", number)
        wanted = model("modify", number, block)
        cache_object = work.store.lookup(key)
        if cache_object is None:
            cache_object = put(work.store, b"x", key=key, tag="0")
        cache_object.begin_modify()
        cache_object.truncate(wanted.size)
        position = 0
        while position < wanted.size:
            end = min(wanted.size, position + work.chance.randrange(1, 3 * block))
            cache_object.write(position, wanted.part(position, end), fill_from(wanted))
            position = end
        cache_object.commit(version(wanted.size, str(number)))
        cache_object.close()
        say("commit", number)


def fill(work: Work, task: str = "fill") -> None:
    """Fill a new version block by block; ``scatter`` out of order."""
    key, block = KEYS[task], work.store.block_size
    for number in work.numbers():
        say("begin", number)
        wanted = model(task, number, block)
        cache_object = create(work.store, wanted.size, key=key, tag=str(number))
        order = list(range(-(-wanted.size // block)))
        if task == "scatter":
            work.chance.shuffle(order)
        for place in order:
            fill_blocks(cache_object, wanted, place, place + 1)
            say("block", number, place)
        cache_object.close()


class Told(NamedTuple):
    """What a worker's lines say is there: a version and blocks of it; None: nothing is."""

    number: int
    blocks: frozenset[int] | None


def promised(task: str, before: Iterable[str], after: Iterable[str]) -> Told | None:
    """What must be there of a task's object, by the lines from before and after the crash."""
    lines = [line.split() for line in before]
    begun = [line for line in after if line.startswith("begin")]
    if not lines or (begun and task != "put") or lines[-1][0] == "begin":
        return None
    number = int(lines[-1][1])
    if lines[-1][0] != "block":
        return Told(number, None)
    places = (int(words[2]) for words in lines if words[0] == "block" and int(words[1]) == number)
    return Told(number, frozenset(places))


def check_task(store: CacheStore, task: str, told: Told | None, *, mapped: bool) -> int:
    """Every byte of a task's object is right, and what was ``told`` is there.

    Without ``mapped``, blocks of a map may have gone.  Returns the version that was found.
    """
    cache_object = store.lookup(KEYS[task])
    if cache_object is None:
        lost = told is not None and (mapped or task != "scatter")
        assert not lost, f"{task}: nothing is left, and there was {told}"
        return 0
    with contextlib.closing(cache_object):
        number = int(cache_object.version.validator.value.strip('"'))
        wanted = model(task, number, store.block_size) if number else ByteModel(b"x")
        assert cache_object.size == wanted.size
        assert wanted.wrong_parts(served(cache_object)) == []
        if told is not None:
            assert number >= told.number, f"{task}: {number} after {told}"
            if number == told.number and (mapped or cache_object.content is Content.ALL):
                _check_blocks(cache_object, told)
        return number


def _check_blocks(cache_object: CacheObject, told: Told) -> None:
    block, known = cache_object.block_size, cached(cache_object)
    places = range(-(-cache_object.size // block)) if told.blocks is None else told.blocks
    missing = [
        place
        for place in places
        if not known.covers(place * block, min((place + 1) * block, cache_object.size))
    ]
    assert not missing, f"blocks {missing} of {told} are gone"


def main() -> None:
    """Run until killed."""
    directory, task, seed, sync, block, first = sys.argv[1:]
    policy: Sync = "commit" if sync == "commit" else "lazy"
    store = bind(directory, sync=policy, block_size=int(block) or None)
    work = Work(store, random.Random(f"{task} {seed}"), int(first))
    if task == "put":
        put_whole(work)
    elif task == "modify":
        modify(work)
    else:
        fill(work, task)


if __name__ == "__main__":
    main()
