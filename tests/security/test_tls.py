"""The defaults of TLS: no old versions, certificates and names checked."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme

from netcache.errors import RemoteError, TransientError
from tests.support.http_rig import MakeClient, closing_clients


@pytest.fixture
async def make_client() -> AsyncIterator[MakeClient]:
    """Makes backends and closes them in the end."""
    async with closing_clients() as make:
        yield make


async def reach(backend: object, tmp_path: Path, name: str, newest: ssl.TLSVersion) -> None:
    """Ask a server for ``name`` that speaks nothing newer; raises what the client does."""
    authority = trustme.CA()
    await asyncio.to_thread(authority.cert_pem.write_to_path, str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version = newest
    authority.issue_cert(name).configure_cert(context)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 0\r\nETag: "a"\r\n\r\n')
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    try:
        await backend.stat(f"https://127.0.0.1:{port}/x")  # type: ignore[attr-defined]
    finally:
        server.close()
        await server.wait_closed()


async def test_present_versions_are_spoken(make_client: MakeClient, tmp_path: Path) -> None:
    """1.2 and 1.3, with a certificate of an authority that was named."""
    for newest in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        backend = make_client(ca_cert=str(tmp_path / "ca.pem"))
        await reach(backend, tmp_path, "127.0.0.1", newest)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("insecure", [False, True])
async def test_old_versions_are_not(
    make_client: MakeClient, tmp_path: Path, insecure: bool
) -> None:
    """1.1 is refused, also where certificates are not checked."""
    backend = make_client(insecure=insecure, ca_cert=str(tmp_path / "ca.pem"))
    with pytest.raises(RemoteError):
        await reach(backend, tmp_path, "127.0.0.1", ssl.TLSVersion.TLSv1_1)


async def test_a_certificate_for_another_name(make_client: MakeClient, tmp_path: Path) -> None:
    """It is refused though its authority is known, and nothing is tried again."""
    backend = make_client(ca_cert=str(tmp_path / "ca.pem"))
    with pytest.raises(RemoteError, match="not trusted") as caught:
        await reach(backend, tmp_path, "other.invalid", ssl.TLSVersion.TLSv1_3)
    assert not isinstance(caught.value, TransientError)
