"""How the subrequests of a read that need another attempt are cut anew: netfslib's retry.  Pure.

It runs when all subrequests of the request have stopped, so sizes may be negotiated again.

Rules:

1. What has come stays: a subrequest goes on at ``start + transferred``.
2. ``in_place`` (nobody negotiates sizes, nothing comes from a cache): each is sent again as it is,
   up to the first one that has failed for good.
3. Otherwise the next contiguous span of subrequests to be retried (not across a boundary, nor past
   one that has come in part) is cut anew by what the server takes at a time.  Subrequests are used
   again in order; superfluous ones are dropped, further ones are made, with a retry count of 1.
4. Subrequests that are done or have failed are left alone.
5. A subrequest without progress over ``retries_max`` attempts is given up; so is everything to be
   retried from where a negotiation fails.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import NamedTuple


class RetryState(Enum):
    """How a stopped subrequest stands."""

    DONE = "done"
    AGAIN = "again"
    FAILED = "failed"


class Stopped(NamedTuple):
    """A subrequest that has stopped.

    ``retries`` counts the attempts since it last made progress; ``boundary``: nothing before it
    may be joined with it.
    """

    start: int
    end: int
    transferred: int
    state: RetryState
    retries: int = 0
    boundary: bool = False


class Slice(NamedTuple):
    """What to issue: ``[start, end)``, by the subrequest of index ``reuses`` or by a new one."""

    start: int
    end: int
    reuses: int | None
    retries: int


class RetryPlan(NamedTuple):
    """What to issue, in order; the indexes of the superfluous, and of those to be given up."""

    slices: tuple[Slice, ...]
    dropped: tuple[int, ...]
    given_up: tuple[int, ...]


Largest = Callable[[int, int], int]
"""``largest(start, end)``: how many bytes at ``start`` the server takes at once; 0: it refuses."""


def plan_retry(
    stopped: Sequence[Stopped], *, retries_max: int, in_place: bool, largest: Largest | None = None
) -> RetryPlan:
    """Decide over all subrequests of a stream, in order of position."""
    tired = tuple(
        index
        for index, one in enumerate(stopped)
        if one.state is RetryState.AGAIN and one.retries >= retries_max
    )
    again = [
        index
        for index, one in enumerate(stopped)
        if one.state is RetryState.AGAIN and index not in tired
    ]
    if in_place:
        return _in_place(stopped, again, tired)
    slices: list[Slice] = []
    dropped: list[int] = []
    for span in _spans(stopped, again):
        cut = _cut(stopped, span, largest)
        if cut is None:
            refused = [index for index in again if index >= span[0]]
            return RetryPlan(tuple(slices), tuple(dropped), tuple(sorted([*tired, *refused])))
        slices += cut
        dropped += span[len(cut) :]
    return RetryPlan(tuple(slices), tuple(dropped), tired)


def _in_place(stopped: Sequence[Stopped], again: list[int], tired: tuple[int, ...]) -> RetryPlan:
    failed = [index for index, one in enumerate(stopped) if one.state is RetryState.FAILED]
    limit = min([*failed, *tired], default=len(stopped))
    slices = [
        Slice(one.start + one.transferred, one.end, index, one.retries + 1)
        for index in again
        if index < limit
        for one in [stopped[index]]
    ]
    return RetryPlan(tuple(slices), (), tuple(sorted([*tired, *(i for i in again if i > limit)])))


def _spans(stopped: Sequence[Stopped], again: list[int]) -> list[list[int]]:
    """Runs of indexes whose remainders follow each other without a gap."""
    spans: list[list[int]] = []
    for index in again:
        one = stopped[index]
        before = stopped[spans[-1][-1]] if spans else None
        joins = (
            before is not None
            and not one.boundary
            and not one.transferred
            and before.end == one.start
        )
        if joins:
            spans[-1].append(index)
        else:
            spans.append([index])
    return spans


def _cut(
    stopped: Sequence[Stopped], span: list[int], largest: Largest | None
) -> list[Slice] | None:
    """Slices for a span, or None when the server refuses; without ``largest`` as they were."""
    first = stopped[span[0]]
    position, end = first.start + first.transferred, stopped[span[-1]].end
    slices: list[Slice] = []
    while position < end:
        reuses = span[len(slices)] if len(slices) < len(span) else None
        if largest is None:
            stop = stopped[reuses].end if reuses is not None else end
        else:
            taken = largest(position, end)
            if taken <= 0:
                return None
            stop = min(end, position + taken)
        retries = stopped[reuses].retries + 1 if reuses is not None else 1
        slices.append(Slice(position, stop, reuses, retries))
        position = stop
    return slices
