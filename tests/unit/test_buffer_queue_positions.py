"""Positions and references in a chain of segment arrays."""

from __future__ import annotations

import pytest

from netcache._netfs.queue_position import Position
from netcache._netfs.segment_array import Disposal, SegmentArray
from tests.support.queues import CountedArena, resizable


def chain(arena: CountedArena, *arrays: tuple[int, list[int]]) -> SegmentArray:
    """Arrays of (start, lengths of segments), linked; the first one's reference is the caller's."""
    first: SegmentArray | None = None
    last: SegmentArray | None = None
    for start, lengths in arrays:
        array = arena.array(start, 10, Disposal.PINNED)
        array.take([memoryview(bytes(length)) for length in lengths], None)
        if last is None:
            first = array
        else:
            last.next = array
        last = array
    assert first is not None
    return first


def test_a_position_advances_over_slots_arrays_and_gaps() -> None:
    """Bytes are counted, not the gap; it rests at the start of the next array, not at an end."""
    arena = CountedArena()
    first = chain(arena, (100, [10, 20]), (200, [5]), (205, [5, 5]))
    position = Position(first)
    seen = []
    for count in (0, 10, 5, 15, 5, 5, 5):
        position.advance(count)
        seen.append((position.file_position, position.slot, position.offset))
    assert seen == [
        (100, 0, 0),
        (110, 1, 0),
        (115, 1, 5),
        (200, 0, 0),
        (205, 0, 0),
        (210, 1, 0),
        (215, 2, 0),
    ]
    with pytest.raises(ValueError, match="past the data"):
        position.advance(1)
    position.release()
    first.drop()
    assert arena.alive == 0


def test_a_position_moves_to_file_positions_and_never_back() -> None:
    """In a gap it goes behind the gap."""
    arena = CountedArena()
    first = chain(arena, (100, [10, 20]), (200, [5]))
    position = Position(first)
    for target, found in [(100, 100), (129, 129), (130, 200), (200, 200), (204, 204), (205, 205)]:
        position.advance_to(target)
        assert position.file_position == found
    for wrong, reason in [(204, "moved back"), (206, "past the data")]:
        with pytest.raises(ValueError, match=reason):
            position.advance_to(wrong)
    position.release()
    first.drop()
    assert arena.alive == 0


def test_a_position_in_a_gap_goes_behind_it() -> None:
    """From the middle of the array in front."""
    arena = CountedArena()
    first = chain(arena, (100, [10]), (200, [5]))
    position = Position(first, 0, 5)
    position.advance_to(150)
    assert (position.file_position, position.array is first) == (200, False)
    position.release()
    first.drop()


def test_positions_compare_by_where_they_are_in_the_file() -> None:
    """The end of an array is the start of the next."""
    arena = CountedArena()
    first = chain(arena, (0, [10]), (20, [10]))
    left, right = Position(first, 1, 0), Position(first, 0, 9)
    assert (left.compare(right), right.compare(left), left.compare(left.copy())) == (1, -1, 0)
    right.advance(1)
    assert left.file_position == right.file_position == 20
    assert left.compare(right) == 0
    right.advance(3)
    assert left.compare(right) == -1


def test_a_position_holds_what_is_in_front_of_it_and_lets_go_of_what_is_behind() -> None:
    """With the reference on its array it holds the rest of the chain."""
    arena = CountedArena()
    first = chain(arena, (0, [10]), (10, [10]), (20, [10]))
    position = Position(first)
    first.drop()
    assert arena.alive == 3
    position.advance(10)
    assert arena.alive == 2
    other = position.copy()
    position.to_end()
    assert (position.file_position, arena.alive) == (30, 2)
    other.release()
    assert arena.alive == 1
    position.release()
    assert arena.alive == 0


def test_a_long_chain_goes_without_recursion() -> None:
    """Ten thousand arrays, at once."""
    arena = CountedArena()
    first = chain(arena, *((n, [1]) for n in range(10_000)))
    assert arena.alive == 10_000
    first.drop()
    assert arena.alive == 0


def test_a_reference_is_not_dropped_twice_nor_taken_too_late() -> None:
    """A wrong count is found where it is made, and changes nothing."""
    arena = CountedArena()
    array = chain(arena, (0, [1]))
    array.hold().drop()
    array.drop()
    with pytest.raises(ValueError, match="dropped twice"):
        array.drop()
    with pytest.raises(ValueError, match="after its last reference"):
        array.hold()
    with pytest.raises(ValueError, match="let go"):
        list(array.views(0, 1))
    assert arena.alive == 0


def test_an_array_takes_views_up_to_its_slots() -> None:
    """``fits`` counts slots; use and capacity are told."""
    arena = CountedArena()
    array = arena.array(0, 3, Disposal.PINNED, after_gap=True)
    assert array.fits(3, 100)
    array.take([memoryview(bytes(5)), memoryview(bytes(6))], None)
    assert (array.used, array.slots, array.length, array.end) == (2, 3, 11, 11)
    assert array.after_gap
    assert array.fits(1, 1)
    assert not array.fits(2, 2)
    assert array.find(0) == (0, 0)
    assert array.find(5) == (1, 0)
    assert array.find(10) == (1, 5)
    assert array.find(11) == (2, 0)
    array.drop()


def test_disposal_lets_go_of_what_is_the_arrays_own() -> None:
    """Pinned, allocated and page cache views are released; external ones are their owner's."""
    arena = CountedArena()
    for disposal in Disposal:
        buffer = bytearray(10)
        view = memoryview(buffer)
        array = arena.array(0, 4, disposal)
        told: list[int] = []
        array.take([view], lambda told=told: told.append(1))  # type: ignore[misc]
        array.drop()
        assert told == [1]
        assert resizable(buffer) is (disposal is not Disposal.EXTERNAL)
        view.release()
    assert arena.alive == 0
