"""Where each part of a read comes from (netfslib's rules)."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netcache._core.content import Occupancy
from netcache._core.extent import Extent
from netcache._core.read_sources import Piece, Source, choose_pieces

B = 4096
DATA, ZERO = Occupancy.DATA, Occupancy.ZERO


def pieces(
    start: int,
    end: int,
    *cached: tuple[int, int, Occupancy],
    zero_limit: int = 1 << 40,
    copy: bool = True,
) -> list[Piece]:
    """``choose_pieces`` with positions in blocks."""
    return choose_pieces(
        Extent(start * B, end * B),
        [(low * B, high * B, kind) for low, high, kind in cached],
        zero_limit=zero_limit,
        block_size=B,
        copy=copy,
    )


def shown(found: list[Piece]) -> list[tuple[float, float, str, bool]]:
    """Pieces in blocks."""
    return [(p.start / B, p.end / B, p.source.value, p.copy) for p in found]


def test_nothing_cached_is_one_download() -> None:
    """Rule 3."""
    assert shown(pieces(0, 8)) == [(0, 8, "DOWN", True)]


def test_two_extents_name_five_pieces() -> None:
    """Rules 1 and 3 in turn; the cache limits a download's length."""
    assert shown(pieces(0, 10, (2, 4, DATA), (6, 8, DATA))) == [
        (0, 2, "DOWN", True),
        (2, 4, "READ", False),
        (4, 6, "DOWN", True),
        (6, 8, "READ", False),
        (8, 10, "DOWN", True),
    ]


def test_a_cached_extent_is_read_to_the_end_of_the_request_at_most() -> None:
    """Rule 1: the extent may begin before the read and reach past it."""
    assert shown(pieces(3, 5, (0, 100, DATA))) == [(3, 5, "READ", False)]


def test_a_zero_extent_of_the_cache_is_zeros_and_is_not_copied_there() -> None:
    """Rule 1: the type of the extent decides."""
    assert shown(pieces(0, 4, (1, 3, ZERO))) == [
        (0, 1, "DOWN", True),
        (1, 3, "ZERO", False),
        (3, 4, "DOWN", True),
    ]


def test_at_and_past_the_zero_point_nobody_is_asked() -> None:
    """Rule 2: zeros, copied to the cache."""
    assert shown(pieces(0, 8, zero_limit=4 * B)) == [(0, 4, "DOWN", True), (4, 8, "ZERO", True)]
    assert shown(pieces(4, 8, zero_limit=4 * B)) == [(4, 8, "ZERO", True)]


def test_what_is_cached_past_the_zero_point_is_read_there() -> None:
    """Rule 1 comes before rule 2."""
    assert shown(pieces(2, 8, (5, 6, DATA), zero_limit=4 * B)) == [
        (2, 4, "DOWN", True),
        (4, 5, "ZERO", True),
        (5, 6, "READ", False),
        (6, 8, "ZERO", True),
    ]


def test_a_zero_point_inside_a_block_does_not_cut_what_the_cache_gets() -> None:
    """The cache takes whole blocks: the download goes on to the block's end."""
    assert shown(pieces(0, 4, zero_limit=5000)) == [(0, 2, "DOWN", True), (2, 4, "ZERO", True)]
    exact = pieces(0, 4, zero_limit=5000, copy=False)
    assert [(p.start, p.end) for p in exact] == [(0, 5000), (5000, 4 * B)]


def test_the_padded_tail_of_an_object_is_read_with_its_block() -> None:
    """Rule 1: lengths are rounded up to the granularity."""
    found = choose_pieces(
        Extent(0, 4 * B), [(0, 5000, DATA)], zero_limit=5000, block_size=B, copy=True
    )
    assert shown(found) == [(0, 2, "READ", False), (2, 4, "ZERO", True)]


def test_without_a_cache_nothing_is_copied() -> None:
    """No copy mark."""
    assert not any(piece.copy for piece in pieces(0, 8, zero_limit=4 * B, copy=False))


@pytest.mark.parametrize("copy", [False, True])
@given(
    wanted=st.tuples(st.integers(0, 40), st.integers(1, 40)),
    edges=st.lists(st.integers(0, 50), min_size=4, max_size=4),
    kinds=st.tuples(st.sampled_from(Occupancy), st.sampled_from(Occupancy)),
    zero_limit=st.integers(0, 50 * B),
)
def test_pieces_tile_the_read_and_none_is_empty(
    copy: bool,
    wanted: tuple[int, int],
    edges: list[int],
    kinds: tuple[Occupancy, Occupancy],
    zero_limit: int,
) -> None:
    """Whatever the cache answers: no gap, no overlap, no empty piece, the right source."""
    a, b, c, d = sorted(edges)
    start, end = wanted[0], wanted[0] + wanted[1]
    found = pieces(start, end, (a, b, kinds[0]), (c, d, kinds[1]), zero_limit=zero_limit, copy=copy)
    assert found[0].start == start * B
    assert found[-1].end == end * B
    assert all(one.end == other.start for one, other in itertools.pairwise(found))
    assert all(piece.length > 0 for piece in found)
    for piece in found:
        block = piece.start // B
        if piece.source is Source.CACHE:
            assert (a <= block < b) or (c <= block < d)
        if piece.source is Source.DOWNLOAD:
            assert piece.start < zero_limit
            assert piece.copy is copy
