"""Each miss has exactly one cause: a long random trace against an oracle.

The oracle keeps, for each block of each resource, whether it is cached and why it was lost last.
It is told what is done to the cache and the origin, never what the client finds.
"""

from __future__ import annotations

import logging
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import netcache
from netcache._core.keys import folder_and_file
from netcache._core.misses import Cause
from netcache._core.urls import parse
from netcache._netfs.events import LOGGER_NAME
from netcache_server import FaultRule
from tests.support.served import Served, random_bytes, serve

BLOCK = 4096
BLOCKS = 48
SIZE = BLOCKS * BLOCK - 100
OPS = int(os.environ.get("NETCACHE_TRACE_OPS", "150"))
UNRENEWABLE = FaultRule(path="/none*", validator="none")
CUT_BYTES = BLOCK + 1000


class Heard(logging.Handler):
    """The misses that the debug log tells, since they were last taken."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.told: list[dict[str, object]] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the fields of a miss."""
        if record.msg.startswith("netfs_miss"):
            assert isinstance(record.args, dict)
            self.told.append(record.args)

    def take(self) -> dict[int, str]:
        """Each missed block and its cause; a block that was told twice is a mistake."""
        causes: dict[int, str] = {}
        for miss in self.told:
            start, end = miss["start"], miss["end"]
            assert isinstance(start, int)
            assert isinstance(end, int)
            for block in range(start // BLOCK, -(-end // BLOCK)):
                assert block not in causes, "a block is missed once"
                causes[block] = str(miss["cause"])
        self.told.clear()
        return causes


class Oracle:
    """What is cached of one resource, and why what is not was lost."""

    def __init__(self) -> None:
        self.cached: set[int] = set()
        self.lost: dict[int, Cause] = {}

    def lose(self, cause: Cause, blocks: set[int] | None = None) -> None:
        """Cached blocks (None: all) are gone."""
        for block in set(self.cached) if blocks is None else blocks & self.cached:
            self.cached.discard(block)
            self.lost[block] = cause

    def missed(self, blocks: range) -> dict[int, str]:
        """What a read of ``blocks`` must miss, and why."""
        return {
            block: self.lost.get(block, Cause.NEVER).value
            for block in blocks
            if block not in self.cached
        }


class Course:
    """A client, an origin, an oracle for each resource, and what may happen to them."""

    def __init__(self, served: Served, cache_dir: Path, seed: int, heard: Heard) -> None:
        self.counts: Counter[str] = Counter()
        self.random = random.Random(seed)
        self._served = served
        self._cache_dir = cache_dir
        self._heard = heard
        self._oracles = {name: Oracle() for name in ("one", "two", "none")}
        self._version = 0
        self._stale: set[str] = set()
        self._client = self._new_client()
        self._stats: Counter[str] = Counter()
        for name in self._oracles:
            self._change(name)
        self._stale.clear()
        served.server.set_faults([UNRENEWABLE])

    def _new_client(self) -> netcache.Client:
        return netcache.Client(cache_dir=self._cache_dir, readahead=0, retries=0, timeout=10.0)

    def step(self) -> None:
        """Something happens."""
        happenings: list[tuple[Callable[[], None], int]] = [
            (self._read, 60),
            (self._swap, 6),
            (self._drop, 5),
            (self._clear, 1),
            (self._cull, 3),
            (self._go_on_as_another_process, 6),
            (self._damage, 5),
            (self._cut_off, 6),
            (self._write_part, 5),
            (self._read_without_cache, 3),
        ]
        what, weights = zip(*happenings, strict=True)
        (happening,) = self.random.choices(what, weights)
        happening()

    def close(self) -> None:
        """Close the client, and compare its counters with what was told."""
        counted = {name: value for name, value in self._client.stats()["Misses"].items() if value}
        assert counted == {name: value for name, value in self._stats.items() if value}
        self._stats.clear()
        self._client.close()

    # What happens.

    def _read(self) -> None:
        name = self.random.choice(list(self._oracles))
        first = self.random.randrange(BLOCKS)
        self._read_blocks(name, range(first, min(BLOCKS, first + self.random.randint(1, 12))))

    def _read_blocks(self, name: str, blocks: range) -> None:
        oracle = self._oracles[name]
        self._open_effects(name)
        expected = oracle.missed(blocks)
        with self._client.open(self._served.url + name) as file:
            data = file.pread(len(blocks) * BLOCK, blocks.start * BLOCK)
        assert data == self._content(name)[blocks.start * BLOCK : blocks.stop * BLOCK]
        self._compare(name, expected)
        oracle.cached.update(range(BLOCKS) if name == "none" else blocks)

    def _open_effects(self, name: str) -> None:
        """What an open finds out: another version, or nothing to renew what is cached with."""
        if name == "none":
            self._oracles[name].lose(Cause.EXPIRED)
        elif name in self._stale:
            self._oracles[name].lose(Cause.CHANGED)
        self._stale.discard(name)

    def _compare(self, name: str, expected: dict[int, str]) -> None:
        runs = list(self._heard.told)
        assert self._heard.take() == expected, name
        for miss in runs:
            cause = Cause(miss["cause"])
            self._stats[cause.counter] += 1
            self.counts[cause.value] += 1

    def _swap(self) -> None:
        name = self.random.choice(["one", "two", "none"])
        self._change(name)
        self._stale.add(name)

    def _change(self, name: str) -> None:
        self._version += 1
        self._served.put(name, random_bytes(SIZE, self._version))

    def _content(self, name: str) -> bytes:
        return (self._served.root / name).read_bytes()

    def _drop(self) -> None:
        name = self.random.choice(list(self._oracles))
        self._client.cache.drop(self._served.url + name)
        self._oracles[name].lose(Cause.DROPPED)

    def _clear(self) -> None:
        self._client.cache.clear()
        for oracle in self._oracles.values():
            oracle.lose(Cause.DROPPED)

    def _cull(self) -> None:
        self._go_on_as_another_process()
        self._client.cache.cull(0)
        assert not list(self._client.cache.objects())
        for oracle in self._oracles.values():
            oracle.lose(Cause.CULLED)

    def _go_on_as_another_process(self) -> None:
        """Nothing that one client knows in memory is left."""
        self.close()
        self._client = self._new_client()

    def _damage(self) -> None:
        name = self.random.choice(["one", "two"])
        oracle = self._oracles[name]
        if not oracle.cached or name in self._stale:
            return
        self._go_on_as_another_process()
        block = self.random.choice(sorted(oracle.cached))
        resource = parse(self._served.url + name)
        place = folder_and_file(resource.volume_key, resource.object_key)
        with self._cache_dir.joinpath("cache", *place).open("r+b") as file:
            file.seek(block * BLOCK + 17)
            byte = file.read(1)
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte[0] ^ 1]))
        oracle.lose(Cause.CHECKSUM, {block})
        self._read_blocks(name, range(block, block + 1))

    def _cut_off(self) -> None:
        """A body breaks off inside its second block."""
        name = self.random.choice(["one", "two"])
        oracle = self._oracles[name]
        first = self.random.randrange(BLOCKS - 3)
        blocks = range(first, first + 3)
        if oracle.cached & set(blocks) or name in self._stale:
            return
        expected = oracle.missed(blocks)
        cut = FaultRule(method=("GET",), path=f"/{name}", cut_after=CUT_BYTES, count=1)
        self._served.server.set_faults([cut, UNRENEWABLE])
        with (
            self._client.open(self._served.url + name) as file,
            pytest.raises(netcache.TransientError),
        ):
            file.pread(3 * BLOCK, first * BLOCK)
        self._served.server.set_faults([UNRENEWABLE])
        self._compare(name, expected)
        oracle.cached.add(first)
        oracle.lost[first + 1] = Cause.PARTIAL

    def _write_part(self) -> None:
        """An edit of a few bytes of a block wants the rest of the block."""
        name = self.random.choice(["one", "two"])
        oracle, block = self._oracles[name], self.random.randrange(BLOCKS - 1)
        self._open_effects(name)
        expected = oracle.missed(range(block, block + 1))
        with self._client.open(self._served.url + name, "r+b") as file:
            file.pwrite(b"edited", block * BLOCK + 100)
        self._compare(name, expected)
        oracle.cached.add(block)

    def _read_without_cache(self) -> None:
        with (
            netcache.Client(use_cache=False, readahead=0) as client,
            client.open(self._served.url + "one") as file,
        ):
            file.pread(BLOCK, 0)
        assert self._heard.take() == {0: Cause.DOWN.value}
        self.counts[Cause.DOWN.value] += 1


@pytest.fixture
def heard() -> Iterator[Heard]:
    """The debug log of misses."""
    handler, log = Heard(), logging.getLogger(LOGGER_NAME)
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    yield handler
    log.setLevel(level)
    log.removeHandler(handler)


@pytest.mark.parametrize("seed", [1])
def test_each_miss_has_the_cause_that_the_oracle_says(
    tmp_path: Path, heard: Heard, seed: int
) -> None:
    """All causes, over changes of client: the log, the counters and the oracle agree."""
    with serve(tmp_path / "www") as served:
        course = Course(served, tmp_path / "cache", seed, heard)
        for _ in range(OPS):
            course.step()
        course.close()
    print(seed, dict(course.counts))
    assert set(course.counts) == {cause.value for cause in Cause}
