"""How many lanes there are: fewer when that is said, and others where rows have been."""

from __future__ import annotations

import asyncio

import pytest

from netcache._core.urls import parse
from tests.support.rows import check_all, in_order, lanes_of, read_all, row_server
from tests.support.scripted import BODY, PLAIN, Scripted, body_of, scripted


async def test_fewer_lanes_from_now_on() -> None:
    """Those that are too many go back to the pool when their row is done."""
    async with row_server(in_order, connections=16) as (server, backend, url):
        await read_all(server, backend, url, range(1, 41))
        lanes = lanes_of(backend)
        assert len(lanes._lanes) == 4
        reading = asyncio.ensure_future(read_all(server, backend, url, range(1, 41)))
        await asyncio.sleep(0)
        backend.limit_small(1)
        assert await reading == ["lane"] * 40
        assert len(lanes._lanes) == 1
        backend.limit_small(100)
        await read_all(server, backend, url, range(1, 41))
        assert len(lanes._lanes) == 4


async def test_what_can_stand_in_no_row_does_not_wait_for_lanes_that_have_had_some() -> None:
    """A check behind a tree: the lanes are free, but take only what shows a sign."""
    async with row_server(in_order) as (server, backend, url):
        assert backend._small_reads.reaches(parse(url))
        lanes = lanes_of(backend)
        lanes.tick_s = 3600.0
        await read_all(server, backend, url, range(1, 41))
        assert [lane._kind is not None for lane in lanes.free] == [True]

        async def read(number: int) -> bytes:
            return await body_of(await backend.open_small(f"{url}{number}"))

        async with asyncio.timeout(60.0):
            found = await asyncio.gather(*map(read, range(1, 11)))
        assert found == [server.files[number] for number in range(1, 11)]
        assert len(lanes._lanes) == 1


async def test_fewer_lanes_while_some_are_being_opened() -> None:
    """Those that come too late bear their request, and are no more."""
    async with row_server(in_order, connections=16) as (server, backend, url):
        reading = asyncio.ensure_future(read_all(server, backend, url, range(1, 41)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        lanes = lanes_of(backend)
        assert lanes._opening
        backend.limit_small(1)
        assert await reading == ["lane"] * 40
        assert len(lanes._lanes) == 1


async def test_checks_behind_files_do_not_wait_for_lanes_that_had_rows_of_those() -> None:
    """Nor files behind checks: they are told apart by other signs."""
    async with row_server(in_order) as (server, backend, url):
        assert backend._small_reads.reaches(parse(url))
        lanes_of(backend).tick_s = 3600.0
        async with asyncio.timeout(60.0):
            await read_all(server, backend, url, range(1, 41))
            await check_all(server, backend, url, range(1, 41))
            await read_all(server, backend, url, range(1, 41))
        assert len(lanes_of(backend)._lanes) == 1


@pytest.mark.parametrize(("most", "at_once"), [(1, 1), (3, 3), (100, 4)])
async def test_fewer_at_a_time_also_where_there_are_no_lanes(most: int, at_once: int) -> None:
    """Other processes have the rest of them."""
    all_came = asyncio.Event()

    async def answer(server: Scripted, writer: asyncio.StreamWriter) -> None:
        if server.at_once >= at_once:
            all_came.set()
        await all_came.wait()
        for _ in range(20):
            # Whoever else may come has come by then.
            await asyncio.sleep(0)
        writer.write(PLAIN)

    async with scripted(connections=16, takeover=False) as (server, backend):
        server.answer = answer
        backend.limit_small(most)

        async def read() -> bytes:
            return await body_of(await backend.open_small(server.url))

        assert await asyncio.gather(*(read() for _ in range(12))) == [BODY] * 12
        assert server.at_once == at_once
