"""Where scenarios of failing disks are played: a server, a cache on the disk, a client.

A scenario has a ``prepare`` with a sound disk and an ``act`` with a failing one.  ``act`` checks
what it reads and what the server has then.  It may meet ``CacheError`` only where it asks for
something that is about the cache itself, and calls that through ``Stage.about_cache``.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import netcache
from netcache._cachefiles.returning import PAUSE_MAX_S
from netcache._core.coherency import Validator, ValidatorKind, Version
from netcache.backends.memory import MemoryBackend, MemoryServer
from netcache.backends.memory_server import MemoryFile
from netcache.errors import CacheError
from tests.support.disk_faults import DiskFaults
from tests.support.served import random_bytes

URL = "http://memory.invalid/data"
OTHER_URL = "http://memory.invalid/other"
UP_URL = "http://memory.invalid/up"
TREE_URL = "http://memory.invalid/tree/"
BLOCK = 4096
DATA = random_bytes(6 * BLOCK + 100, 1)
OTHER = random_bytes(3 * BLOCK + 7, 2)
NEWER = random_bytes(5 * BLOCK + 50, 3)
PATCH = random_bytes(BLOCK + 11, 4)


@dataclass
class Stage:
    """A server in memory, a cache directory whose disk may fail, a client, and what it said."""

    home: Path
    faults: DiskFaults
    options: dict[str, Any] = field(default_factory=dict)
    server: MemoryServer = field(default_factory=MemoryServer)
    warnings: list[str] = field(default_factory=list)
    refused: list[CacheError] = field(default_factory=list)
    _client: netcache.Client | None = None

    @property
    def cache(self) -> Path:
        """The cache directory."""
        return self.home / "cache"

    @property
    def client(self) -> netcache.Client:
        """The client; made when it is first asked for."""
        if self._client is None:
            self._client = self.new_client(on_warning=self.warnings.append)
            store = self._client._core.store
            assert store is not None
            # The disk is tried anew with each call, not after a while.
            store.pause_max_s = 0.0
            store.now = lambda: time.monotonic() + PAUSE_MAX_S
        return self._client

    def new_client(self, **options: Any) -> netcache.Client:
        """One more client of the same cache."""
        backend = MemoryBackend(self.server)
        common: dict[str, Any] = {"cache_dir": self.cache, "readahead": 0, "retries": 0}
        return netcache.Client(backend=lambda: backend, **{**common, **self.options, **options})

    @contextlib.contextmanager
    def about_cache(self) -> Iterator[None]:
        """A call that is about the cache: it may say that the cache failed."""
        try:
            yield
        except CacheError as error:
            self.refused.append(error)

    def at_server(self, url: str) -> bytes:
        """What the server has."""
        return self.server.files[url].data

    def close(self) -> None:
        """Close the client."""
        if self._client is not None:
            self._client.close()
            self._client = None

    @contextlib.contextmanager
    def losing(self, url: str, *allowed: bytes) -> Iterator[None]:
        """What was written lies on the disk until it is sent: one that does not give it back loses
        it, and says so.  The server then has one of ``allowed``, whole."""
        try:
            yield
        except CacheError as error:
            assert "cannot be read back" in str(error)  # noqa: PT017
            self.refused.append(error)
            assert {"preadv", "pread"} & set(self.faults.failed), self.faults.failed
            assert self.at_server(url) in allowed


Act = Callable[[Stage], None]


class Scenario(NamedTuple):
    """What is done, on what, with which options of the client.

    ``open``: the client is made beforehand, with a sound disk.
    """

    act: Act
    prepare: Act
    options: dict[str, Any]
    open: bool

    @property
    def name(self) -> str:
        """For people."""
        return self.act.__name__


def adding_to(scenarios: list[Scenario]) -> Callable[..., Callable[[Act], Act]]:
    """The decorator that makes a function one of ``scenarios``.

    It takes what prepares the scenario, whether the client is open beforehand (``open``), and the
    options of the client.
    """

    def scenario(*prepare: Act, open: bool = True, **options: Any) -> Callable[[Act], Act]:
        def prepare_all(stage: Stage) -> None:
            for one in prepare:
                one(stage)

        def register(act: Act) -> Act:
            scenarios.append(Scenario(act, prepare_all, options, open))
            return act

        return register

    return scenario


# What may be there before.


def cached(stage: Stage) -> None:
    """All of the resource is cached."""
    with stage.new_client() as client, client.open(URL) as file:
        assert file.read() == DATA


def half_cached(stage: Stage) -> None:
    """Two extents of the resource are cached."""
    with stage.new_client() as client, client.open(URL) as file:
        file.pread(BLOCK, 0)
        file.pread(BLOCK, 3 * BLOCK)


def changed_at_server(stage: Stage) -> None:
    """The server has another version now."""
    stage.server.store(URL, NEWER)


def touched_at_server(stage: Stage) -> None:
    """The server has another version now, with the same bytes."""
    stage.server.store(URL, DATA)


def unranged(stage: Stage) -> None:
    """The server tells a weak validator, which joins no ranges: it is fetched whole."""
    weak = Validator(ValidatorKind.WEAK_ETAG, 'W/"1"')
    stage.server.files[UP_URL] = MemoryFile(DATA, Version(weak, len(DATA)))


def orphaned_edit(stage: Stage) -> None:
    """A killed process has left an edit in the journal."""
    client = stage.new_client(durability="journal", write_mode="back")
    file = client.open(URL, "r+b")
    file.pwrite(PATCH, BLOCK)
    file.flush()
    # As a kill would: what is unsent stays in the journal, for nobody sends it.
    client.close()
    assert stage.at_server(URL) == DATA


def patched(data: bytes, patch: bytes, at: int) -> bytes:
    """``data`` with ``patch`` written over it."""
    return data[:at].ljust(at, b"\0") + patch + data[at + len(patch) :]
