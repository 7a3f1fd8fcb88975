"""A sample of the schedules, and what the scheduler itself must do."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.schedules.scenarios import SCENARIOS, Scenario, run
from tests.support.schedules import StuckError, run_scheduled

SAMPLE = 12


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_the_engine_in_any_order(tmp_path: Path, scenario: Scenario) -> None:
    """Right bytes, no lost write, nothing alive and no task left, whatever goes first."""
    for seed in range(1, SAMPLE + 1):
        run(scenario, tmp_path / str(seed), seed)


def test_a_seed_is_one_order_and_seeds_are_many() -> None:
    """What is ready goes on in an order that the seed alone decides."""

    def order(seed: int) -> str:
        said: list[str] = []

        async def work() -> None:
            async def one(name: str) -> None:
                for _ in range(3):
                    said.append(name)
                    await asyncio.sleep(0)

            await asyncio.gather(*(one(name) for name in "abcd"))

        run_scheduled(work, seed)
        return "".join(said)

    assert order(0) == "abcdabcdabcd"
    assert len({order(seed) for seed in range(1, 30)}) > 20
    assert order(7) == order(7)


def test_a_deadlock_is_told_with_its_seed_and_its_place() -> None:
    """Two that wait for each other: nothing is ready and no time will help."""

    async def work() -> None:
        one, other = asyncio.Lock(), asyncio.Lock()

        async def take(first: asyncio.Lock, second: asyncio.Lock) -> None:
            async with first:
                await asyncio.sleep(1)
                async with second:
                    pass

        await asyncio.gather(take(one, other), take(other, one))

    with pytest.raises(StuckError, match=r"schedule 5: .*test_schedules\.py"):
        run_scheduled(work, 5)


def test_a_task_that_is_left_is_an_error() -> None:
    """Also one that would end some day."""

    async def work() -> None:
        left.append(asyncio.ensure_future(asyncio.sleep(3600)))

    left: list[asyncio.Task[None]] = []
    with pytest.raises(AssertionError, match="tasks left by schedule 3"):
        run_scheduled(work, 3)
    assert left[0].cancelled()


def test_time_passes_only_when_nothing_is_ready() -> None:
    """An hour costs nothing."""

    async def work() -> float:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        await asyncio.sleep(3600)
        return loop.time() - begun

    assert run_scheduled(work, 0) == pytest.approx(3600)
