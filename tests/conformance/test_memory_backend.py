"""The memory backend passes the conformance suite."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import quote

import pytest

from netcache.backends.memory import MemoryBackend, MemoryServer
from tests.conformance.moving_suite import FixedNamesSuite, MovingSuite
from tests.conformance.peers import Peer
from tests.conformance.ranges_suite import RangesSuite, SingleRangesSuite
from tests.conformance.suite import BackendSuite
from tests.conformance.updating_suite import UpdatingSuite, WholeFilesSuite


async def peer_of(server: MemoryServer) -> AsyncIterator[Peer]:
    """A peer in front of ``server``."""
    base = "http://memory.invalid/base/"

    def plant(name: str, data: bytes) -> None:
        server.store(base + quote(name), data)

    peer = Peer(
        backend=MemoryBackend(server),
        base=base,
        plant=plant,
        another=lambda: MemoryBackend(server),
    )
    yield peer
    await peer.close()


class TestMemoryBackend(BackendSuite, MovingSuite, RangesSuite, UpdatingSuite):
    """All of the suite."""

    @pytest.fixture
    async def peer(self) -> AsyncIterator[Peer]:
        """A memory server of its own for each test."""
        async for peer in peer_of(MemoryServer()):
            yield peer


class TestMemoryBackendOfWholeFiles(WholeFilesSuite, FixedNamesSuite, SingleRangesSuite):
    """A server that takes whole files, gives single ranges, and keeps names."""

    @pytest.fixture
    async def peer(self) -> AsyncIterator[Peer]:
        """A memory server of its own for each test."""
        async for peer in peer_of(MemoryServer(updates=False, multi_ranges=False, moves=False)):
            yield peer
