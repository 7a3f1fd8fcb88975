"""Requests, streams, subrequests: positions, tiling, counters."""

from __future__ import annotations

import asyncio
import itertools
import random

import pytest

from netcache._core.extent import Extent
from netcache._core.read_retry import RetryState, plan_retry
from netcache._core.read_sources import Piece, Source
from netcache._core.stats import Stats
from netcache._netfs.read_stream import Subrequest
from netcache._netfs.request import Origin, Request
from netcache.errors import InvariantError, TransientError


def new_request(end: int = 100, *, stats: Stats | None = None, zero_limit: int = 1000) -> Request:
    """A request for ``[0, end)``."""
    return Request(
        Origin.READ, Extent(0, end), stats or Stats(), size=zero_limit, zero_limit=zero_limit
    )


def issue(request: Request, *ends: int) -> list[Subrequest]:
    """Issue downloads that end at ``ends``."""
    return [
        request.stream.issue(Piece(request.stream.issued_to, end, Source.DOWNLOAD, True))
        for end in ends
    ]


def end(sub: Subrequest, transferred: int, state: RetryState = RetryState.DONE) -> None:
    """Let an attempt end."""
    sub.begin()
    sub.transferred = transferred
    sub.in_progress = False
    sub.state = state


def test_positions_grow_in_their_order() -> None:
    """issued >= stream collected >= request collected >= cleaned."""
    request = new_request()
    one, two = issue(request, 40, 100)
    stream = request.stream
    assert (stream.issued_to, stream.collected_to, request.collected_to) == (100, 0, 0)
    with pytest.raises(InvariantError):
        request.collect_to(10)
    stream.collect_to(40)
    request.collect_to(40)
    with pytest.raises(InvariantError):
        stream.collect_to(39)
    with pytest.raises(InvariantError):
        stream.collect_to(101)
    with pytest.raises(InvariantError):
        request.clean_to(41)
    end(one, 40)
    assert stream.pop_front() is one
    request.clean_to(40)
    assert stream.front is two


def test_a_subrequest_is_never_empty_and_leaves_no_gap() -> None:
    """Both are fatal errors of logic."""
    request = new_request()
    with pytest.raises(InvariantError):
        request.stream.issue(Piece(0, 0, Source.DOWNLOAD, True))
    with pytest.raises(InvariantError):
        request.stream.issue(Piece(10, 20, Source.DOWNLOAD, True))


def test_only_what_is_done_and_collected_is_cleaned() -> None:
    """A subrequest in progress stays at the front."""
    request = new_request()
    (sub,) = issue(request, 50)
    sub.begin()
    with pytest.raises(InvariantError):
        request.stream.pop_front()
    with pytest.raises(InvariantError):
        sub.begin()


def test_t06_the_list_is_the_only_record_of_the_front() -> None:
    """T6: whatever is cut, dropped or added, the front is the head of the list."""
    request = new_request()
    subs = issue(request, 30, 60, 100)
    for sub in subs:
        end(sub, 0, RetryState.AGAIN)
    plan = plan_retry(
        request.stream.stopped(), retries_max=3, in_place=False, largest=lambda start, stop: 100
    )
    assert request.stream.cut_anew(plan) == [subs[0]]
    assert request.stream.front is subs[0]
    assert list(request.stream.subrequests) == [subs[0]]
    assert request.stream.issued_to == 100


@pytest.mark.parametrize("limit", [7, 30, 200])
def test_t05_retry_after_superfluous_elements_were_dropped(limit: int) -> None:
    """T5, T27: fewer, as many, and more elements than before; the counters balance."""
    stats = Stats()
    request = new_request(stats=stats)
    first, *others = issue(request, 30, 60, 90, 100)
    end(first, 30)
    for sub in others:
        end(sub, 0, RetryState.AGAIN)
    others[0].transferred = 5
    for _ in range(2):
        plan = plan_retry(
            request.stream.stopped(), retries_max=9, in_place=False, largest=lambda s, e: limit
        )
        again = request.stream.cut_anew(plan)
        assert all(sub.length - sub.transferred <= limit for sub in again)
        assert again[0].position == 35
        tiles = list(request.stream.subrequests)
        assert tiles[0] is first
        assert tiles[-1].end == 100
        assert all(a.end == b.start for a, b in itertools.pairwise(tiles))
        assert stats.value("Objs", "sr") == len(tiles)
    request.finish()
    assert stats.value("Objs", "sr") == stats.value("Objs", "rr") == 0


