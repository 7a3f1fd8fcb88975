"""The defaults of TLS: no old versions, certificates and names checked."""

from __future__ import annotations

import asyncio
import os
import ssl
import sys
from pathlib import Path

import pytest
import trustme

from netcache.errors import RemoteError, TransientError
from tests.support.http_rig import MakeClient


async def reach(backend: object, tmp_path: Path, name: str, newest: ssl.TLSVersion) -> None:
    """Ask a server for ``name`` that speaks nothing newer; raises what the client does."""
    authority = trustme.CA()
    await asyncio.to_thread(authority.cert_pem.write_to_path, str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version = newest
    authority.issue_cert(name).configure_cert(context)

    server = await asyncio.start_server(_answer, "127.0.0.1", 0, ssl=context)
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


_PROGRAM = """
import asyncio, ssl, sys
from netcache.backends.http import HttpBackend, HttpOptions
from netcache.backends.aiohttp_import import LaterContext
from aiohttp import connector
context = connector._SSL_CONTEXT_VERIFIED

async def main():
    backend = HttpBackend(HttpOptions(retries=0))
    told = []
    for url in sys.argv[1:]:
        try:
            await backend.stat(url)
            told.append("found")
        except Exception as error:
            told.append(type(error).__name__)
        told.append("later" if type(context) is LaterContext else "loaded")
    await backend.close()
    print(*told)

asyncio.run(main())
print("set_default_verify_paths" in vars(ssl.SSLContext))
"""


@pytest.mark.parametrize("trusted", [True, False])
async def test_the_certificates_of_the_system_are_loaded_with_the_first_https(
    tmp_path: Path, trusted: bool
) -> None:
    """Not for http, and they count all the same."""
    authority = trustme.CA()
    other = tmp_path / "other.pem"
    await asyncio.to_thread((authority if trusted else trustme.CA()).cert_pem.write_to_path, other)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    plain = await asyncio.start_server(_answer, "127.0.0.1", 0)
    secure = await asyncio.start_server(_answer, "127.0.0.1", 0, ssl=context)
    urls = [
        f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}/x"
        for scheme, server in (("http", plain), ("https", secure))
    ]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _PROGRAM, *urls),
        env=os.environ | {"SSL_CERT_FILE": str(other), "SSL_CERT_DIR": str(tmp_path)},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    for server in (plain, secure):
        server.close()
        await server.wait_closed()
    told, patched = out.decode().splitlines()
    assert told == f"found later {'found' if trusted else 'RemoteError'} loaded"
    assert patched == "False"


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 0\r\nETag: "a"\r\n\r\n')
    writer.close()
