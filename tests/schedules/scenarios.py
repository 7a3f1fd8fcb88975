"""What the schedules permute: the critical sections of the engine, one scenario each.

A scenario gets a rig that was just made, and a generator for its own choices.  It checks the bytes;
that nothing is left over is checked by ``run``.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, Protocol

import netcache
from tests.support.bytemodel import pattern
from tests.support.leaks import check_idle
from tests.support.memory_rig import URL, AsyncRig, async_rig
from tests.support.schedules import run_scheduled

B = 4096
SIZE = 12 * B + 77
OLD = pattern(0, SIZE)


class Scenario(Protocol):
    """A scenario, a function with a name."""

    __name__: str

    def __call__(self, rig: AsyncRig, rng: random.Random) -> Awaitable[None]:
        """Do it."""


def new(start: int, length: int, seed: int = 1) -> bytes:
    """Bytes to write at ``start``."""
    return pattern(start, start + length, seed)


async def readers_share_flights(rig: AsyncRig, rng: random.Random) -> None:
    """Overlapping reads of a cold resource: right bytes, and no block comes twice (P3)."""

    async def reader() -> None:
        async with await rig.client.open(URL) as file:
            for _ in range(3):
                start, length = rng.randrange(SIZE), rng.randrange(1, 5 * B)
                assert await file.pread(length, start) == OLD[start : start + length]

    await asyncio.gather(*(reader() for _ in range(5)))
    if _has_cache(rig):
        assert (await rig.client.stats())["DownOps"]["bytes"] <= SIZE


async def cancelled_readers_take_nothing_from_others(rig: AsyncRig, rng: random.Random) -> None:
    """Some of those who wait for the same bytes give up: the others get theirs."""

    async def reader(start: int) -> None:
        async with await rig.client.open(URL) as file:
            assert await file.pread(3 * B, start) == OLD[start : start + 3 * B]

    tasks = [asyncio.ensure_future(reader(rng.randrange(4 * B))) for _ in range(6)]
    await _cancel_some(tasks, rng)
    await reader(0)


async def writes_and_cuts_beside_writebacks(rig: AsyncRig, rng: random.Random) -> None:
    """Writes below every cut are all there in the end; above, the server has what is shown."""
    file = await rig.client.open(URL, "r+b")
    expected = bytearray(OLD[: 8 * B])

    async def writer(first: int) -> None:
        for step in range(4):
            start = first * 2 * B + rng.randrange(B)
            data = new(start, rng.randrange(1, B), step)
            expected[start : start + len(data)] = data
            await file.pwrite(data, start)

    async def cutter() -> None:
        for _ in range(3):
            await file.truncate(rng.randrange(8 * B, 14 * B))
            await file.pwrite(new(10 * B, 50), 10 * B)

    async def syncer() -> None:
        for _ in range(3):
            await file.fsync()

    await asyncio.gather(*(writer(first) for first in range(4)), cutter(), syncer())
    shown = await file.pread(20 * B, 0)
    assert shown[: 8 * B] == expected
    await file.close()
    assert rig.data == shown


async def fsync_covers_what_was_written_before(rig: AsyncRig, rng: random.Random) -> None:
    """Whenever an ``fsync`` returns, the server has what was there when it was called (U-FS2)."""
    file = await rig.client.open(URL, "r+b")
    written = [0] * 3

    async def writer(place: int) -> None:
        for count in range(1, 6):
            await file.pwrite(bytes([count]) * 10, place * 3 * B)
            written[place] = count
            await asyncio.sleep(0)

    async def syncer() -> None:
        for _ in range(4):
            before = list(written)
            await file.fsync()
            for place, count in enumerate(before):
                found = rig.data[place * 3 * B : place * 3 * B + 10]
                assert len(set(found)) == 1 or not count, "a torn write"
                assert not count or found[0] >= count, "a lost write"

    await asyncio.gather(*(writer(place) for place in range(3)), syncer(), syncer())
    await file.close()


async def closes_beside_the_flusher(rig: AsyncRig, rng: random.Random) -> None:
    """Two writers of one resource end while the flusher is at work: the server has both."""
    expected = bytearray(OLD)

    async def writer(place: int) -> None:
        file = await rig.client.open(URL, "r+b")
        for step in range(3):
            start = place * 5 * B + step * 1000
            data = new(start, 700, place)
            expected[start : start + 700] = data
            await file.pwrite(data, start)
            if rng.random() < 0.3:
                await asyncio.sleep(rng.choice([0, 1, 6]))
        await file.close()
        start = place * 5 * B
        assert rig.data[start : start + 2700] == expected[start : start + 2700]

    await asyncio.gather(writer(0), writer(1))
    assert rig.data == expected


async def readers_of_what_is_replaced(rig: AsyncRig, rng: random.Random) -> None:
    """The resource changes, is forgotten and written: each open file shows one version (P1)."""
    versions = [OLD]

    async def reader() -> None:
        for _ in range(3):
            seen = set(range(len(versions) - 1, 99))
            async with await rig.client.open(URL) as file:
                for _ in range(3):
                    start = rng.randrange(SIZE)
                    try:
                        data = await file.pread(2 * B, start)
                    except netcache.StaleError:
                        break
                    fit = {n for n, v in enumerate(versions) if v[start : start + 2 * B] == data}
                    seen &= fit
                    assert seen, "bytes of no version, of two, or of one that was past"

    async def changer() -> None:
        for seed in range(2, 5):
            versions.append(new(0, SIZE, seed))
            rig.server.store(URL, versions[-1])
            await asyncio.sleep(0)
            if _has_cache(rig) and rng.random() < 0.5:
                await rig.client.cache.drop(URL)
            await asyncio.sleep(0)

    await asyncio.gather(reader(), reader(), reader(), changer())


async def cancelled_writers_lose_nothing(rig: AsyncRig, rng: random.Random) -> None:
    """Writes, ``fsync`` and cuts are cancelled anywhere: what returned is at the server after."""
    file = await rig.client.open(URL, "r+b")
    done: dict[int, bytes] = {}

    async def writer(place: int) -> None:
        data = new(place * B + 30, 500, 3)
        await file.pwrite(data, place * B + 30)
        done[place] = data
        if rng.random() < 0.5:
            await file.fsync()
        await file.pwrite(data, place * B + 30, dsync=True)

    tasks = [asyncio.ensure_future(writer(place)) for place in range(6)]
    await _cancel_some(tasks, rng)
    await file.fsync()
    for place, data in done.items():
        assert rig.data[place * B + 30 : place * B + 530] == data
    assert await file.pread(SIZE, 0) == rig.data
    await file.close()


async def reads_of_a_file_that_is_written_back(rig: AsyncRig, rng: random.Random) -> None:
    """Cold parts are read while uploads make one version after another."""
    file = await rig.client.open(URL, "r+b")

    async def writer() -> None:
        for step in range(4):
            await file.pwrite(new(step * 10, 10, step + 2), step * 10)
            await file.fsync()

    async def reader() -> None:
        for _ in range(4):
            start = rng.randrange(B, SIZE)
            assert await file.pread(B, start) == OLD[start : start + B]

    await asyncio.gather(writer(), reader(), reader())
    await file.close()
    assert rig.data[40:] == OLD[40:]


async def lost_replies_beside_writes(rig: AsyncRig, rng: random.Random) -> None:
    """Uploads and their replies get lost while others write: no conflict, and no lost write."""
    file = await rig.client.open(URL, "r+b")
    expected = bytearray(OLD)
    for _ in range(3):
        rig.server.answers.fail(
            rng.choice(["update", "put", "stat"]),
            lambda: netcache.TransientError("no reply came"),
            count=1,
            skip=rng.randrange(3),
            after=rng.random() < 0.5,
        )

    async def writer(place: int) -> None:
        for step in range(3):
            start = place * 3 * B + step * 500
            expected[start : start + 400] = new(start, 400, step)
            await file.pwrite(new(start, 400, step), start)
            try:
                await file.fsync()
            except netcache.TransientError:
                continue

    await asyncio.gather(*(writer(place) for place in range(3)))
    rig.server.answers.clear()
    for _ in range(2):
        try:
            await file.fsync()
        except netcache.TransientError:
            continue
        break
    assert rig.data == expected
    await file.close()


def _has_cache(rig: AsyncRig) -> bool:
    return rig.client._core.options.use_cache


async def _cancel_some(tasks: list[asyncio.Task[None]], rng: random.Random) -> None:
    for task in tasks:
        for _ in range(rng.randrange(6)):
            await asyncio.sleep(0)
        if rng.random() < 0.6:
            task.cancel()
    for end in await asyncio.gather(*tasks, return_exceptions=True):
        if end is not None and not isinstance(end, asyncio.CancelledError):
            raise end


SCENARIOS: list[Scenario] = [
    readers_share_flights,
    cancelled_readers_take_nothing_from_others,
    writes_and_cuts_beside_writebacks,
    fsync_covers_what_was_written_before,
    closes_beside_the_flusher,
    readers_of_what_is_replaced,
    cancelled_writers_lose_nothing,
    reads_of_a_file_that_is_written_back,
    lost_replies_beside_writes,
]


def run(scenario: Scenario, folder: Path, seed: int) -> None:
    """Run one schedule; the seed also says whether there is a cache, and what the server takes."""
    rng = random.Random(seed)
    options: dict[str, Any] = {
        "use_cache": rng.random() < 0.8,
        "updates": rng.random() < 0.7,
        "tells_versions": rng.random() < 0.9,
        "write_mode": rng.choice(["through", "back"]),
        "readahead": rng.choice([0, 4 * B]),
    }

    async def work() -> None:
        async with async_rig(folder, OLD, **options) as rig:
            await scenario(rig, rng)
            stats = rig.client._core.stats
        check_idle(stats)

    run_scheduled(work, seed)
