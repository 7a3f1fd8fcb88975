"""How long a process waits between two looks at what another one brings: in simulated time."""

from __future__ import annotations

import pytest

from netcache._core.following import PAUSE_MAX_S, PAUSE_MIN_S, Following

MIB, GIB = 1 << 20, 1 << 30


def looks_at(size: int, bytes_per_s: float) -> tuple[int, float]:
    """Follow a steady fetch of ``size`` bytes; returns how many looks, and how late the last."""
    following, now_s, looks, reached = Following(), 0.0, 0, 0
    following.begin(0, 0)
    while reached < size:
        now_s += following.pause_s
        looks += 1
        before, reached = reached, min(size, int(now_s * bytes_per_s))
        following.looked(reached, reached - before, size - reached)
    return looks, now_s - size / bytes_per_s


@pytest.mark.parametrize("bytes_per_s", [1e6, 100e6, 1e9, 4e9])
def test_a_follower_looks_seldom_and_is_not_late(bytes_per_s: float) -> None:
    """A look for each 50 ms at most, but for some at both ends; the last comes within a few ms."""
    looks, late_s = looks_at(GIB, bytes_per_s)
    assert looks <= GIB / bytes_per_s / PAUSE_MAX_S + 20
    assert late_s <= 2 * PAUSE_MIN_S


def test_where_more_than_enough_comes_the_waits_are_shorter() -> None:
    """At 20 GB/s a wait of 50 ms would bring a gigabyte, long after the first of it was there."""
    following = Following()
    following.begin(0, 0)
    for _ in range(20):
        following.looked(0, 0, 100 * GIB)
    assert following.pause_s == PAUSE_MAX_S
    following.looked(GIB, GIB, 99 * GIB)
    assert following.pause_s == PAUSE_MAX_S / 2


def test_a_wait_that_goes_on_where_the_last_ended_goes_on_with_its_pauses() -> None:
    """A sequential reader asks for one piece after the other; one that jumps begins anew."""
    following = Following()
    following.begin(0, 0)
    for reached in (MIB, 2 * MIB, 3 * MIB):
        following.looked(reached, MIB, GIB)
    grown_s = following.pause_s
    assert grown_s > PAUSE_MIN_S
    following.begin(5 * MIB, 5 * MIB)
    assert following.pause_s == grown_s
    following.begin(9 * MIB, 5 * MIB)
    assert following.pause_s == PAUSE_MIN_S


def test_what_is_short_is_looked_for_soon() -> None:
    """The first look at anything comes at once, whatever is to be followed later."""
    following = Following()
    following.begin(0, -1)
    assert following.pause_s == PAUSE_MIN_S
