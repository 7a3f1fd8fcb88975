"""The asynchronous face, whose reads of what is cached go another way, while the disk fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import netcache
from netcache.backends.memory import MemoryBackend
from tests.support.disk_stage import (
    BLOCK,
    DATA,
    OTHER,
    PATCH,
    UP_URL,
    URL,
    Scenario,
    Stage,
    adding_to,
    cached,
    half_cached,
    patched,
)

SCENARIOS: list[Scenario] = []
scenario = adding_to(SCENARIOS)


def run_async(stage: Stage, work: Callable[[netcache.AsyncClient], Awaitable[None]]) -> None:
    """Do ``work`` with a client of the asynchronous face, made with a failing disk."""

    async def whole() -> None:
        async with netcache.AsyncClient(
            cache_dir=stage.cache,
            backend=lambda: MemoryBackend(stage.server),
            readahead=0,
            retries=0,
            on_warning=stage.warnings.append,
            **stage.options,
        ) as client:
            await work(client)

    asyncio.run(whole())


@scenario(half_cached, open=False)
def async_read(stage: Stage) -> None:
    """What is cached, what is not, into a buffer, and as a view."""

    async def work(client: netcache.AsyncClient) -> None:
        async with await client.open(URL, "rb") as file:
            assert await file.pread(BLOCK, 0) == DATA[:BLOCK]
            buffer = bytearray(len(DATA))
            assert await file.preadinto(buffer, 0) == len(DATA)
            assert buffer == DATA
            assert bytes(await file.view(9, BLOCK)) == DATA[9 : 9 + BLOCK]
        async with await client.open(URL, "rb") as file:
            assert await file.pread(len(DATA), 0) == DATA

    run_async(stage, work)


@scenario(cached, open=False, verify="read")
def async_read_proven(stage: Stage) -> None:
    """Each read compares what is cached with its sums."""

    async def work(client: netcache.AsyncClient) -> None:
        async with await client.open(URL, "rb") as file:
            for start in range(0, len(DATA), 2 * BLOCK):
                assert await file.pread(2 * BLOCK, start) == DATA[start : start + 2 * BLOCK]

    run_async(stage, work)


@scenario(cached, open=False)
def async_write(stage: Stage) -> None:
    """A stream, and an edit."""
    expected = patched(DATA, PATCH, BLOCK + 9)

    async def work(client: netcache.AsyncClient) -> None:
        async with await client.open(UP_URL, "wb") as stream:
            await stream.write(OTHER)
        assert stage.at_server(UP_URL) == OTHER
        async with await client.open(URL, "r+b") as file:
            await file.pwrite(PATCH, BLOCK + 9)
            assert await file.pread(len(PATCH), BLOCK + 9) == PATCH
            await file.fsync()
            assert stage.at_server(URL) == expected

    with stage.losing(URL, DATA, expected):
        run_async(stage, work)
