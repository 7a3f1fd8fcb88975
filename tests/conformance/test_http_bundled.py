"""The HTTP backend passes the conformance suite against the bundled server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme

from netcache.backends.http import HttpBackend, HttpOptions
from netcache_server import FaultRule, ObjectServer, ServerOptions
from tests.conformance.moving_suite import MovingSuite
from tests.conformance.peers import Peer, plant_in
from tests.conformance.ranges_suite import RangesSuite
from tests.conformance.suite import BackendSuite
from tests.conformance.updating_suite import UpdatingSuite, WholeFilesSuite


async def peer_of(
    server: ServerOptions, options: HttpOptions, *faults: FaultRule
) -> AsyncIterator[Peer]:
    """A peer in front of a server of its own."""
    async with ObjectServer(server) as running:
        running.faults.set(faults)
        peer = Peer(
            backend=HttpBackend(options),
            base=running.url,
            plant=plant_in(Path(server.root)),
            another=lambda: HttpBackend(options),
        )
        yield peer
        await peer.close()


class TestBundledServer(BackendSuite, MovingSuite, RangesSuite, UpdatingSuite):
    """Plain HTTP."""

    @pytest.fixture
    async def peer(self, tmp_path: Path) -> AsyncIterator[Peer]:
        """A server of its own for each test."""
        async for peer in peer_of(ServerOptions(root=tmp_path, fsync=False), HttpOptions()):
            yield peer


class TestBundledServerByLinks(BackendSuite, RangesSuite):
    """Plain HTTP, all reads without aiohttp."""

    @pytest.fixture
    async def peer(self, tmp_path: Path) -> AsyncIterator[Peer]:
        """A server of its own for each test."""
        options = HttpOptions(first_requests=1000)
        async for peer in peer_of(ServerOptions(root=tmp_path, fsync=False), options):
            yield peer


class TestBundledServerByPartialPut(UpdatingSuite):
    """A server that changes parts by PUT with Content-Range only."""

    @pytest.fixture
    async def peer(self, tmp_path: Path) -> AsyncIterator[Peer]:
        """A server of its own for each test."""
        silent = FaultRule(method=("OPTIONS",), remove_headers=("Accept-Patch", "DAV"))
        refuses = FaultRule(method=("PATCH",), status=405)
        server = ServerOptions(root=tmp_path, fsync=False)
        async for peer in peer_of(server, HttpOptions(), silent, refuses):
            yield peer


class TestBundledServerOfWholeFiles(WholeFilesSuite):
    """A server that announces no way to change parts."""

    @pytest.fixture
    async def peer(self, tmp_path: Path) -> AsyncIterator[Peer]:
        """A server of its own for each test."""
        silent = FaultRule(
            method=("OPTIONS",), remove_headers=("Accept-Patch", "DAV", "X-Accept-Partial-Put")
        )
        server = ServerOptions(root=tmp_path, fsync=False)
        async for peer in peer_of(server, HttpOptions(), silent):
            yield peer


class TestBundledServerOverTls(BackendSuite, MovingSuite, RangesSuite, UpdatingSuite):
    """TLS with a private authority, and credentials."""

    @pytest.fixture
    async def peer(self, tmp_path: Path, certificates: tuple[str, str, str]) -> AsyncIterator[Peer]:
        """A server of its own for each test."""
        authority, certificate, key = certificates
        server = ServerOptions(
            root=tmp_path, fsync=False, tls_cert=certificate, tls_key=key, user="me:secret"
        )
        options = HttpOptions(ca_cert=authority, auth="me:secret")
        async for peer in peer_of(server, options):
            yield peer

    @pytest.fixture(scope="session")
    @classmethod
    def certificates(cls, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, str]:
        """The files of an authority, and of a certificate and key for loopback."""
        directory = tmp_path_factory.mktemp("certificates")
        authority = trustme.CA()
        issued = authority.issue_cert("127.0.0.1", "localhost")
        paths = tuple(str(directory / name) for name in ("ca.pem", "cert.pem", "key.pem"))
        authority.cert_pem.write_to_path(paths[0])
        issued.cert_chain_pems[0].write_to_path(paths[1])
        issued.private_key_pem.write_to_path(paths[2])
        return paths[0], paths[1], paths[2]
