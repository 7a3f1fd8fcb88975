"""The table of writes into a block, row by row, and the three sizes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netcache._core.extent import Extent
from netcache._core.sizes import Sizes
from netcache._core.write_decision import BlockState, Step, decide_write

B = 4096
BLOCK = Extent(2 * B, 3 * B)
PART = Extent(2 * B + 100, 2 * B + 200)
FAR = 1 << 40


@pytest.mark.parametrize(
    ("write", "uptodate", "record", "zero_point", "cached", "step"),
    [
        (PART, True, None, FAR, True, Step.OVERWRITE),
        (PART, True, None, 0, False, Step.OVERWRITE),
        (PART, False, None, 2 * B, True, Step.ZERO_AROUND),
        (PART, False, None, 2 * B + 1, True, Step.READ_FIRST),
        (BLOCK, False, None, FAR, True, Step.WHOLE),
        (BLOCK, False, Extent(2 * B + 5, 2 * B + 9), FAR, False, Step.WHOLE),
        (Extent(2 * B, 2 * B + 500), False, None, 2 * B + 500, True, Step.WHOLE),
        (Extent(2 * B, 2 * B + 499), False, None, 2 * B + 500, True, Step.READ_FIRST),
        (PART, False, None, FAR, True, Step.READ_FIRST),
        (PART, False, Extent(2 * B, 2 * B + 100), FAR, True, Step.READ_FIRST),
        (PART, False, None, FAR, False, Step.STREAM),
        (PART, False, Extent(2 * B, 2 * B + 100), FAR, False, Step.EXTEND),
        (PART, False, Extent(2 * B + 200, 2 * B + 300), FAR, False, Step.EXTEND),
        (PART, False, Extent(2 * B, 2 * B + 99), FAR, False, Step.SPLIT),
        (PART, False, Extent(2 * B + 201, 2 * B + 300), FAR, False, Step.SPLIT),
    ],
)
def test_each_row(
    write: Extent,
    uptodate: bool,
    record: Extent | None,
    zero_point: int,
    cached: bool,
    step: Step,
) -> None:
    """The first row that fits decides."""
    state = BlockState(BLOCK, uptodate, record)
    assert decide_write(write, state, zero_point=zero_point, cached=cached) is step


def test_only_a_cache_makes_a_write_read() -> None:
    """Without a cache nothing is read for a write, whatever it meets."""
    for record in (None, Extent(2 * B, 2 * B + 10)):
        state = BlockState(BLOCK, False, record)
        assert not decide_write(PART, state, zero_point=FAR, cached=False).reads


def test_t10_the_zero_point_follows_the_server_not_the_local_size() -> None:
    """What was extended here while an upload ran are no zeros of the server."""
    sizes = Sizes.of(100).written(5000).uploaded(3000)
    assert sizes == Sizes(5000, 3000, 3000)
    assert sizes.remote_limit == 3000


def test_a_cut_hides_the_servers_bytes_for_good() -> None:
    """Cut and extended again: what the server has there is not ours, until all is sent."""
    sizes = Sizes.of(100).truncated(10).truncated(50)
    assert sizes.remote_limit == 10
    assert sizes.needs_whole
    assert not sizes.uploaded(50).needs_whole


steps = st.lists(
    st.tuples(st.sampled_from(["written", "truncated", "uploaded"]), st.integers(0, 1000))
)


@given(st.integers(0, 1000), steps)
def test_t20_the_three_sizes_stay_in_order(size: int, steps: list[tuple[str, int]]) -> None:
    """``zero_point <= remote`` always; what the server says never reaches past ``local``."""
    sizes = Sizes.of(size)
    for name, value in steps:
        sizes = getattr(sizes, name)(value)
        assert 0 <= sizes.zero_point <= sizes.remote
        assert sizes.remote_limit <= sizes.local
