"""Windows: what readers may read without asking, against a set of single bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from netcache._netfs.windows import FRAGMENTS_MAX, NO_WINDOWS, Windows

SIZE = 48

extents = st.tuples(st.integers(0, SIZE), st.integers(0, SIZE)).map(sorted)


@given(st.lists(extents, max_size=30))
def test_exactly_what_was_joined_is_found_in_one_piece(joined: list[list[int]]) -> None:
    """And the values before stay as they were, for readers look at them without a lock."""
    windows, known = NO_WINDOWS, set[int]()
    before: list[tuple[Windows, set[int]]] = []
    for start, end in joined:
        windows = windows.joined(7, start, end)
        known |= set(range(start, end))
        before.append((windows, set(known)))
    for value, bytes_of_it in before:
        for start in range(SIZE):
            for end in range(start + 1, SIZE + 1):
                there = bytes_of_it.issuperset(range(start, end))
                assert value.find(start, end) == (7 if there else -1)


def test_another_descriptor_begins_anew() -> None:
    """What was there behind the first is not there behind the second."""
    windows = NO_WINDOWS.joined(3, 0, 10).joined(4, 20, 30)
    assert windows.find(0, 10) == -1
    assert windows.find(20, 30) == 4


def test_no_more_than_a_bound_is_remembered() -> None:
    """One more costs a copy of them all, so there must be an end to them."""
    windows = NO_WINDOWS
    for number in range(FRAGMENTS_MAX):
        windows = windows.joined(3, 2 * number, 2 * number + 1)
    assert windows.find(0, 1) == 3
    windows = windows.joined(3, 2 * FRAGMENTS_MAX, 2 * FRAGMENTS_MAX + 1)
    assert windows.find(2 * FRAGMENTS_MAX, 2 * FRAGMENTS_MAX + 1) == 3
    assert windows.find(0, 1) == -1
