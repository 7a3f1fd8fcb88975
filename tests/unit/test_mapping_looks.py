"""Looks at shared bytes: K7, what they cost, what they show, and what ends them."""

from __future__ import annotations

import pytest

from netcache._cachefiles.store import CachefilesStore
from netcache.errors import ClosedError, StaleError
from tests.support.mapper import content_of, number_in, put_version, size_of
from tests.support.sharing import Workers, record, seen


def test_k7_a_stale_result_raises_stale_error(cache: CachefilesStore, workers: Workers) -> None:
    """K7: the bytes stay what they were, and the result made of them is refused."""
    (shared,) = workers(1)
    look = shared.read()

    def use() -> None:
        with look as (_, view):
            put_version(cache, 2)
            assert number_in(view) == 1

    with pytest.raises(StaleError):
        use()
    assert number_in(look.view) == 1
    assert seen(shared)[1] == 2


def test_k7_an_error_inside_the_block_is_not_hidden(
    cache: CachefilesStore, workers: Workers
) -> None:
    """What the block raises comes out, stale or not."""
    (shared,) = workers(1)

    def use() -> None:
        with shared.read() as (_, view):
            put_version(cache, 2)
            raise ArithmeticError(number_in(view))

    with pytest.raises(ArithmeticError):
        use()


@pytest.mark.parametrize("changes", [0, 1, 5, 15])
def test_k7_a_stale_result_is_made_again(
    cache: CachefilesStore, workers: Workers, changes: int
) -> None:
    """K7: as often as it takes, with the new bytes each time."""
    (shared,) = workers(1)
    made: list[int] = []

    def slow(view: memoryview) -> int:
        made.append(number_in(view))
        if len(made) <= changes:
            put_version(cache, len(made) + 1)
        return made[-1]

    assert shared.apply(slow) == changes + 1
    assert made == list(range(1, changes + 2))


def test_k7_a_result_that_is_always_stale_is_given_up(
    cache: CachefilesStore, workers: Workers
) -> None:
    """It does not go on for ever."""
    (shared,) = workers(1)
    made: list[int] = []

    def hopeless(view: memoryview) -> int:
        made.append(number_in(view))
        put_version(cache, made[-1] + 1)
        return made[-1]

    with pytest.raises(StaleError):
        shared.apply(hopeless)
    assert made == list(range(1, 17))


def test_a_look_that_hits_makes_no_call(cache: CachefilesStore, workers: Workers) -> None:
    """The fast path is memory alone: with every descriptor of it gone, it still answers."""
    (shared,) = workers(1)
    seen(shared)
    bound = shared._core.store.bound()._bound  # type: ignore[union-attr]
    before = bound.mappings._fd
    bound.mappings._fd = -1
    try:
        for offset in range(0, size_of(1), 512):
            with shared.read(offset, 100) as (generation, view):
                assert generation == record(cache).generation
                assert bytes(view) == content_of(1)[offset : offset + 100]
    finally:
        bound.mappings._fd = before


@pytest.mark.parametrize(
    ("offset", "length"),
    [(0, 0), (0, 1), (5, None), (4096, 4096), (size_of(1) - 3, 100), (size_of(1), 5), (1 << 40, 9)],
)
def test_extents_are_clipped_to_the_size(
    cache: CachefilesStore, workers: Workers, offset: int, length: int | None
) -> None:
    """At a first look, and when it is mapped already; the view is read-only."""
    (shared,) = workers(1)
    end = None if length is None else offset + length
    for _ in range(2):
        with shared.read(offset, length) as (_, view):
            assert bytes(view) == content_of(1)[offset:end]
            assert view.readonly
        seen(shared)
    with pytest.raises(ValueError, match="negative"):
        shared.read(-1, 5)
    with pytest.raises(ValueError, match="negative"):
        shared.read(0, -5)


def test_a_closed_file_and_a_closed_client_say_so(cache: CachefilesStore, workers: Workers) -> None:
    """Views stay; looking anew does not work; the worker's bits are gone."""
    one, other = workers(2)
    view = one.read().view
    seen(other)
    one.close()
    one.close()
    other._core.close_local()
    assert record(cache).users == 0
    for shared in (one, other):
        with pytest.raises(ClosedError):
            shared.read()
    assert number_in(view) == 1
