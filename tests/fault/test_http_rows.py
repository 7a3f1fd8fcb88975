"""Rows: small files that are asked for one behind the other.

Every file is told by its listing (``versions``), and answers are compared with what was asked for.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from netcache._core.coherency import Validator, ValidatorKind, Version
from netcache.backends.http_lane import ROW_MAX
from netcache.errors import NotFoundError
from tests.support.costs import counted
from tests.support.http_rig import certificate, running_rig
from tests.support.rows import (
    DAY,
    RowServer,
    check_all,
    ending,
    in_order,
    lanes_of,
    read_all,
    row_server,
    version_of,
)
from tests.support.scripted import body_of, way_of
from tests.support.served import random_bytes


@pytest.mark.parametrize("etags", [True, False])
async def test_files_that_can_be_told_apart_are_asked_for_in_rows(etags: bool) -> None:
    """One lane: the first alone (RFC 9112 9.3.2), then as many as may stand there."""
    async with row_server(in_order) as (server, backend, url):
        server.etags = etags
        ways = await read_all(server, backend, url, range(1, 41))
        assert ways == ["lane"] * 40
        assert server.asked == list(range(1, 41))
        assert server.rows[:2] == [1, ROW_MAX]
        assert sum(server.rows) == 40
        assert len(server.rows) <= 6


async def test_what_is_asked_in_one_turn_goes_in_one_write() -> None:
    """The first alone, 15 behind the second, and then as many as were answered."""
    async with row_server(in_order) as (server, backend, url):
        with counted() as costs:
            await read_all(server, backend, url, range(1, 50))
        assert costs.functions["ask"] >= 49
        assert costs.functions["_flush"] <= 3


async def test_what_cannot_be_told_apart_goes_alone() -> None:
    """Files of one size and one time, or of which nothing is known."""
    async with row_server(in_order) as (server, backend, url):
        server.etags = False
        server.files = dict.fromkeys(server.files, bytes(100))
        server.times = dict.fromkeys(server.files, DAY % 1)
        assert await read_all(server, backend, url, range(1, 21)) == ["lane"] * 20

        async def read(number: int) -> bytes:
            return await body_of(await backend.open_small(f"{url}{number}"))

        assert await asyncio.gather(*map(read, range(20))) == [bytes(100)] * 20
        assert set(server.rows) == {1}


async def test_times_tell_apart_only_where_the_answers_have_them() -> None:
    """A listing by the minute: sizes still do."""
    async with row_server(in_order) as (server, backend, url):
        server.etags = False
        listed = server.times
        server.times = dict.fromkeys(server.files, DAY % 59)

        async def read(number: int) -> str:
            date = Validator(ValidatorKind.WEAK_DATE, listed[number])
            size = len(server.files[number])
            reply = await backend.open_small(f"{url}{number}", Version(date, size))
            assert await body_of(reply) == server.files[number]
            return way_of(reply)

        assert await asyncio.gather(*map(read, range(1, 31))) == ["lane"] * 30
        assert max(server.rows) == ROW_MAX
        server.files = dict.fromkeys(server.files, bytes(100))
        server.rows.clear()
        assert await asyncio.gather(*map(read, range(1, 31))) == ["lane"] * 30
        assert set(server.rows) == {1}


async def test_who_was_to_open_a_lane_and_is_cancelled_leaves_that_to_another() -> None:
    """Nobody waits for ever."""
    async with row_server(ending(1, b"Connection: close\r\n")) as (server, backend, url):

        async def read(number: int) -> bytes:
            return await body_of(await backend.open_small(f"{url}{number}"))

        async def first() -> None:
            await read(1)
            # It is called upon now, and has not begun yet.
            second.cancel()

        await read(0)
        one = asyncio.ensure_future(first())
        await asyncio.sleep(0)
        second = asyncio.ensure_future(read(2))
        third = asyncio.ensure_future(read(3))
        await one
        assert await third == server.files[3]
        assert second.cancelled()


async def test_checks_stand_in_rows_too() -> None:
    """Those of changed files are made once more, the others are not."""
    async with row_server(in_order) as (server, backend, url):
        server.changed = {5, 6, 30}
        await check_all(server, backend, url, range(1, 41))
        assert sorted(server.asked) == sorted([-n for n in (*range(1, 41), 5, 6, 30)])
        assert max(server.rows) == ROW_MAX
        lanes = lanes_of(backend)
        assert lanes.has_rows
        assert len(lanes._lanes) == 1


async def test_what_another_lane_refused_is_no_sign_on_a_new_one() -> None:
    """Nobody else would be let on it with that sign."""
    async with row_server(in_order) as (server, backend, url):
        await check_all(server, backend, url, range(1, 20))
        assert await read_all(server, backend, url, [5]) == ["lane"]
        (lane,) = lanes_of(backend)._lanes
        assert lane._signs == set()


async def test_checks_and_files_are_in_rows_of_their_own() -> None:
    """An answer to a check has no body, however long it says that it is."""
    async with row_server(in_order) as (server, backend, url):
        await asyncio.gather(
            check_all(server, backend, url, range(1, 41)),
            read_all(server, backend, url, range(1, 41)),
        )
        assert not lanes_of(backend).closed


async def test_a_file_that_has_changed_since_it_was_listed_comes_all_the_same() -> None:
    """Its answer does not show the sign: it is asked for the ordinary way, and the row as well."""
    async with row_server(in_order) as (server, backend, url):
        old = {number: version_of(server, number) for number in server.files}
        server.etags = False
        server.files[9] = random_bytes(5000, 9)

        async def read(number: int) -> tuple[int, str]:
            date = Validator(ValidatorKind.WEAK_DATE, server.times[number])
            listed = Version(date, old[number].size)
            reply = await backend.open_small(f"{url}{number}", listed)
            assert await body_of(reply) == server.files[number]
            return number, way_of(reply)

        found = await asyncio.gather(*map(read, range(1, 30)))
        assert {number for number, way in found if way != "lane"} == {9}
        assert lanes_of(backend).has_rows


async def test_a_file_that_is_gone_takes_nobody_with_it() -> None:
    """It is asked for once more, the others are not."""
    async with row_server(in_order) as (server, backend, url):
        del server.files[9], server.files[12]

        async def read(number: int) -> str:
            listed = version_of(server, number)
            reply = await backend.open_small(f"{url}{number}", listed)
            assert await body_of(reply) == server.files[number]
            return way_of(reply)

        found = await asyncio.gather(*map(read, range(1, 40)), return_exceptions=True)
        errors = [one for one in found if isinstance(one, BaseException)]
        assert [type(error) for error in errors] == [NotFoundError] * 2
        assert sorted(server.asked) == sorted([*range(1, 40), 9, 12])
        assert len(lanes_of(backend)._lanes) == 1


async def test_a_read_that_is_cancelled_in_a_row_leaves_nothing_to_the_others() -> None:
    """Neither its place nor its answer."""
    stopped, go = asyncio.Event(), asyncio.Event()

    async def handle(
        server: RowServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while True:
            for number in await server.row(reader):
                if number > 1:
                    stopped.set()
                    await go.wait()
                writer.write(server.answer(number))

    async with row_server(handle) as (server, backend, url):

        async def read(number: int) -> bytes:
            return await body_of(
                await backend.open_small(f"{url}{number}", version_of(server, number))
            )

        assert await read(1) == server.files[1]
        tasks = [asyncio.ensure_future(read(number)) for number in range(1, 41)]
        await stopped.wait()
        for task in tasks[3:40:3]:
            task.cancel()
        go.set()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        for number, one in zip(range(1, 41), found, strict=True):
            if isinstance(one, asyncio.CancelledError):
                continue
            assert one == server.files[number]
        assert sum(isinstance(one, bytes) for one in found) == 40 - len(tasks[3:40:3])


@pytest.mark.parametrize("tls", [False, True])
async def test_the_bundled_server_answers_rows(tmp_path: Path, tls: bool) -> None:
    """In order, also where the bytes are encrypted."""
    pem = certificate(tmp_path)[0] if tls else None
    root = tmp_path / "www"
    await asyncio.to_thread(root.mkdir)
    files = {f"f{number}": random_bytes(200 + number, number) for number in range(40)}
    async with running_rig(root, tls_cert=pem, tls_key=pem) as rig:
        for name, data in files.items():
            rig.plant(name, data)
        backend = rig.client(connections=4, insecure=True)
        listed = {info.name: info for info in await backend.list(rig.server.url)}
        await body_of(await backend.open_read(rig.server.url + "f0"))

        async def read(name: str) -> tuple[bytes, str]:
            reply = await backend.open_small(listed[name].url, listed[name].version)
            return await body_of(reply), way_of(reply)

        found = await asyncio.gather(*map(read, files))
        assert found == [(data, "lane") for data in files.values()]
        assert lanes_of(backend)._lanes[0]._kind is not None
