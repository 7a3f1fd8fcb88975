"""Clients over a server in memory: what tests need that hold requests and let them fail."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import netcache
from netcache.backends.memory import MemoryBackend, MemoryServer

URL = "http://memory.invalid/data"


class AsyncRig(NamedTuple):
    """A client of the asynchronous face, and its server."""

    client: netcache.AsyncClient
    server: MemoryServer

    @property
    def data(self) -> bytes:
        """What the server has under ``URL``."""
        return self.server.files[URL].data

    @property
    def stats(self) -> dict[str, dict[str, int]]:
        """The counters of the client, for who cannot wait."""
        return self.client._core.stats.as_groups()

    def uploads(self) -> int:
        """How many requests changed something, or tried to."""
        return sum(line.startswith(("put ", "update ")) for line in self.server.requests)

    def uploaded_bytes(self) -> int:
        """How many bytes of parts were sent and acknowledged."""
        return self.stats["UpldOps"]["bytes"]


@contextlib.asynccontextmanager
async def async_rig(
    folder: Path,
    data: bytes,
    *,
    updates: bool = True,
    tells_versions: bool = True,
    **options: Any,
) -> AsyncIterator[AsyncRig]:
    """A client on ``folder`` over a new server that has ``data`` under ``URL``."""
    server = MemoryServer(updates=updates, tells_versions=tells_versions)
    server.store(URL, data)
    backend = MemoryBackend(server)
    options = {"cache_dir": folder, "readahead": 0, "retries": 0, **options}
    async with netcache.AsyncClient(backend=lambda: backend, **options) as client:
        yield AsyncRig(client, server)


@contextlib.contextmanager
def sync_client(folder: Path, server: MemoryServer, **options: Any) -> Iterator[netcache.Client]:
    """A client of the synchronous face over ``server``."""
    backend = MemoryBackend(server)
    options = {"cache_dir": folder, "readahead": 0, "retries": 0, **options}
    with netcache.Client(backend=lambda: backend, **options) as client:
        yield client


async def turns(condition: Callable[[], bool], most: int = 20_000) -> bool:
    """Let the loop go on until ``condition`` holds; False when it never does."""
    for _ in range(most):
        if condition():
            return True
        await asyncio.sleep(0)
    return False
