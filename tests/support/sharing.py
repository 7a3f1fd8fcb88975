"""Worker processes on one mapped resource, each of them here a client of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import netcache
from netcache import SharedFile
from netcache._cachefiles.store import CachefilesStore, bind
from netcache._core.mapping_record import MappingRecord
from tests.support.mapper import URL, number_in, put_version, record_of

MINUTE_S = 60.0
"""Long enough never to pass in a test that goes well."""


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[CachefilesStore]:
    """A store with version 1 of the resource: the process that changes it."""
    store = bind(tmp_path)
    put_version(store, 1)
    yield store
    store.close()


Workers = Callable[[int], list[SharedFile]]


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    """Makes workers, each with a client of its own."""
    clients: list[netcache.Client] = []

    def make(count: int) -> list[SharedFile]:
        new = [netcache.Client(cache_dir=tmp_path, offline=True) for _ in range(count)]
        clients.extend(new)
        return [client.share(URL) for client in new]

    yield make
    for client in clients:
        client.close()


def record(store: CachefilesStore) -> MappingRecord:
    """The record of the resource."""
    return record_of(Path(store.status().directory))


def messages(store: CachefilesStore) -> int:
    """How many messages were ever sent."""
    return store.worker().messages()


def seen(shared: SharedFile) -> tuple[int, int]:
    """Look at everything: the generation and the version."""
    with shared.read() as (generation, view):
        assert len(view) == shared.size
        return generation, number_in(view)
