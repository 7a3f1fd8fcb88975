"""Files written front to back of which a write did not end: nothing twice, nothing half.

The server is in memory, and answers when it is told to.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

import netcache
from netcache.errors import ClosedError, TransientError
from tests.support.served import random_bytes
from tests.support.write_rig import DATA, URL, Rig, run

MIB = 1 << 20
LARGE = random_bytes(12 * MIB, 4)
"""More than is under way at a time, so a write of it waits for the server."""

GoOn = Callable[[netcache.AsyncFile], Awaitable[object]]


@pytest.mark.parametrize(
    "go_on",
    [lambda file: file.write(b"more"), lambda file: file.write(LARGE), lambda file: file.close()],
    ids=["little", "much", "close"],
)
def test_after_a_cancelled_write_nothing_is_published(rig: Rig, go_on: GoOn) -> None:
    """How much of it was taken is not known, so nobody can go on behind it."""

    async def scenario() -> None:
        async with rig.client() as client:
            others = asyncio.all_tasks()
            held = rig.server.answers.hold("put")
            file = await client.open(URL, "wb")
            writing = asyncio.ensure_future(file.write(LARGE))
            await held.arrived.wait()
            writing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await writing
            held.release()
            with pytest.raises(ClosedError, match="did not end"):
                await go_on(file)
            await file.abort()
            assert asyncio.all_tasks() == others
            assert rig.data == DATA
            async with await client.open(URL) as again:
                assert await again.read() == DATA

    run(scenario())


def test_after_a_cancelled_close_nothing_is_published(rig: Rig) -> None:
    """What it had not handed over yet is not handed over twice; the queue is full."""

    async def scenario() -> None:
        async with rig.client() as client:
            others = asyncio.all_tasks()
            held = rig.server.answers.hold("put")
            file = await client.open(URL, "wb")
            for start in range(0, 5 * MIB, MIB):
                await file.write(LARGE[start : start + MIB - 1])
            closing = asyncio.ensure_future(file.close())
            await held.arrived.wait()
            await asyncio.sleep(0)
            closing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await closing
            held.release()
            await file.close()
            assert asyncio.all_tasks() == others
            assert rig.data == DATA

    run(scenario())


def test_after_a_failed_write_close_is_no_success(rig: Rig) -> None:
    """The upload has ended; whoever passed over that is told again."""

    async def scenario() -> None:
        async with rig.client() as client:
            rig.server.answers.fail("put", lambda: TransientError("no"))
            file = await client.open(URL, "wb")
            with pytest.raises(TransientError):
                await file.write(LARGE)
            with pytest.raises(ClosedError, match="did not end"):
                await file.close()
            assert rig.data == DATA

    run(scenario())
