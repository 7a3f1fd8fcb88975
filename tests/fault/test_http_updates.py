"""Updates of parts: one question, one request, and another when the first did not arrive."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import pytest

from netcache.backends.http_fields import sha256_field
from netcache.errors import ClosedError, NotOfferedError, RemoteError, TransientError
from netcache.spi import UpdateData
from tests.conformance.peers import read, version_of
from tests.conformance.updating_suite import changed, over
from tests.support.http_rig import DATA, MIB, MakeClient, Rig
from tests.support.proxy import Seen, answer, scripted_server
from tests.support.updates import ETAG, NEW, PATCH_TYPE, methods

pytestmark = pytest.mark.usefixtures("both_ways")


class TestLearning:
    """One question an origin, and only for writers."""

    async def test_readers_ask_nothing(self, rig: Rig) -> None:
        """No OPTIONS without a wish to update."""
        backend = rig.client()
        await read(backend, rig.url)
        await backend.stat(rig.url)
        await backend.list(rig.server.url)
        assert rig.log("OPTIONS") == []

    async def test_many_ask_once(self, rig: Rig) -> None:
        """Callers at the same time, and later ones, share the answer."""
        backend = rig.client()
        urls = [f"{rig.server.url}{number}" for number in range(20)]
        learnt = await asyncio.gather(*(backend.learn(url) for url in urls))
        assert set(learnt) == {await backend.learn(rig.url)}
        assert learnt[0].patch is True
        assert learnt[0].partial_put is True
        assert len(rig.log("OPTIONS")) == 1

    async def test_one_that_is_cancelled_leaves_the_question_to_the_next(self, rig: Rig) -> None:
        """The others still get their answer."""
        backend = rig.client()
        first = asyncio.ensure_future(backend.learn(rig.url))
        second = asyncio.ensure_future(backend.learn(rig.url))
        await asyncio.sleep(0)
        first.cancel()
        assert (await second).patch is True
        with pytest.raises(asyncio.CancelledError):
            await first

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 501])
    async def test_refusal_is_a_lasting_no(self, make_client: MakeClient, status: int) -> None:
        """A server that does not answer the question is not asked again."""

        async def script(
            seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            writer.write(answer(status))

        async with scripted_server(script) as server:
            backend = make_client()
            for _ in range(3):
                learnt = await backend.learn(server.url + "a")
                assert (learnt.patch, learnt.partial_put) == (False, False)
            assert methods(server) == ["OPTIONS"]

    @pytest.mark.parametrize("effects", [{"refuse": True}, {"status": 503}])
    async def test_failure_is_no_for_now(self, rig: Rig, effects: dict[str, Any]) -> None:
        """All who wait share the failed question; the next call asks again."""
        backend = rig.client()
        rig.faults(method=("OPTIONS",), **effects)
        learnt = await asyncio.gather(*(backend.learn(rig.url) for _ in range(5)))
        assert {one.patch for one in learnt} == {False}
        # A connection that was closed without an answer is tried once more by the session.
        assert len(rig.log("OPTIONS")) <= 2
        rig.faults()
        assert (await backend.learn(rig.url)).patch is True

    async def test_features_on_several_lines(self, make_client: MakeClient) -> None:
        """A list field may come in parts (RFC 9110 5.3)."""

        async def script(
            seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            lines = b"DAV: 1, 3\r\nDAV: extended-mkcol, sabredav-partialupdate\r\n"
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + lines + b"\r\n")

        async with scripted_server(script) as server:
            learnt = await make_client().learn(server.url)
            assert (learnt.patch, learnt.partial_put) == (True, False)

    async def test_closed(self, rig: Rig) -> None:
        """A closed backend says that it is closed, not "no"."""
        backend = rig.client()
        await backend.close()
        with pytest.raises(ClosedError):
            await backend.learn(rig.url)


class TestRequests:
    """What is on the wire."""

    async def test_one_update_is_one_request(self, rig: Rig) -> None:
        """After the question, that is; and it bears only the bytes that changed."""
        backend = rig.client()
        condition = await over(backend, rig.url)
        await backend.learn(rig.url)
        rig.server.clear_log()
        await backend.update(rig.url, 5, b"new", size=len(DATA), condition=condition)
        assert [(r["method"], r["status"], r["bytes_received"]) for r in rig.log()] == [
            ("PATCH", 204, 3)
        ]

    @pytest.mark.parametrize("method", ["PATCH", "PUT"])
    async def test_head_of_the_request(self, make_client: MakeClient, method: str) -> None:
        """Place, condition, length and digest."""
        offers = answer(200, Accept_Patch=PATCH_TYPE)
        if method == "PUT":
            offers = answer(200, X_Accept_Partial_Put="bytes")

        async def script(
            seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            if seen.method == method:
                assert await reader.readexactly(4) == b"abcd"
                writer.write(answer(204, ETag='"v2"'))
            elif seen.method == "OPTIONS":
                writer.write(offers)
            else:
                writer.write(answer(200, ETag='"v1"'))  # HEAD: size 0

        async with scripted_server(script) as server:
            data: UpdateData = [memoryview(b"ab"), b"", memoryview(b"cd")]
            reply = await make_client().update(server.url + "a", 10, data, size=0, condition=ETAG)
        assert methods(server) == ["OPTIONS", "HEAD", method]
        head = server.seen[-1].headers
        assert head["content-length"] == "4"
        assert "transfer-encoding" not in head
        assert head["if-match"] == '"v1"'
        assert head["content-digest"] == sha256_field(hashlib.sha256(b"abcd").digest())
        if method == "PATCH":
            assert head["content-type"] == "application/x-sabredav-partialupdate"
            assert head["x-update-range"] == "bytes=10-13"
        else:
            assert head["content-range"] == "bytes 10-13/14"
        # The server is not known to check If-Match: others may have come in between.
        assert reply.version is None

    @pytest.mark.parametrize("status", [405, 415, 501])
    async def test_another_server_in_its_place_gets_no_partial_put(
        self, make_client: MakeClient, status: int
    ) -> None:
        """One that minds no Content-Range would take the part for the whole."""

        async def script(
            seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            await reader.readexactly(int(seen.headers.get("content-length", "0")))
            statuses = {"PATCH": status, "OPTIONS": 200, "HEAD": 200, "PUT": 204}
            writer.write(answer(statuses[seen.method], ETag='"v1"'))

        async with scripted_server(script) as server:
            backend = make_client()
            origin = server.url.rstrip("/")
            known = {"patch": True, "partial_put": True, "learnt_s": 1000.0}
            backend.recall({origin: known}, 2000.0)
            with pytest.raises(NotOfferedError):
                await backend.update(server.url + "a", 0, b"new", size=0, condition=ETAG)
        assert methods(server) == ["HEAD", "PATCH", "OPTIONS", "HEAD"]

    async def test_a_refused_patch_lets_ask_for_what_was_not_remembered(self, rig: Rig) -> None:
        """The server in its place takes parts another way, and says so."""
        backend, later = rig.client(), rig.client()
        await backend.learn(rig.url)
        later.recall(backend.remembered(1000.0), 2000.0)
        assert later.capabilities(rig.url).partial_put is None
        rig.faults(method=("PATCH",), status=405)
        rig.server.clear_log()
        condition = await over(later, rig.url)
        await later.update(rig.url, 0, b"new", size=len(DATA), condition=condition)
        asked = [record["method"] for record in rig.log()]
        assert asked[-3:] == ["PATCH", "OPTIONS", "PUT"]
        assert await read(later, rig.url) == changed(DATA, 0, b"new")

    @pytest.mark.parametrize("status", [405, 415, 501])
    async def test_refused_patch_becomes_a_partial_put(self, rig: Rig, status: int) -> None:
        """A server that announces more than it does; it is tried once."""
        backend = rig.client()
        rig.faults(method=("PATCH",), status=status)
        for start in (0, 100):
            condition = await over(backend, rig.url)
            await backend.update(rig.url, start, b"new", size=len(DATA), condition=condition)
        assert (len(rig.log("PATCH")), len(rig.log("PUT"))) == (1, 2)
        expected = changed(changed(DATA, 0, b"new"), 100, b"new")
        assert await read(backend, rig.url) == expected

    async def test_refused_both_ways(self, rig: Rig) -> None:
        """Then it is not offered; and this is remembered."""
        backend = rig.client()
        rig.faults(method=("PATCH", "PUT"), status=405)
        condition = await over(backend, rig.url)
        for _ in range(2):
            with pytest.raises(NotOfferedError):
                await backend.update(rig.url, 0, b"x", size=len(DATA), condition=condition)
        assert (len(rig.log("PATCH")), len(rig.log("PUT"))) == (1, 1)

    async def test_server_that_leaves_no_gap(self, rig: Rig) -> None:
        """416 behind the end: not offered; before the end: an error like others."""
        backend = rig.client()
        rig.faults(method=("PATCH",), status=416)
        condition = await over(backend, rig.url)
        with pytest.raises(NotOfferedError):
            await backend.update(rig.url, len(DATA) + 1, b"x", size=len(DATA), condition=condition)
        with pytest.raises(RemoteError) as caught:
            await backend.update(rig.url, 0, b"x", size=len(DATA), condition=condition)
        assert not isinstance(caught.value, NotOfferedError)

    async def test_rate_limit_holds_for_updates(self, rig: Rig) -> None:
        """Bytes of updates are counted like those of uploads."""
        backend = rig.client(bandwidth_limit=400 * MIB)
        condition = await over(backend, rig.url)
        await backend.update(rig.url, 7, NEW, size=len(DATA), condition=condition)
        assert await read(backend, rig.url) == changed(DATA, 7, NEW)


class TestRetries:
    """A conditional request may be sent again."""

    @pytest.mark.parametrize(
        "effects",
        [
            {"refuse": True},
            {"status": 503},
            {"upload_cut_after": MIB},
            {"upload_cut_after": MIB, "reset": True},
        ],
    )
    async def test_update_that_did_not_arrive_is_sent_again(
        self, rig: Rig, effects: dict[str, Any]
    ) -> None:
        """Two failures, then it is done, once; and its version is told."""
        backend = rig.client()
        condition = await over(backend, rig.url)
        rig.faults(method=("PATCH",), **effects, count=2)
        reply = await backend.update(rig.url, 7, NEW, size=len(DATA), condition=condition)
        assert reply.version == await version_of(backend, rig.url)
        assert await read(backend, rig.url) == changed(DATA, 7, NEW)

    async def test_retries_end(self, rig: Rig) -> None:
        """A server that stays away is an error, and nothing has changed."""
        backend = rig.client()
        condition = await over(backend, rig.url)
        rig.faults(method=("PATCH",), status=503)
        with pytest.raises(TransientError):
            await backend.update(rig.url, 7, NEW, size=len(DATA), condition=condition)
        assert len(rig.log("PATCH")) == 3
        rig.faults()
        assert await read(backend, rig.url) == DATA
