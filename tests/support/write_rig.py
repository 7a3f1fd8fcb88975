"""A server in memory with one resource, and clients that write it while an upload stands still."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import netcache
from netcache.backends.memory import MemoryBackend, MemoryServer
from tests.support.served import random_bytes

URL = "http://memory.invalid/data"
BLOCK = 4096
DATA = random_bytes(40 * BLOCK + 17, 3)


class Rig:
    """A server in memory, and a client on it."""

    def __init__(self, folder: Path, server: MemoryServer, **options: Any) -> None:
        self.server = server
        self.options: dict[str, Any] = {
            "cache_dir": folder / "cache",
            "write_mode": "back",
            "flush_interval": 1000.0,
            "backend": lambda: MemoryBackend(server),
        } | options

    @property
    def data(self) -> bytes:
        """What the server has."""
        return bytes(self.server.files[URL].data)

    @asynccontextmanager
    async def client(self) -> AsyncIterator[netcache.AsyncClient]:
        """A client; nothing of it is left alive when it closes."""
        async with netcache.AsyncClient(**self.options) as client:
            yield client
            assert set((await client.stats())["Objs"].values()) == {0}


@pytest.fixture(params=["cache", "no-cache"])
def rig(tmp_path: Path, request: pytest.FixtureRequest) -> Rig:
    """A rig whose server has ``DATA``."""
    server = MemoryServer()
    made = Rig(tmp_path, server, use_cache=request.param == "cache")
    with netcache.Client(**made.options) as client, client.open(URL, "wb") as file:
        file.write(DATA)
    return made


def run(work: Any) -> None:
    """Run a test on a loop of its own; a minute is a hang."""
    asyncio.run(asyncio.wait_for(work, 60))
