"""Rows at servers that answer in another order, end connections, or say nothing."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Sequence

import pytest

from netcache._core.coherency import Validator, ValidatorKind, Version
from netcache.backends.http_lane import ROW_MAX
from netcache.backends.http_lanes import ODD_MAX
from netcache.errors import RemoteTimeoutError, TransientError
from tests.support.rows import (
    DAY,
    RowServer,
    check_all,
    ending,
    lanes_of,
    misordered,
    read_all,
    row_server,
    unreliable,
    version_of,
)
from tests.support.scripted import body_of
from tests.support.served import random_bytes


@pytest.mark.parametrize(
    "order",
    [
        lambda numbers: numbers[::-1],
        lambda numbers: [*numbers[1:], numbers[0]],
        lambda numbers: [numbers[0], *numbers],
        lambda numbers: numbers[1:] or numbers,
    ],
    ids=["backwards", "the first last", "one twice", "one lost"],
)
@pytest.mark.parametrize("etags", [True, False])
async def test_answers_in_another_order_are_not_believed(
    order: Callable[[list[int]], Sequence[int]], etags: bool
) -> None:
    """Every file is right, nobody waits for what will not come, and soon there are no rows."""
    async with row_server(misordered(order), timeout_s=3600.0) as (server, backend, url):
        server.etags = etags
        for _ in range(2):
            await read_all(server, backend, url, range(1, 60))
        lanes = lanes_of(backend)
        assert lanes.closed or not lanes.has_rows
        server.rows.clear()
        await read_all(server, backend, url, range(1, 20))
        assert set(server.rows) == {1}


@pytest.mark.parametrize("without_tag", [2, ROW_MAX])
async def test_signs_of_two_kinds_do_not_mix(without_tag: int) -> None:
    """A file that has no tag in the listing could be taken for any of the same size and time."""

    def last_two_swapped(numbers: list[int]) -> list[int]:
        return [*numbers[:-2], *numbers[:-3:-1]]

    async with row_server(misordered(last_two_swapped)) as (server, backend, url):
        server.files = {n: random_bytes(100, n) for n in server.files}
        server.times = dict.fromkeys(server.files, DAY % 1)

        async def read(number: int) -> None:
            listed = version_of(server, number)
            if number == without_tag:
                listed = Version(Validator(ValidatorKind.WEAK_DATE, DAY % 1), 100)
            reply = await backend.open_small(f"{url}{number}", listed)
            assert await body_of(reply) == server.files[number]

        # Behind 1, which goes alone, it would be the first or the last but one of a row.
        await asyncio.gather(*map(read, range(1, 60)))


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_a_server_does_with_rows_no_file_is_taken_for_current(seed: int) -> None:
    """Some checks may fail."""
    rng = random.Random(seed)
    async with row_server(unreliable(rng), timeout_s=0.5, connections=8) as (server, backend, url):
        server.changed = set(rng.sample(range(1, 64), rng.randrange(40)))
        for _ in range(3):
            with contextlib.suppress(TransientError):
                await check_all(server, backend, url, range(1, 64))


async def test_a_server_that_ends_connections_is_asked_for_the_rest_on_others() -> None:
    """With a word, as nginx does after ``keepalive_requests``: then rows end there."""
    async with row_server(ending(10, b"Connection: close\r\n")) as (server, backend, url):
        ways = await read_all(server, backend, url, range(1, 60))
        assert ways == ["lane"] * 59
        lanes = lanes_of(backend)
        assert lanes.has_rows
        assert lanes.requests_max in (9, 10), "one was aiohttp's"
        server.asked.clear()
        await read_all(server, backend, url, range(1, 60))
        assert sorted(server.asked) == list(range(1, 60)), "nothing is asked for twice"


async def test_a_server_that_breaks_rows_off_gets_no_more_of_them() -> None:
    """Without a word: one answer, and the end."""
    async with row_server(ending(2)) as (server, backend, url):
        await read_all(server, backend, url, range(1, 60))
        lanes = lanes_of(backend)
        assert lanes.closed or not lanes.has_rows


async def test_a_server_that_passes_over_what_came_with_a_request_gets_no_more_rows() -> None:
    """It read all that was there, and answers the first: the others wait in vain, not for long."""

    async def handle(
        server: RowServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while len(numbers := await server.row(reader)) == 1:
            writer.write(server.answer(numbers[0]))
        writer.write(server.answer(numbers[0]))
        await asyncio.sleep(3600)

    async with row_server(handle, timeout_s=0.6) as (server, backend, url):
        await read_all(server, backend, url, range(1, 41))
        assert not lanes_of(backend).has_rows
        assert sum(rows > 1 for rows in server.rows) == ODD_MAX


async def test_a_server_that_starts_anew_has_broken_one_row_off() -> None:
    """However many lanes there were."""
    writers: set[asyncio.StreamWriter] = set()
    ended: list[int] = []

    async def handle(
        server: RowServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writers.add(writer)
        while True:
            for number in await server.row(reader):
                if len(server.asked) > 100 and not ended:
                    ended.append(len(writers))
                    for each in writers:
                        each.transport.abort()
                writer.write(server.answer(number))

    async with row_server(handle, connections=64) as (server, backend, url):
        for _ in range(3):
            await read_all(server, backend, url, range(1, 64))
        assert ended[0] > ODD_MAX
        assert lanes_of(backend).has_rows


async def test_a_row_behind_silence_is_asked_again() -> None:
    """Only who stands first is late; it is tried again as ever."""
    silent: list[int] = []

    async def handle(
        server: RowServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while True:
            for number in await server.row(reader):
                if number == 5:
                    silent.append(number)
                    await asyncio.sleep(3600)
                writer.write(server.answer(number))

    async with row_server(handle, timeout_s=0.6) as (server, backend, url):

        async def read(number: int) -> bytes:
            return await body_of(
                await backend.open_small(f"{url}{number}", version_of(server, number))
            )

        found = await asyncio.gather(*map(read, range(1, 16)), return_exceptions=True)
        for number, one in zip(range(1, 16), found, strict=True):
            if number == 5:
                assert isinstance(one, RemoteTimeoutError)
            else:
                assert one == server.files[number]
        assert len(silent) == 3, "as often as any other"


@pytest.mark.parametrize("seed", range(40))
async def test_whatever_a_server_does_with_rows_no_file_is_another(seed: int) -> None:
    """Some take the ordinary way, and some may fail; none shows the bytes of another."""
    rng = random.Random(seed)
    async with row_server(unreliable(rng), timeout_s=0.5, connections=8) as (server, backend, url):
        server.etags = rng.random() < 0.5
        if not server.etags:
            size = rng.choice([1, 3, 20])
            server.files = {n: random_bytes(100 + n % size, n) for n in server.files}

        async def read(number: int) -> None:
            reply = await backend.open_small(f"{url}{number}", version_of(server, number))
            assert await body_of(reply) == server.files[number]

        numbers = [rng.randrange(1, 64) for _ in range(150)]
        found = await asyncio.gather(*map(read, numbers), return_exceptions=True)
        odd = [one for one in found if isinstance(one, AssertionError)]
        assert not odd, f"seed {seed}: {odd[0]}"
        errors = [one for one in found if isinstance(one, BaseException)]
        assert all(isinstance(error, TransientError) for error in errors)
