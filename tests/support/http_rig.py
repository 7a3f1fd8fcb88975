"""What the tests of the HTTP backend share: a bundled server with faults, and backends for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trustme

from netcache._core.retry import RetryPolicy
from netcache.backends.http import HttpBackend, HttpOptions
from netcache_server import FaultRule, ObjectServer, ServerOptions
from tests.conformance.peers import pattern, plant_in

MIB = 1 << 20
DATA = pattern(3 * MIB)
AT_ONCE = RetryPolicy(attempts=3, first_pause_s=0.0)
"""Three attempts without pauses."""

COMMON: dict[str, Any] = {}
"""Options of all backends; see the fixture ``both_ways``."""

MakeClient = Callable[..., HttpBackend]
"""Makes a backend from the keywords of ``client``."""


@dataclass
class Rig:
    """A server with the resource ``a.bin`` (``DATA``), and the backends made for it."""

    server: ObjectServer
    root: Path
    backends: list[HttpBackend] = field(default_factory=list)

    @property
    def url(self) -> str:
        """The URL of ``a.bin``."""
        return self.server.url + "a.bin"

    def plant(self, name: str, data: bytes) -> None:
        """Put a file in place behind everybody's back."""
        plant_in(self.root)(name, data)

    def faults(self, **effects: Any) -> None:
        """One rule from now on; without effects none."""
        self.server.faults.set([FaultRule(**effects)] if effects else None)

    def client(self, *, retry: RetryPolicy = AT_ONCE, **options: Any) -> HttpBackend:
        """A backend that is closed with the rig."""
        self.backends.append(client(retry=retry, **options))
        return self.backends[-1]

    def log(self, method: str | None = None) -> list[dict[str, Any]]:
        """The requests so far."""
        return [
            dict(record)
            for record in self.server.requests
            if method is None or record["method"] == method
        ]


def client(*, retry: RetryPolicy = AT_ONCE, **options: Any) -> HttpBackend:
    """A backend that does not pause between attempts."""
    return HttpBackend(HttpOptions(**{"timeout_s": 5.0} | COMMON | options), retry=retry)


@asynccontextmanager
async def closing_clients() -> AsyncIterator[MakeClient]:
    """Makes backends and closes them in the end."""
    made: list[HttpBackend] = []

    def make(**options: Any) -> HttpBackend:
        made.append(client(**options))
        return made[-1]

    try:
        yield make
    finally:
        for backend in made:
            await backend.close()


@asynccontextmanager
async def running_rig(root: Path, **options: Any) -> AsyncIterator[Rig]:
    """A rig whose server has ``options``; ``root`` exists."""
    async with ObjectServer(
        ServerOptions(root=root, fsync=False, log="memory", **options)
    ) as server:
        rig = Rig(server, root)
        rig.plant("a.bin", DATA)
        try:
            yield rig
        finally:
            for backend in rig.backends:
                await backend.close()


def certificate(directory: Path) -> tuple[str, str]:
    """A certificate with its key for loopback, and its authority: two files."""
    authority = trustme.CA()
    pem, trusted = directory / "server.pem", directory / "ca.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(pem))
    authority.cert_pem.write_to_path(str(trusted))
    return str(pem), str(trusted)
