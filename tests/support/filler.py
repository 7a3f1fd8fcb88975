"""A program that works on a cache until it is killed: ``python -m tests.support.filler``.

Arguments: directory, what to do (``fill``, ``modify``, ``put``), a seed, the sync policy.  It
writes one line a step, so that whoever kills it knows how far it was at least.
"""

from __future__ import annotations

import random
import sys

from netcache._cachefiles.store import bind
from netcache._core.keys import ObjectKey
from netcache._fscache.ports import CacheStore
from tests.support.bytemodel import pattern
from tests.support.stores import (
    VOLUME,
    Sync,
    create,
    fill_blocks,
    fill_from,
    found,
    put,
    text,
    version,
)

BLOCKS = 24
OBJECTS = 3


def key(number: int) -> ObjectKey:
    """The key of the ``number``-th object."""
    return ObjectKey(VOLUME, b"object %d" % number)


def fill(store: CacheStore, chance: random.Random) -> None:
    """Fill blocks of several objects in any order, for ever."""
    models = [text(BLOCKS * store.block_size - 7, seed=number) for number in range(OBJECTS)]
    while True:
        for number, model in enumerate(models):
            store.drop(key(number))
            cache_object = create(store, model.size, key=key(number))
            order = list(range(BLOCKS))
            if number:
                chance.shuffle(order)
            for block in order:
                fill_blocks(cache_object, model, block, block + 1)
                print("step", flush=True)
            cache_object.close()


def modify(store: CacheStore, chance: random.Random) -> None:
    """Rewrite an object in place; version ``n`` is the text with seed ``n`` throughout."""
    size, generation = BLOCKS * store.block_size - 7, 0
    put(store, pattern(0, size, 0), key=key(0), tag="0").close()
    while True:
        generation += 1
        model = text(size, seed=generation)
        cache_object = found(store, key(0))
        cache_object.begin_modify()
        start = 0
        while start < size:
            end = min(size, start + chance.randrange(1, 4 * store.block_size))
            cache_object.write(start, model.part(start, end), fill_from(model))
            print("step", flush=True)
            start = end
        cache_object.commit(version(size, str(generation)))
        cache_object.close()


def put_whole(store: CacheStore, chance: random.Random) -> None:
    """Replace an object as a whole, for ever."""
    generation = 0
    while True:
        generation += 1
        size = chance.randrange(1, BLOCKS * store.block_size)
        new = store.begin(key(0))
        for start in range(0, size, 5000):
            new.write(pattern(start, min(size, start + 5000), generation))
            print("step", flush=True)
        new.publish(version(size, str(generation)), checked_s=1.0).close()


def main() -> None:
    """Run until killed."""
    directory, task, seed, sync = sys.argv[1:]
    policy: Sync = "commit" if sync == "commit" else "lazy"
    store = bind(directory, sync=policy)
    {"fill": fill, "modify": modify, "put": put_whole}[task](store, random.Random(int(seed)))


if __name__ == "__main__":
    main()
