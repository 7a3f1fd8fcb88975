"""K8: random changes, looks and disposals by real processes that share one cache directory.

Every byte that was read belongs to the generation that was reported: a view is of one version,
whole; all the processes together have seen one version, at most, in each generation; and none that
is over comes back.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import mmap
import os
import random
import select
import subprocess
import sys
from pathlib import Path

import pytest

import netcache
from netcache._cachefiles.store import bind
from netcache._core.content import WriteKind
from netcache._core.mapping_record import UNSHARED
from netcache._fscache.ports import CacheObject
from netcache.errors import CacheError, NotCachedError, StaleError
from tests.support.mapper import (
    BLOCK,
    ROOT,
    URL,
    content_of,
    key,
    mappers,
    modify,
    number_in,
    put_version,
    size_of,
)
from tests.support.samples import sample_size
from tests.support.stores import create, version

READERS, CHANGERS = 3, 2
CHANGES = 120
NUMBERS = 1_000_000
"""Each changer has as many numbers for its versions."""


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(sample_size(2, 8)))
def test_k8_every_byte_belongs_to_the_generation_reported(tmp_path: Path, seed: int) -> None:
    """Readers and changers at once; afterwards all readers agree with what is there."""
    print(f"seed {seed}")
    cache = tmp_path / "cache"
    store = bind(cache)
    put_version(store, 1)
    with contextlib.ExitStack() as stack:
        readers = [
            stack.enter_context(start("read", cache, seed, number)) for number in range(READERS)
        ]
        for reader in readers:
            assert reader.stdout is not None
            assert reader.stdout.readline() == b"ready\n"
        changers = [
            stack.enter_context(start("change", cache, seed, number))
            for number in range(1, 1 + CHANGERS)
        ]
        assert [changer.wait() for changer in changers] == [0] * CHANGERS
        # With the end of their input the readers end.
        answers = [reader.communicate()[0] for reader in readers]
        assert [reader.returncode for reader in readers] == [0] * READERS
    seen: dict[int, set[int]] = {}
    for answer in answers:
        for generation, number in json.loads(answer):
            seen.setdefault(generation, set()).add(number)
    seen.pop(UNSHARED, None)
    assert {generation: numbers for generation, numbers in seen.items() if len(numbers) > 1} == {}
    order = [numbers.pop() for _, numbers in sorted(seen.items())]
    changes = [number for number, _ in itertools.groupby(order)]
    print(f"{len(order)} generations, {len(changes)} versions")
    assert len(changes) > CHANGES // 4, "the readers have seen too little"
    assert len(set(changes)) == len(changes), "an old version came back"
    put_version(store, 9 * NUMBERS)
    with mappers(cache, 2) as workers:
        finals = [worker.ask("look") for worker in workers]
    assert finals[0] == finals[1]
    assert finals[0][1] == 9 * NUMBERS
    store.close()


def start(role: str, cache: Path, seed: int, number: int) -> subprocess.Popen[bytes]:
    """A reader or changer in a process of its own."""
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.model.test_mapping_fuzz",
            role,
            cache,
            str(seed),
            str(number),
        ],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def test_the_fuzz_would_notice(tmp_path: Path) -> None:
    """Its own check of a view: one word of another version is found."""
    data = bytearray(content_of(7))
    assert number_in(memoryview(data)) == 7
    data[800:808] = content_of(8)[:8]
    with pytest.raises(AssertionError, match="mixture"):
        number_in(memoryview(data))


class Progress:
    """How many steps the readers have made: a word each in a file that all map."""

    def __init__(self, cache: str) -> None:
        with open(f"{cache}/progress", "a+b") as file:
            file.truncate(8 * READERS)
            self.words = memoryview(mmap.mmap(file.fileno(), 8 * READERS)).cast("Q")

    def count(self, reader: int) -> None:
        """One step more."""
        self.words[reader] += 1

    def total(self) -> int:
        """The steps of all."""
        return sum(self.words)


class Reader:
    """A process that looks again and again, and remembers what it has seen."""

    def __init__(self, cache: str, chance: random.Random, number: int) -> None:
        self.cache = cache
        self.number = number
        self.progress = Progress(cache)
        self.client = netcache.Client(cache_dir=cache, offline=True)
        self.shared = self.client.share(URL)
        self.chance = chance
        self.seen: set[tuple[int, int]] = set()
        self.kept: list[tuple[memoryview, int]] = []

    def run(self) -> None:
        """Looks until stdin ends; what was kept must be what it was."""
        ways = [self.look, self.look, self.look, self.use, self.copy, self.open, self.anew]
        print("ready", flush=True)
        for step in itertools.count():
            if select.select([sys.stdin], [], [], 0)[0]:
                break
            self.progress.count(self.number)
            way = self.synchronised if step % 100 == 99 else self.chance.choice(ways)
            try:
                way()
            except (NotCachedError, StaleError):
                # Dropped, not filled yet, or changed meanwhile: that is what may happen.
                continue
        for view, number in self.kept:
            assert number_in(view) == number, "a view changed"
        self.client.close()
        print(json.dumps(sorted(self.seen)))

    def extent(self) -> tuple[int, int]:
        """Words that every version has."""
        offset = 8 * self.chance.randrange(BLOCK // 4)
        return offset, 8 * self.chance.randint(1, BLOCK)

    def look(self) -> None:
        """Look, and use the bytes, perhaps for long."""
        with self.shared.read(*self.extent()) as (generation, view):
            self.seen.add((generation, number_in(view)))
            if self.chance.random() < 0.1:
                os.sched_yield()
            self.seen.add((generation, number_in(view)))
        if self.chance.random() < 0.02:
            self.kept.append((view, number_in(view)))

    def use(self) -> None:
        """Have something made of the bytes until it is not stale."""
        assert self.shared.apply(number_in, *self.extent())

    def copy(self) -> None:
        """Copy everything: whole, and of one version."""
        data = self.shared.private_copy()
        assert len(data) == size_of(number_in(memoryview(data)))

    def open(self) -> None:
        """View a file that was opened in the usual way."""
        with self.client.open(URL) as file:
            view = file.view(*self.extent())
        self.kept.append((view, number_in(view)))

    def anew(self) -> None:
        """Let go, and share again, perhaps with another client: only the views are kept."""
        self.shared.close()
        if self.chance.random() < 0.1:
            self.client.close()
            self.client = netcache.Client(cache_dir=self.cache, offline=True)
        self.shared = self.client.share(URL)

    def synchronised(self) -> None:
        """A plain view, after everybody has let older maps go."""
        assert number_in(self.shared.synchronised(*self.extent(), timeout=1.0))


class Changer:
    """A process that changes the resource in every way there is."""

    def __init__(self, cache: str, chance: random.Random, first: int) -> None:
        self.progress = Progress(cache)
        self.store = bind(cache)
        self.chance = chance
        self.first = first

    def run(self) -> None:
        """All changes; what fails because of the other changer costs only itself."""
        ways = [self.replace, self.invalidate, self.modify, self.fill, self.dispose]
        for number in range(self.first, self.first + CHANGES):
            with contextlib.suppress(CacheError):
                self.chance.choice(ways)(number)
            self.let_them_look()
        self.store.close()

    def let_them_look(self) -> None:
        """Go on at once, or after the readers have gone a few steps further."""
        until = self.progress.total() + self.chance.choice([0, 0, 1, 3, 30])
        while self.progress.total() < until:
            os.sched_yield()

    def replace(self, number: int) -> None:
        """A whole new object."""
        put_version(self.store, number)

    def invalidate(self, number: int) -> None:
        """The same object, emptied and filled again."""
        cache_object = self.store.lookup(key())
        if cache_object is not None:
            cache_object.invalidate(version(size_of(number), str(number)))
            self.store_blocks(cache_object, number)

    def fill(self, number: int) -> None:
        """An empty object, filled piece by piece, not always to the end."""
        made = create(self.store, size_of(number), key=key(), tag=str(number))
        self.store_blocks(made, number)

    def store_blocks(self, cache_object: CacheObject, number: int) -> None:
        """Fill blocks in any order, and close."""
        blocks = list(range(-(-size_of(number) // BLOCK)))
        self.chance.shuffle(blocks)
        most = len(blocks) if self.chance.random() < 0.8 else len(blocks) // 2
        for block in blocks[:most]:
            start, end = block * BLOCK, (block + 1) * BLOCK
            cache_object.write_blocks(start, content_of(number)[start:end])
            cache_object.collect_write(WriteKind.DATA, start, end)
        cache_object.close()

    def modify(self, number: int) -> None:
        """A local modification, in place where nobody has it open, longer or shorter."""
        cache_object = self.store.lookup(key())
        if cache_object is not None:
            modify(cache_object, number)
            cache_object.close()

    def dispose(self, number: int) -> None:
        """Drop it, give back what is not in use, or forget everything."""
        self.chance.choice([lambda: self.store.drop(key()), self.store.clear, self.cull])()
        if self.chance.random() < 0.8:
            put_version(self.store, number)

    def cull(self) -> None:
        """Give back what nobody has open."""
        self.store.cull(0)


def main() -> None:
    """Be a reader or a changer."""
    role, cache, seed, number = sys.argv[1:]
    chance = random.Random(f"{seed} {number}")
    if role == "read":
        Reader(cache, chance, int(number)).run()
    else:
        Changer(cache, chance, NUMBERS * int(number)).run()


if __name__ == "__main__":
    main()
