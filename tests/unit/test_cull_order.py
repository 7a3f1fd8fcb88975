"""The culling order: oldest first, scans leave the hot set alone, cycles keep a useful part."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netcache._core.cull_order import LEAD, MAIN_PARTS, SAMPLE, USES_MAX
from netcache._core.usage_record import State
from tests.support.culled_cache import CulledCache


def names(kind: str, count: int) -> list[str]:
    """``count`` names of a kind."""
    return [f"{kind}{number}" for number in range(count)]


def read_all(cache: CulledCache, every: list[str]) -> int:
    """Read each once; returns how many were there."""
    return sum(cache.read(name) for name in every)


def test_what_was_never_used_again_goes_oldest_first() -> None:
    """Plain first in, first out."""
    cache = CulledCache(10)
    read_all(cache, names("f", 10))
    assert [cache.cull() for _ in range(10)] == names("f", 10)
    assert cache.order.choose() == 0


def test_what_was_used_again_outlives_what_was_not() -> None:
    """The rest goes first, in order."""
    cache = CulledCache(10)
    read_all(cache, names("f", 10))
    read_all(cache, ["f0", "f3", "f4"])
    gone = [cache.cull() for _ in range(7)]
    assert gone == ["f1", "f2", "f5", "f6", "f7", "f8", "f9"]
    assert set(cache.held) == {"f0", "f3", "f4"}


@pytest.mark.parametrize("scanned", [2, 10], ids=lambda times: f"{times} times the cache")
def test_a_scan_does_not_flush_a_hot_set(scanned: int) -> None:
    """Half of the cache, read twice, is still there after a scan of twice the cache, and of ten."""
    size = 1000
    cache = CulledCache(size)
    hot = names("hot", size // 2)
    read_all(cache, hot)
    read_all(cache, hot)
    read_all(cache, names("scan", scanned * size))
    assert len(set(hot) & set(cache.held)) >= 0.95 * len(hot)


def test_the_hot_set_is_found_while_the_scan_goes_on() -> None:
    """One read of it for each three of the scan: once it is known as hot, hardly a miss."""
    size, chance = 1000, random.Random(5)
    cache = CulledCache(size)
    hot = names("hot", size // 2)
    found: list[bool] = []
    for number in range(9 * size):
        cache.read(f"scan{number}")
        if number % 3 == 0:
            found.append(cache.read(chance.choice(hot)))
    assert sum(found[2 * size :]) >= 0.9 * size


@pytest.mark.parametrize("factor", [1.1, 1.5, 2, 5])
def test_a_cycle_that_is_larger_than_the_cache_keeps_a_useful_part(factor: float) -> None:
    """From the third round on nearly all that fits is found; with LRU, nothing ever is."""
    size = 500
    cache = CulledCache(size)
    cycle = names("f", int(size * factor))
    read_all(cache, cycle)
    read_all(cache, cycle)
    for _ in range(4):
        assert read_all(cache, cycle) >= 0.85 * size


def test_what_was_hot_once_does_not_stay_for_ever() -> None:
    """Another hot set takes its place, though the old one had been used more often."""
    size, chance = 400, random.Random(1)
    cache = CulledCache(size)
    for _ in range(10):
        read_all(cache, names("old", size // 2))
    new = names("new", size * 3 // 4)
    for _ in range(12 * size):
        cache.read(chance.choice(new))
    assert sum(cache.read(chance.choice(new)) for _ in range(size)) >= 0.97 * size


def test_frequencies_are_kept_better_than_by_lru() -> None:
    """With uses that fall off as 1/n, more is found than by plain LRU."""
    size, chance = 300, random.Random(3)
    uses = chance.choices(range(10 * size), [1 / (n + 1) for n in range(10 * size)], k=30 * size)
    cache = CulledCache(size)
    lru: dict[int, None] = {}
    found = 0
    for number in uses:
        cache.read(str(number))
        found += number in lru
        lru.pop(number, None)
        lru[number] = None
        if len(lru) > size:
            del lru[next(iter(lru))]
    assert cache.hits > 1.04 * found


def test_what_is_skipped_stays_and_everything_else_goes() -> None:
    """In use: any of them, in both queues, and never chosen."""
    cache = CulledCache(40)
    read_all(cache, names("f", 40))
    read_all(cache, names("f", 20))
    cache.cull()
    index = cache.order.index
    skip = {index.find(name.encode()) for name in cache.held if int(name[1:]) % 3 == 0}
    gone = set()
    while number := cache.order.choose(skip, len(skip)):
        name = index.place(number).decode()
        cache.order.leave(number)
        del cache.held[name]
        gone.add(name)
    assert set(cache.held) == {name for name in names("f", 40) if int(name[1:]) % 3 == 0} - gone
    assert len(cache.held) == len(skip)


def test_one_that_stays_after_all_goes_to_the_end() -> None:
    """What was chosen and could not go is not chosen again before the others."""
    cache = CulledCache(5)
    read_all(cache, names("f", 5))
    index = cache.order.index
    assert index.place(cache.order.choose()) == b"f0"
    assert index.place(cache.order.choose()) == b"f1"
    assert [cache.cull() for _ in range(5)] == ["f2", "f3", "f4", "f0", "f1"]


def test_pinned_records_are_never_chosen() -> None:
    """Nor do they have a part in any queue; unpinned they go in their turn."""
    cache = CulledCache(10)
    read_all(cache, names("f", 10))
    pinned = [cache.order.index.find(name) for name in (b"f0", b"f5")]
    for number in pinned:
        cache.order.pin(number)
    assert [cache.cull() for _ in range(8)] == [f"f{n}" for n in (1, 2, 3, 4, 6, 7, 8, 9)]
    assert cache.order.choose() == 0
    cache.order.unpin(pinned[1])
    assert cache.cull() == "f5"
    assert cache.order.choose() == 0
    assert cache.cells.head.total == 1


def test_choosing_looks_at_a_few_records_however_many_there_are() -> None:
    """The most for one that goes is the same at a hundred objects and at ten thousand."""
    looked = []
    for size in (100, 1000, 10_000):
        cache = CulledCache(size)
        for name in names("f", size):
            cache.order.enter(name.encode(), 1, 0)
            cache.held[name] = 1
        for number in range(0, size, 3):
            cache.order.use(number + 1, 1)
        most = 0
        for _ in range(90):
            before = cache.cells.looked_at
            cache.cull()
            most = max(most, cache.cells.looked_at - before)
        looked.append(most)
    assert max(looked) <= min(looked) + 40


def test_the_constants_fit_together() -> None:
    """A newcomer can get ahead of what was used most often, and main leaves room for the other."""
    assert LEAD < USES_MAX
    assert SAMPLE > 1
    assert MAIN_PARTS[0] < MAIN_PARTS[1]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 30), st.integers(1, 9)), max_size=120))
def test_counts_and_bytes_are_those_of_the_queues(steps: list[tuple[int, int, int]]) -> None:
    """Whatever is done: the chains hold what the head says, and all objects are in one place."""
    cache = CulledCache(1 << 30)
    order, head = cache.order, cache.cells.head
    for what, which, size in steps:
        place = b"%d" % which
        number = order.index.find(place)
        if not number:
            order.enter(place, size, 0)
        elif what == 0:
            order.leave(number)
        elif what == 1:
            order.pin(number)
        elif what == 2:
            order.unpin(number)
        elif what == 3:
            order.recharge(number, size)
        elif what == 4:
            order.choose()
        else:
            order.use(number, 1)
        small = walked(cache, State.SMALL)
        main = walked(cache, State.MAIN)
        assert (head.small_count, head.main_count) == (len(small), len(main))
        for chain, total in ((small, head.small_bytes), (main, head.main_bytes)):
            assert sum(order.index.slot(one).charge for one in chain) == total
    objects = [slot for slot in cache.cells.slots.values() if slot.length]
    assert head.objects == len(objects)
    assert head.total == sum(slot.charge for slot in objects)


def walked(cache: CulledCache, state: State) -> list[int]:
    """The records of a queue, by its chain, with a look at every link."""
    head = cache.cells.head
    first = head.small_first if state is State.SMALL else head.main_hand
    chain: list[int] = []
    number = first
    while number and number not in chain:
        slot = cache.cells.slot(number)
        assert slot.state is state
        if slot.behind:
            assert cache.cells.slot(slot.behind).before == number
        chain.append(number)
        number = slot.behind
    return chain
