"""The flights of an inode, looked up by position: the same as going through all of them."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import cast

import pytest

from netcache._core.extent import Extent, ExtentSet
from netcache._core.stats import Stats
from netcache._netfs.coming import Flights
from netcache._netfs.request import OPEN_END, Origin, Request
from tests.support.costs import counted
from tests.support.read_rig import Answer, B, read_rig

END = 1000


class OnItsWay:
    """A request that nothing issues: its position is set by hand."""

    dense = False

    def __init__(self, extent: Extent, stats: Stats) -> None:
        self.request = Request(Origin.READ, extent, stats, size=END)
        # Nobody cancels it.
        self.task = cast("asyncio.Task[None]", None)
        self.gone = cast("asyncio.Future[None]", None)

    @property
    def position(self) -> int:
        """How far it has come."""
        return self.request.collected_to

    @property
    def end(self) -> int:
        """Where it ends."""
        return self.request.end

    async def wait_for(self, start: int, end: int) -> None:
        """As a flight does."""
        await self.request.wait_for(start, end)


def some_flight(picks: random.Random, stats: Stats) -> OnItsWay:
    """Mostly short ones, a few long ones, one without an end."""
    start = picks.randrange(END)
    length = picks.choice([1, 5, 20, 20, 300])
    return OnItsWay(Extent(start, picks.choice([start + length] * 30 + [OPEN_END])), stats)


@pytest.mark.parametrize("seed", range(20))
def test_a_lookup_finds_what_going_through_all_of_them_finds(seed: int) -> None:
    """While they begin, come on, and end in any order."""
    picks, stats = random.Random(seed), Stats()
    flights, every = Flights(), list[OnItsWay]()
    for _ in range(300):
        step = picks.random()
        if step < 0.5 or not every:
            every.append(some_flight(picks, stats))
            flights.add(every[-1])
        elif step < 0.75:
            flights.remove(every.pop(picks.randrange(len(every))))
        else:
            flight = picks.choice(every)
            flight.request.skip_to(min(flight.end, flight.position + picks.randrange(30)))
        assert len(flights) == len(every)
        assert {id(one) for one in flights} == {id(one) for one in every}
        start = picks.randrange(END)
        end = start + picks.randrange(1, 50)
        before = {id(one) for one in every if one.end == start}
        assert before <= {id(one) for one in flights.meeting(start, end)}
        all_of_them = ExtentSet((one.position, one.end) for one in every)
        coming = flights.still_to_come(start, end)
        assert coming.within(start, end) == all_of_them.within(start, end)
        holding = [one for one in every if one.position <= start < one.end]
        oldest = min(holding, key=lambda one: one.request.id, default=None)
        assert flights.bringing(start) is oldest


async def test_to_ask_for_one_more_costs_the_same_however_many_are_under_way(
    tmp_path: Path,
) -> None:
    """Counted in Python calls; nobody answers."""
    calls: list[int] = []
    async with read_rig(tmp_path, 1000 * B) as rig:
        rig.backend.default = Answer(hold=asyncio.Event())
        inode = rig.inode()
        places = random.Random(3).sample(range(0, 1000, 2), 400)
        for count, place in enumerate(places, 1):
            with counted() as costs:
                rig.engine.go_ahead(inode, place * B, (place + 1) * B)
            assert len(inode.flights) == count
            calls.append(costs.python_calls)
    assert max(calls[300:]) <= max(calls[:30]) + 2


async def test_the_engine_closes_also_when_the_end_of_a_flight_fails(tmp_path: Path) -> None:
    """What is done at its end may raise: the loop is told, and nobody waits for ever."""
    told: list[str] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: told.append(str(context["exception"]))
    )
    async with read_rig(tmp_path, B) as rig:
        inode = rig.inode()
        rig.engine.go_ahead(inode, 0, B)
        (flight,) = inode.flights
        request = flight.request

        def fail() -> None:
            if request.ended:
                raise ValueError("no more")
            request.when_released.append(fail)

        fail()
        flight.task.cancel()
        await asyncio.wait_for(flight.gone, timeout=10)
    assert told == ["no more"]
