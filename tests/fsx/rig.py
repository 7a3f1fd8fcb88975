"""What an exerciser needs round it: a server or a memory, a client, the file."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import netcache
from netcache.backends.memory import MemoryBackend, MemoryServer
from netcache_server import FaultRule
from tests.fsx.exerciser import Exerciser
from tests.support.served import serve

SERVERS = ("parts", "whole", "memory", "memory-whole")
_NO_PARTS = FaultRule(
    method=("OPTIONS",), remove_headers=("Accept-Patch", "DAV", "X-Accept-Partial-Put")
)


@contextlib.contextmanager
def exerciser(
    folder: Path, *, server: str, mode: str, use_cache: bool, size: int, seed: int = 0
) -> Iterator[Exerciser]:
    """An exerciser of a file of ``size`` bytes; the client is closed afterwards, and has nothing
    left alive."""
    first = random.Random(seed).randbytes(size)
    options: dict[str, object] = {
        "cache_dir": folder / "cache",
        "write_mode": mode,
        "use_cache": use_cache,
        "readahead": 0,
    }
    if server.startswith("memory"):
        memory = MemoryServer(updates=server == "memory")
        backend = MemoryBackend(memory)
        with netcache.Client(backend=lambda: backend, **options) as client:  # type: ignore[arg-type]
            url = "http://memory.invalid/data"
            with client.open(url, "wb") as file:
                file.write(first)
            yield _exerciser(client, url, first, lambda: memory.files[url].data, use_cache)
            _nothing_left(client)
        return
    with serve(folder / "www") as served:
        served.server.set_faults([_NO_PARTS] if server == "whole" else [])
        url = served.put("data", first)
        with netcache.Client(**options) as client:  # type: ignore[arg-type]
            yield _exerciser(client, url, first, (served.root / "data").read_bytes, use_cache)
            _nothing_left(client)


def _exerciser(
    client: netcache.Client, url: str, first: bytes, at_server: Callable[[], bytes], use_cache: bool
) -> Exerciser:
    def shown() -> bytes:
        with client.open(url) as file:
            return file.read()

    def drop() -> None:
        if use_cache:
            client.cache.drop(url)

    return Exerciser(
        first,
        lambda: client.open(url, "r+b"),
        lambda: bytes(at_server()),
        shown,
        drop,
    )


def _nothing_left(client: netcache.Client) -> None:
    assert set(client.stats()["Objs"].values()) == {0}, client.stats()["Objs"]
