"""The HTTP backend passes the conformance suite against a real nginx."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from netcache.backends.http import HttpBackend, HttpOptions
from netcache.errors import RemoteError
from tests.conformance.moving_suite import FixedNamesSuite, MovingSuite
from tests.conformance.peers import Bytes, Peer, plant_in, read
from tests.conformance.ranges_suite import RangesSuite, SingleRangesSuite
from tests.conformance.suite import BackendSuite
from tests.conformance.updating_suite import WholeFilesSuite
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


@pytest.fixture(scope="module")
def json_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NginxServer]:
    """Lists in JSON, makes the parents of uploads by itself."""
    with running_nginx(tmp_path_factory.mktemp("nginx")) as server:
        yield server


@pytest.fixture(scope="module")
def html_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NginxServer]:
    """Lists in HTML, wants the parents of uploads to be there."""
    directory = tmp_path_factory.mktemp("nginx")
    with running_nginx(directory, autoindex="html", create_parents=False) as server:
        yield server


@pytest.fixture(scope="module")
def silent_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NginxServer]:
    """Lists nothing: a folder that exists answers 403, one that does not 404; takes one range."""
    directory = tmp_path_factory.mktemp("nginx")
    with running_nginx(
        directory, autoindex=None, create_parents=False, max_ranges=1, methods="PUT MKCOL"
    ) as server:
        yield server


class TestNginxJson(BackendSuite, MovingSuite, RangesSuite, WholeFilesSuite):
    """Bodies by our receiver."""

    @pytest.fixture
    async def peer(self, json_server: NginxServer, tmp_path: Path) -> AsyncIterator[Peer]:
        """A folder of its own for each test."""
        async for peer in peer_of(json_server, tmp_path.name, HttpOptions()):
            yield peer


class TestNginxByLinks(BackendSuite, RangesSuite):
    """All reads without aiohttp."""

    @pytest.fixture
    async def peer(self, json_server: NginxServer, tmp_path: Path) -> AsyncIterator[Peer]:
        """A folder of its own for each test."""
        async for peer in peer_of(json_server, tmp_path.name, HttpOptions(first_requests=1000)):
            yield peer


class TestNginxHtml(BackendSuite, MovingSuite, RangesSuite, WholeFilesSuite):
    """Bodies by aiohttp's stream."""

    @pytest.fixture
    async def peer(self, html_server: NginxServer, tmp_path: Path) -> AsyncIterator[Peer]:
        """A folder of its own for each test."""
        async for peer in peer_of(html_server, tmp_path.name, HttpOptions(takeover=False)):
            yield peer


class TestNginxWithoutListings(SingleRangesSuite, FixedNamesSuite):
    """Folders that cannot be listed are folders all the same."""

    @pytest.fixture
    async def peer(self, silent_server: NginxServer, tmp_path: Path) -> AsyncIterator[Peer]:
        """A folder of its own for each test."""
        async for peer in peer_of(silent_server, tmp_path.name, HttpOptions()):
            yield peer

    async def test_folder_that_exists_is_fine(self, peer: Peer) -> None:
        """The second time MKCOL answers 405 and the folder itself 403: it is there."""
        for _ in range(2):
            await peer.backend.make_folder(peer.url("p/q/"))
        await peer.second().make_folder(peer.url("p/q/"))
        for number in range(2):
            await peer.backend.put(peer.url(f"p/q/{number}"), Bytes(b"x"))
            await peer.second().put(peer.url(f"r{number}/s/up"), Bytes(b"y"))
        assert await read(peer.backend, peer.url("p/q/1")) == b"x"
        assert await read(peer.backend, peer.url("r1/s/up")) == b"y"

    async def test_file_in_the_way_is_no_folder(self, peer: Peer) -> None:
        """A file of the folder's name is an error, not silence."""
        peer.plant("p", b"x")
        with pytest.raises(RemoteError):
            await peer.backend.make_folder(peer.url("p/"))
        with pytest.raises(RemoteError):
            await peer.backend.put(peer.url("p/up"), Bytes(b"x"))
