"""Redirects, credentials, proxies, certificates: who learns what."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path

import pytest

from netcache._core.extent import Extent
from netcache.errors import (
    AccessDeniedError,
    RemoteError,
    RemoteProtocolError,
    TransientError,
    UsageError,
)
from tests.conformance.peers import Bytes, Collector
from tests.support.http_rig import DATA, MakeClient, Rig, certificate, running_rig
from tests.support.proxy import Script, Seen, always, answer, running_proxy, scripted_server

pytestmark = pytest.mark.usefixtures("both_ways")

SECRETS = ("authorization", "cookie", "x-secret", "proxy-authorization")


def basic(user: str, password: str) -> str:
    """The field value for a user and password."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def pointing_to(target: str, status: int = 302) -> Script:
    """Redirects every request to ``target``."""
    return always(answer(status, Location=target))


async def read(rig_client: object, url: str, extent: Extent | None = None) -> bytes:
    """The bytes."""
    collector = Collector()
    reply = await rig_client.open_read(url, extent)  # type: ignore[attr-defined]
    await reply.receive(collector)
    return bytes(collector.data)


async def sent(
    make_client: MakeClient, *, pair: tuple[str, str] | None = None, **options: object
) -> str | None:
    """What a server sees as credentials; ``pair`` is given for its origin."""
    async with scripted_server(always(answer(200, b"ok"))) as server:
        backend = make_client(**options)
        if pair is not None:
            backend.add_credentials(server.url.rstrip("/"), *pair)
            backend.add_credentials("http://other.invalid", "eve", "trap")
        await read(backend, server.url)
        return server.seen[0].headers.get("authorization")


