"""Fixtures of the integration tests: a real server, clients with caches of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import netcache
from tests.support.commands import Commands
from tests.support.served import Served, serve
from tests.support.write_rig import rig

__all__ = ["NewClient", "client", "command_line", "new_client", "rig", "served"]

NewClient = Callable[..., netcache.Client]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """The bundled server on an empty folder, with its request log."""
    with serve(tmp_path / "www") as running:
        yield running


@pytest.fixture(name="netcache")
def command_line(tmp_path: Path) -> Commands:
    """The command line in a home of its own."""
    return Commands(tmp_path)


@pytest.fixture
def new_client(tmp_path: Path) -> Iterator[NewClient]:
    """Makes clients on the test's cache directory; closes them all."""
    clients: list[netcache.Client] = []

    def make(**options: object) -> netcache.Client:
        options.setdefault("cache_dir", tmp_path / "cache")
        options.setdefault("timeout", 10.0)
        client = netcache.Client(**options)  # type: ignore[arg-type]
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def client(new_client: NewClient) -> netcache.Client:
    """A client with the default options."""
    return new_client()
