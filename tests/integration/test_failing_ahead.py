"""What was read ahead and failed: who needs it waits until the flight has ended, and asks anew."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import netcache
from netcache._netfs.request import Origin
from tests.support.bytemodel import pattern
from tests.support.memory_rig import URL, async_rig

DATA = pattern(0, 100_000)


class HalfFailed:
    """A flight of read-ahead of which one part has failed, while another still comes."""

    def __init__(self) -> None:
        self.request: Any = SimpleNamespace(origin=Origin.READAHEAD)
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def wait_for(self, start: int, end: int) -> None:
        """It will not come by this flight."""
        raise netcache.TransientError("cut")


async def test_a_part_that_failed_is_not_looked_for_before_the_flight_has_ended(
    tmp_path: Path,
) -> None:
    """Nobody else brings it until then: who looked again at once kept the loop for ever."""
    async with async_rig(tmp_path, DATA) as rig:
        file: Any = await rig.client.open(URL)
        assert await file.pread(10, 0) == DATA[:10]
        engine: Any = rig.client._core.remote().engine
        flight = HalfFailed()
        waiting = asyncio.ensure_future(engine._await_flight(file._handle.inode, flight, 0, 1))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not waiting.done()
        flight.gone.set_result(None)
        assert await waiting is True
        # Who is cancelled meanwhile takes nothing away from the others.
        other = HalfFailed()
        leaving = asyncio.ensure_future(engine._await_flight(file._handle.inode, other, 0, 1))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        assert not other.gone.cancelled()
        await file.close()
