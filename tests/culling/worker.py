"""One process of the soak of culling: uses, stores, changes and forgets objects at random.

What an object holds follows from its key and its version's tag, so whoever reads it can tell
whether it is right.  Prints how many operations it has done, a line each ``STEP``.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
from collections import Counter
from pathlib import Path

from netcache._cachefiles.store import CachefilesStore, bind
from netcache._core.content import WriteKind
from netcache._core.extent import Extent, round_up
from netcache._core.keys import ObjectKey
from netcache._fscache.ports import CacheObject
from netcache.errors import CacheError, NoSpaceError
from tests.support.stores import VOLUME, version

KEYS = 400
PINNABLE = 3
HELD_MAX = 6
STEP = 50
_TAGS = 3
_LARGE_BYTES = 5 << 19


def key(number: int) -> ObjectKey:
    """The key of the ``number``-th object."""
    return ObjectKey(VOLUME, b"soak/%d" % number)


def size_of(number: int) -> int:
    """Mostly small; some are so large that they are culled in parts."""
    chance = random.Random(number)
    if number % 100 == 99:
        return _LARGE_BYTES + chance.randrange(1 << 16)
    return 1 + int(200_000 * chance.random() ** 3)


_TEXT = random.Random(0).randbytes(6 << 20).replace(b"\0", b"o")


def content(number: int, tag: str, start: int, end: int) -> bytes:
    """Bytes ``[start, end)`` of a version: no zeros, and no two versions alike."""
    first = (number * _TAGS + int(tag)) * 3001
    return _TEXT[first + start : first + end]


class Soaker:
    """Its operations, and what it holds open meanwhile."""

    def __init__(self, store: CachefilesStore, chance: random.Random) -> None:
        self.store = store
        self.chance = chance
        self.held: list[tuple[int, CacheObject]] = []
        self.done: Counter[str] = Counter()
        self._operations = {
            self.read: 60,
            self.put: 8,
            self.fill: 16,
            self.change: 2,
            self.hold: 4,
            self.drop: 2,
            self.reserve: 4,
            self.pin: 1,
        }

    def step(self) -> None:
        """One operation, on what is wanted often or on anything."""
        operation = self.chance.choices(list(self._operations), list(self._operations.values()))[0]
        hot = self.chance.random() < 0.6
        number = self.chance.randrange(KEYS // 8 if hot else KEYS)
        try:
            operation(number)
        except NoSpaceError:
            self.done["no room"] += 1
        except CacheError as error:
            # Another process has replaced or dropped it just now.
            self.done["stale"] += 1
            if "stale" not in str(error) and "being changed" not in str(error):
                raise

    def read(self, number: int) -> None:
        """Use an object, and compare what it has; a miss stores it."""
        found = self.store.lookup(key(number))
        if found is None:
            self.done["misses"] += 1
            if self.chance.random() < 0.5:
                self.put(number)
            else:
                self.fill(number)
            return
        self.done["hits"] += 1
        try:
            found.mark_used()
            self._compare(number, found)
        finally:
            found.close()

    def _compare(self, number: int, found: CacheObject) -> None:
        tag = (found.version.validator.etag or "").strip('"')
        start = self.chance.randrange(found.size)
        for run in found.query_occupancy(start, min(found.size, start + 20_000)):
            end = min(run.end, found.size, run.start + 20_000)
            buffer = bytearray(end - run.start)
            count = found.read_into(run.start, buffer)
            wanted = content(number, tag, run.start, run.start + count)
            if bytes(buffer[:count]) != wanted:
                raise AssertionError(f"object {number} {tag}: {Extent(run.start, end)} is wrong")

    def put(self, number: int) -> None:
        """Store a whole object, in pieces."""
        size, tag = size_of(number), str(self.chance.randrange(_TAGS))
        new = self.store.begin(key(number))
        try:
            step = self.chance.choice((4096, 50_000, 1 << 20))
            for start in range(0, size, step):
                new.write(content(number, tag, start, min(size, start + step)))
            new.publish(version(size, tag), checked_s=0).close()
        finally:
            new.discard()

    def fill(self, number: int) -> None:
        """Store some blocks of an object."""
        size = size_of(number)
        found = self.store.lookup(key(number))
        if found is None:
            tag = str(self.chance.randrange(_TAGS))
            found = self.store.create(key(number), version(size, tag), checked_s=0)
        try:
            tag = (found.version.validator.etag or "").strip('"')
            block = found.block_size
            for _ in range(self.chance.randrange(1, 4)):
                start = self.chance.randrange(-(-size // block)) * block
                end = min(size, start + block * self.chance.randrange(1, 9))
                found.write_blocks(start, content(number, tag, start, end))
                found.collect_write(WriteKind.DATA, start, round_up(end, block))
        finally:
            found.close()

    def change(self, number: int) -> None:
        """Make another version of an object, in place or, if others have it open, beside it."""
        found = self.store.lookup(key(number))
        if found is None:
            return
        tag = str(self.chance.randrange(_TAGS))
        try:
            if self.chance.random() < 0.3:
                found.invalidate(version(found.size, tag))
                return
            found.begin_modify()
            found.write(0, content(number, tag, 0, found.size), lambda extent: b"")
            found.commit(version(found.size, tag))
        finally:
            found.close()

    def hold(self, number: int) -> None:
        """Keep an object open for a while: it must not lose a byte meanwhile."""
        found = self.store.lookup(key(number))
        if found is not None:
            self.held.append((number, found))
        if len(self.held) > HELD_MAX or (found is None and self.held):
            which, oldest = self.held.pop(0)
            try:
                self._compare(which, oldest)
            finally:
                oldest.close()

    def drop(self, number: int) -> None:
        """Forget an object; now and then, make room by hand."""
        if self.chance.random() < 0.02:
            self.store.cull(None)
        self.store.drop(key(number))

    def reserve(self, number: int) -> None:
        """Announce something large, and do not write it."""
        self.store.reserve(self.chance.randrange(1 << 20))

    def pin(self, number: int) -> None:
        """Pin or unpin one of a few."""
        which = key(number % PINNABLE)
        if self.chance.random() < 0.5:
            self.store.pin(which)
        else:
            self.store.unpin(which)

    def close(self) -> None:
        """Let go of everything."""
        for _, found in self.held:
            found.close()


def main() -> int:
    """Work until so many operations are done."""
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("--ops", type=int, required=True)
    parser.add_argument("--seed", required=True)
    parser.add_argument("--limit", type=int, required=True)
    options = parser.parse_args()
    store = bind(options.directory, limit_bytes=options.limit)
    soaker = Soaker(store, random.Random(options.seed))
    with contextlib.closing(soaker):
        for count in range(1, options.ops + 1):
            soaker.step()
            if count % STEP == 0:
                print(count, flush=True)
    store.close()
    print(dict(soaker.done), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