class TestRedirects:
    """Followed within limits."""

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    async def test_reads_are_followed_with_range_and_condition(self, rig: Rig, status: int) -> None:
        """What was asked is asked of the target too."""
        backend = rig.client()
        info = await backend.stat(rig.url)
        assert info is not None
        async with scripted_server(pointing_to(rig.url, status)) as door:
            reply = await backend.open_read(door.url + "x", Extent(10, 20), expected=info.version)
            assert reply.extent == (10, 20)
            await reply.close()
        asked = rig.log("GET")[-1]
        assert asked["range"] == "bytes=10-19"
        assert asked["if_match"] == info.etag

    async def test_relative_targets(self, rig: Rig) -> None:
        """A path alone stays at the origin."""
        rig.faults(path="/old/*", redirect="../a.bin?x=1#part")
        assert await read(rig.client(), rig.server.url + "old/name") == DATA

    async def test_loops_end(self, make_client: MakeClient) -> None:
        """A bounded number of hops, then a clear error."""
        async with scripted_server(pointing_to("/again")) as door:
            backend = make_client()
            with pytest.raises(RemoteProtocolError, match="more than 10 redirects"):
                await backend.open_read(door.url)
            assert len(door.seen) == 11

    @pytest.mark.parametrize("target", ["ftp://host/x", "http://[bad/", "http://ho st/"])
    async def test_targets_that_cannot_be_followed(
        self, make_client: MakeClient, target: str
    ) -> None:
        """They are errors of the server."""
        async with scripted_server(pointing_to(target)) as door:
            backend = make_client()
            with pytest.raises(RemoteProtocolError, match="redirected"):
                await backend.open_read(door.url)

    async def test_from_https_to_http_is_refused(self, tmp_path: Path, rig: Rig) -> None:
        """What began securely does not go on in the open."""
        pem, authority = certificate(tmp_path)
        served = tmp_path / "secure"
        await asyncio.to_thread(served.mkdir)
        async with running_rig(served, tls_cert=pem, tls_key=pem) as secure:
            secure.faults(redirect=rig.url)
            with pytest.raises(RemoteProtocolError, match="from https to http"):
                await secure.client(ca_cert=authority).open_read(secure.url)
        assert rig.log() == []

    async def test_credentials_stay_at_their_origin(self, make_client: MakeClient) -> None:
        """None of the caller's secrets reaches the target at another origin, nor do those that
        stand in the redirect itself."""
        async with scripted_server(always(answer(200, b"ok"))) as far:
            target = far.url.replace("http://", "http://eve:trap@") + "x"
            async with scripted_server(pointing_to(target)) as near:
                for options in (
                    {"auth": "me:secret"},
                    {"token": "secret"},
                    {"headers": {"Authorization": "x", "X-Secret": "y", "Cookie": "z"}},
                ):
                    backend = make_client(**options)
                    backend.add_credentials(near.url.rstrip("/"), "me", "secret")
                    assert await read(backend, near.url) == b"ok"
            assert all("authorization" in seen.headers for seen in near.seen)
            assert not any(name in seen.headers for seen in far.seen for name in SECRETS)
            assert not any("trap" in str(seen) for seen in far.seen)

    async def test_credentials_stay_through_a_redirect_at_the_same_origin(
        self, make_client: MakeClient
    ) -> None:
        """The same origin is the same."""

        async def script(
            seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            done = seen.target == "/b"
            writer.write(answer(200, b"ok") if done else answer(302, Location="/b"))

        async with scripted_server(script) as server:
            backend = make_client(token="secret")
            assert await read(backend, server.url + "a") == b"ok"
            assert [s.headers["authorization"] for s in server.seen] == ["Bearer secret"] * 2

    async def test_uploads_follow_only_what_keeps_the_method(self, rig: Rig) -> None:
        """307 moves a PUT; 301 and 302 would make something else of it."""
        backend = rig.client()
        rig.faults(method=("PUT",), path="/old", redirect="/new", redirect_status=307)
        await backend.put(rig.server.url + "old", Bytes(b"moved"))
        assert await read(backend, rig.server.url + "new") == b"moved"
        for status in (301, 302, 303):
            rig.faults(method=("PUT", "DELETE"), redirect="/new", redirect_status=status)
            with pytest.raises(RemoteError, match="use that URL"):
                await backend.put(rig.server.url + "old", Bytes(b"x"))
            with pytest.raises(RemoteError, match="use that URL"):
                await backend.delete(rig.server.url + "old")


class TestCredentials:
    """Which ones are used."""

    async def test_order(self, make_client: MakeClient) -> None:
        """The URL's own, the token, user and password, the caller's field."""
        fields = {"Authorization": "Own x"}
        assert await sent(make_client) is None
        assert await sent(make_client, headers=fields) == "Own x"
        assert await sent(make_client, headers=fields, auth="me:pä:ss") == basic("me", "pä:ss")
        assert await sent(make_client, headers=fields, auth="me:x", token="t") == "Bearer t"
        assert await sent(make_client, token="t", pair=("u", "p")) == basic("u", "p")

    async def test_netrc(
        self, make_client: MakeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The file named, or the user's own; only where nothing else is given."""
        path = tmp_path / "netrc"
        await asyncio.to_thread(path.write_text, "machine 127.0.0.1 login me password secret\n")
        await asyncio.to_thread(path.chmod, 0o600)
        assert await sent(make_client, netrc=str(path)) == basic("me", "secret")
        monkeypatch.setenv("NETRC", str(path))
        assert await sent(make_client, netrc=True) == basic("me", "secret")
        assert await sent(make_client, netrc=False) is None
        assert await sent(make_client, netrc=True, token="t") == "Bearer t"

    async def test_netrc_default_entry_is_not_for_redirects(
        self, make_client: MakeClient, tmp_path: Path
    ) -> None:
        """The default entry is for hosts that the user names."""
        path = tmp_path / "netrc"
        await asyncio.to_thread(path.write_text, "default login me password secret\n")
        async with (
            scripted_server(always(answer(200, b"ok"))) as far,
            scripted_server(pointing_to(far.url)) as near,
        ):
            backend = make_client(netrc=str(path))
            assert await read(backend, near.url) == b"ok"
        assert near.seen[0].headers["authorization"] == basic("me", "secret")
        assert "authorization" not in far.seen[0].headers

    async def test_unusable_netrc(self, make_client: MakeClient, tmp_path: Path) -> None:
        """A file that is named must be there and make sense."""
        with pytest.raises(UsageError, match="netrc"):
            make_client(netrc=str(tmp_path / "none"))
        path = tmp_path / "netrc"
        await asyncio.to_thread(path.write_text, "nonsense here\n")
        with pytest.raises(UsageError, match="netrc"):
            make_client(netrc=str(path))

    async def test_wrong_credentials(self, tmp_path: Path) -> None:
        """The server refuses, and the error says what to give."""
        async with running_rig(tmp_path, user="me:secret") as rig:
            assert await read(rig.client(auth="me:secret"), rig.url) == DATA
            for backend in (rig.client(auth="me:wrong"), rig.client()):
                with pytest.raises(AccessDeniedError, match="credentials"):
                    await backend.open_read(rig.url)

    async def test_messages_bear_no_credentials(self, make_client: MakeClient) -> None:
        """Not even when a URL with credentials is passed in."""
        backend = make_client(retry=make_client().retry._replace(attempts=1))
        with pytest.raises(TransientError) as caught:
            await backend.open_read("http://me:secret@127.0.0.1:9/x")
        assert "secret" not in str(caught.value) + repr(caught.value) + str(caught.value.url)

    @pytest.mark.parametrize("bad", ["a\nb", "a\r\nEvil: b", "a\0", "secret\n"])
    async def test_credentials_and_fields_cannot_begin_others(
        self, make_client: MakeClient, bad: str
    ) -> None:
        """A line break in a token or a field is an error of usage, which does not repeat it."""
        for options in ({"token": bad}, {"headers": {"X": bad}}, {"headers": {bad: "x"}}):
            with pytest.raises(UsageError, match="control character") as caught:
                make_client(**options)
            assert "\n" not in str(caught.value)
            assert "secret" not in str(caught.value) or bad in options.get("headers", {})
        assert await sent(make_client, auth=bad + ":x") == basic(bad, "x")

    async def test_we_say_who_we_are(self, rig: Rig) -> None:
        """The user agent names the program and its version."""
        await rig.client().stat(rig.url)
        assert str(rig.log()[0]["user_agent"]).startswith("netcache/")


# The proxy of the test is cut off in the middle of a TLS stream: asyncio warns of its writer when
# the collector happens to find it before the loop has closed it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
class TestProxies:
    """From the environment."""

    @pytest.fixture(autouse=True)
    def no_proxies(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nothing of the machine's own settings."""
        for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(name.upper(), raising=False)

    async def test_forwarding(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        """Plain HTTP is asked of the proxy by its whole URL; uploads pass too."""
        async with running_proxy() as proxy:
            monkeypatch.setenv("HTTP_PROXY", proxy.url)
            backend = rig.client()
            assert await read(backend, rig.url, Extent(5, 200_000)) == DATA[5:200_000]
            assert proxy.seen[0].target == rig.url
            await backend.put(rig.server.url + "up", Bytes(DATA))
            assert await read(backend, rig.server.url + "up") == DATA

    async def test_tunnel(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """HTTPS goes through CONNECT, and what is inside is not shown to the proxy."""
        pem, authority = certificate(tmp_path)
        served = tmp_path / "secure"
        await asyncio.to_thread(served.mkdir)
        async with (
            running_proxy(basic("p", "q")) as proxy,
            running_rig(served, tls_cert=pem, tls_key=pem, user="me:secret") as rig,
        ):
            monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("//", "//p:q@"))
            backend = rig.client(ca_cert=authority, auth="me:secret")
            assert await read(backend, rig.url) == DATA
            assert await read(backend, rig.url, Extent(1, 9)) == DATA[1:9]
            await backend.close()
            assert [seen.method for seen in proxy.seen] == ["CONNECT"]
            assert "authorization" not in proxy.seen[0].headers

    async def test_credentials_of_the_proxy(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """They go to the proxy and not to the server; without them it refuses."""
        async with running_proxy(basic("p", "q")) as proxy:
            monkeypatch.setenv("HTTP_PROXY", proxy.url.replace("//", "//p:q@"))
            assert await read(rig.client(), rig.url) == DATA
            monkeypatch.setenv("HTTP_PROXY", proxy.url)
            with pytest.raises(AccessDeniedError, match="proxy"):
                await rig.client().open_read(rig.url)

    async def test_exceptions(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        """``NO_PROXY`` names hosts that are asked directly."""
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9/")
        monkeypatch.setenv("NO_PROXY", "example.com,127.0.0.1")
        assert await read(rig.client(), rig.url) == DATA

    async def test_unusable_proxy(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        """What is no HTTP proxy is named, without its credentials."""
        monkeypatch.setenv("ALL_PROXY", "socks5://p:q@127.0.0.1:9/")
        with pytest.raises(UsageError, match=r"'socks5://127\.0\.0\.1:9/'"):
            await rig.client().open_read(rig.url)


class TestTls:
    """Whom we believe."""

    async def test_authorities(self, tmp_path: Path) -> None:
        """An unknown authority is refused with advice; a named one, or none at all, is not."""
        pem, authority = certificate(tmp_path)
        served = tmp_path / "secure"
        await asyncio.to_thread(served.mkdir)
        async with running_rig(served, tls_cert=pem, tls_key=pem) as rig:
            assert await read(rig.client(ca_cert=authority), rig.url) == DATA
            assert await read(rig.client(insecure=True), rig.url) == DATA
            with pytest.raises(RemoteError, match="--ca-cert") as caught:
                await rig.client().open_read(rig.url)
            assert not isinstance(caught.value, TransientError)

    async def test_unusable_authority_file(self, rig: Rig, tmp_path: Path) -> None:
        """A file that is not there is named."""
        with pytest.raises(UsageError, match="certificate file"):
            await rig.client(ca_cert=str(tmp_path / "none")).open_read(rig.url)

    async def test_https_to_a_plain_server(self, rig: Rig) -> None:
        """No secure connection is a lasting failure."""
        with pytest.raises(RemoteError, match="no secure connection"):
            await rig.client().open_read(rig.url.replace("http:", "https:"))