def test_a_retry_past_the_zero_point_asks_nobody() -> None:
    """Slices at or past the zero point are zeros; one that crosses it asks for less."""
    request = new_request(zero_limit=50)
    (sub,) = issue(request, 100)
    assert sub.asked_end == 50
    end(sub, 20, RetryState.AGAIN)
    plan = plan_retry(
        request.stream.stopped(), retries_max=3, in_place=False, largest=lambda start, stop: 40
    )
    again = request.stream.cut_anew(plan)
    assert [(s.start, s.end, s.asked_end, s.source) for s in again] == [
        (0, 60, 50, Source.DOWNLOAD),
        (60, 100, 60, Source.ZERO),
    ]


def test_t19_elements_may_be_inserted_while_others_are_collected() -> None:
    """T19: random retries between collections; every byte is cleaned exactly once."""
    picks = random.Random(19)
    for _ in range(100):
        stats = Stats()
        request = new_request(1000, stats=stats)
        stream = request.stream
        cleaned: list[tuple[int, int]] = []
        while request.cleaned_to < 1000:
            if stream.issued_to < 1000:
                issue(request, min(1000, stream.issued_to + picks.randrange(1, 300)))
            for sub in list(stream.subrequests):
                if sub.state is RetryState.AGAIN:
                    came = picks.randrange(sub.transferred, sub.length + 1)
                    end(sub, came, RetryState.DONE if came == sub.length else RetryState.AGAIN)
            limit = picks.randrange(1, 200)
            stream.cut_anew(
                plan_retry(
                    stream.stopped(),
                    retries_max=1000,
                    in_place=False,
                    largest=lambda start, stop, limit=limit: limit,  # type: ignore[misc]
                )
            )
            while (front := stream.front) is not None and front.done:
                stream.collect_to(front.end)
                request.collect_to(front.end)
                cleaned.append((front.start, front.end))
                stream.pop_front()
                request.clean_to(front.end)
        assert cleaned[0][0] == 0
        assert cleaned[-1][1] == 1000
        assert all(a[1] == b[0] for a, b in itertools.pairwise(cleaned))
        request.finish()
        assert stats.value("Objs", "sr") == 0


def test_t30_positions_are_not_cut_to_any_width() -> None:
    """T30: one subrequest of more than 2 GiB, at more than 2**32."""
    start = 5 << 32
    request = Request(Origin.READ, Extent(start, start + (3 << 30)), Stats(), size=1 << 60)
    sub = request.stream.issue(Piece(start, start + (3 << 30), Source.DOWNLOAD, True))
    end(sub, 3 << 30)
    assert sub.position == start + (3 << 30)
    assert sub.outcome().transferred == 3 << 30


async def test_those_who_wait_hear_of_their_own_extent_only() -> None:
    """An error is of the extent that did not come; the rest may be asked for again."""
    request = new_request()
    issue(request, 40, 100)
    waiting = [asyncio.ensure_future(request.wait_for(at, at + 1)) for at in (10, 50, 99)]
    await asyncio.sleep(0)
    error = TransientError("no")
    request.stream.collect_to(40)
    request.collect_to(40)
    request.tell()
    await waiting[0]
    request.fail(Extent(40, 60), error)
    request.finish()
    with pytest.raises(TransientError):
        await waiting[1]
    await waiting[2]
    assert request.error is error
    with pytest.raises(InvariantError):
        request.finish()
