"""The HTTP backend passes the conformance suite against a real nginx."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from netcache.backends.http import HttpBackend, HttpOptions
from tests.conformance.peers import Peer, plant_in
from tests.conformance.suite import BackendSuite
from tests.support.nginx import NGINX, NginxServer, running_nginx

pytestmark = [
    pytest.mark.nginx,
    pytest.mark.skipif(NGINX is None, reason="no nginx on this machine"),
]


async def peer_of(server: NginxServer, name: str, options: HttpOptions) -> AsyncIterator[Peer]:
    """A peer in a folder of its own on ``server``."""
    folder = server.root / name
    folder.mkdir()
    peer = Peer(
        backend=HttpBackend(options),
        base=f"{server.url}{name}/",
        plant=plant_in(folder),
        another=lambda: HttpBackend(options),
        tells_etag_after_put=False,
        tells_digests=False,
        keeps_mtime=False,
    )
    yield peer
    await peer.close()


class TestNginxJson(BackendSuite):
    """With JSON listings, making parents by itself."""

    @pytest.fixture(scope="class")
    def server(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NginxServer]:
        """One nginx for the class."""
        with running_nginx(tmp_path_factory.mktemp("nginx")) as server:
            yield server

    @pytest.fixture
    async def peer(self, server: NginxServer, tmp_path: Path) -> AsyncIterator[Peer]:
        """Bodies by our receiver."""
        async for peer in peer_of(server, tmp_path.name, HttpOptions()):
            yield peer


class TestNginxHtml(BackendSuite):
    """With HTML listings, parents made by us, bodies by aiohttp's stream."""

    @pytest.fixture(scope="class")
    def server(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NginxServer]:
        """One nginx for the class."""
        directory = tmp_path_factory.mktemp("nginx")
        with running_nginx(directory, autoindex="html", create_parents=False) as server:
            yield server

    @pytest.fixture
    async def peer(self, server: NginxServer, tmp_path: Path) -> AsyncIterator[Peer]:
        """Bodies by aiohttp's stream."""
        async for peer in peer_of(server, tmp_path.name, HttpOptions(takeover=False)):
            yield peer
