"""The pace at which reads begin: few at a time, in order, and nobody is forgotten."""

from __future__ import annotations

import asyncio

from netcache._netfs.pace import BEGIN_AT_ONCE, Pace

COUNT = 5 * BEGIN_AT_ONCE + 1


async def test_few_begin_at_once_and_the_others_follow_in_order() -> None:
    """What the first ones have to send goes out before the last ones are prepared."""
    pace, turn, begun = Pace(), 0, list[tuple[int, int]]()

    async def read(number: int) -> None:
        await pace.begin()
        begun.append((turn, number))

    tasks = [asyncio.ensure_future(read(number)) for number in range(COUNT)]
    while len(begun) < COUNT:
        await asyncio.sleep(0)
        turn += 1
    await asyncio.gather(*tasks)
    assert [number for _, number in begun] == list(range(COUNT))
    for one in range(turn + 1):
        assert sum(when == one for when, _ in begun) <= BEGIN_AT_ONCE


async def test_one_after_the_other_nobody_waits() -> None:
    """Without a turn of the loop in between, as long as they are few."""
    pace = Pace()
    for _ in range(3):
        for _ in range(BEGIN_AT_ONCE):
            coroutine = pace.begin()
            try:
                coroutine.send(None)
            except StopIteration:
                continue
            raise AssertionError("it waits")
        await asyncio.sleep(0)
        await asyncio.sleep(0)


async def test_who_is_cancelled_gives_his_place_away() -> None:
    """And does not take the others' time."""
    pace, begun = Pace(), list[int]()

    async def read(number: int) -> None:
        await pace.begin()
        begun.append(number)

    tasks = [asyncio.ensure_future(read(number)) for number in range(COUNT)]
    await asyncio.sleep(0)
    for task in tasks[BEGIN_AT_ONCE : COUNT - 1]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert begun == [*range(BEGIN_AT_ONCE), COUNT - 1]


async def test_it_rests_when_nobody_reads() -> None:
    """A loop that has nothing to do sleeps."""
    pace = Pace()
    await asyncio.gather(*(pace.begin() for _ in range(COUNT)))
    for _ in range(3):
        await asyncio.sleep(0)
    assert not asyncio.get_running_loop()._ready  # type: ignore[attr-defined]
