"""Updates of parts over servers and networks that fail: no wrong, no lost, no half bytes."""

from __future__ import annotations

import asyncio
import hashlib
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from netcache._core.retry import RetryPolicy
from netcache.backends.http import HttpBackend
from netcache.backends.http_fields import sha256_field
from netcache.errors import (
    ClosedError,
    ConflictError,
    IntegrityError,
    NotOfferedError,
    RemoteError,
    RemoteTimeoutError,
    TransientError,
)
from netcache.spi import UpdateData, UploadCondition
from netcache_server import FaultRule
from tests.conformance.peers import pattern, read, version_of
from tests.conformance.updating_suite import changed, over
from tests.support.http_rig import DATA, MIB, MakeClient, Rig
from tests.support.proxy import Scripted, Seen, answer, scripted_server

NEW = pattern(2 * MIB, seed=5)
ETAG = UploadCondition(if_match='"v1"')
PATCH_TYPE = "application/x-sabredav-partialupdate"


def methods(server: Scripted) -> list[str]:
    """What a scripted server was asked."""
    return [seen.method for seen in server.seen]


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


class TestLostReplies:
    """The update was made, and nobody said so."""

    @pytest.mark.parametrize("start", [0, 7, len(DATA) - 3, len(DATA) + 5])
    @pytest.mark.parametrize("way", ["PATCH", "PUT"])
    async def test_update_is_no_conflict_with_itself(self, rig: Rig, start: int, way: str) -> None:
        """The retry gets 412; the bytes at their place and the size show that it was done.

        Which version the rest of it belongs to is not proved by that, and so not told.
        """
        backend = rig.client()
        condition = await over(backend, rig.url)
        if way == "PUT":
            rig.faults(method=("PATCH",), status=405)
            await backend.learn(rig.url)
        rules = [FaultRule(method=(way,), lose_reply=True, count=1)]
        if way == "PUT":
            rules.append(FaultRule(method=("PATCH",), status=405))
        rig.server.faults.set(rules)
        reply = await backend.update(rig.url, start, NEW, size=len(DATA), condition=condition)
        assert (reply.created, reply.version) == (False, None)
        assert [r["status"] for r in rig.log(way)][-1] == 412
        read_bytes = sum(r["bytes_sent"] for r in rig.log("GET"))
        assert read_bytes == len(NEW)
        assert await read(backend, rig.url) == changed(DATA, start, NEW)


class Store:
    """A server of one file (None: gone), which may or may not be known to mind preconditions.

    ``refuse`` and ``lose_replies`` count down; ``afterwards`` is done after each PATCH.
    """

    def __init__(self, data: bytes | None, *, minds: bool = False) -> None:
        self.data = data
        self.version = 1
        self.minds = minds
        self.lose_replies = 0
        self.refuse = 0
        self.afterwards: Callable[[], None] = lambda: None

    def store(self, data: bytes | None) -> None:
        """A new version."""
        self.data = data
        self.version += 1

    async def __call__(
        self, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Answer one request."""
        body = await reader.readexactly(int(seen.headers.get("content-length", "0")))
        etag = f'"v{self.version}"'
        if seen.method == "OPTIONS":
            program = "netcache_server" if self.minds else "other"
            writer.write(answer(200, Accept_Patch=PATCH_TYPE, Server=program))
        elif seen.method == "PATCH":
            self._patch(seen, body, writer)
            self.afterwards()
        elif self.data is None:
            writer.write(answer(404))
        elif seen.method == "HEAD":
            writer.write(answer(200, ETag=etag, Content_Length=str(len(self.data))))
        else:
            low, high = seen.headers["range"].removeprefix("bytes=").split("-")
            start, end = int(low), int(high) + 1
            where = f"bytes {start}-{end - 1}/{len(self.data)}"
            writer.write(answer(206, self.data[start:end], ETag=etag, Content_Range=where))

    def _patch(self, seen: Seen, body: bytes, writer: asyncio.StreamWriter) -> None:
        if self.refuse:
            self.refuse -= 1
            writer.close()
            return
        if self.data is None or (self.minds and seen.headers["if-match"] != f'"v{self.version}"'):
            writer.write(answer(404 if self.data is None else 412))
            return
        start = int(seen.headers["x-update-range"].removeprefix("bytes=").partition("-")[0])
        self.store(changed(self.data, start, body))
        if self.lose_replies:
            self.lose_replies -= 1
            writer.close()
            return
        writer.write(answer(204, ETag=f'"v{self.version}"'))


@pytest.mark.parametrize("minds", [True, False])
@pytest.mark.parametrize(
    "other",
    [
        pytest.param(b"9876543210", id="other bytes"),
        pytest.param(b"01xy456789!", id="our bytes, another size"),
        pytest.param(b"", id="empty"),
        pytest.param(None, id="gone"),
    ],
)
@pytest.mark.parametrize("lost", ["reply", "request"])
async def test_another_writer_came_after_a_doubtful_attempt(
    make_client: MakeClient, lost: str, other: bytes | None, minds: bool
) -> None:
    """What is there then is not what was sent: a conflict, and it stays."""
    store = Store(b"0123456789", minds=minds)
    store.afterwards = lambda: store.store(other)
    store.lose_replies, store.refuse = (1, 0) if lost == "reply" else (0, 1)
    async with scripted_server(store) as server:
        with pytest.raises(ConflictError):
            await make_client().update(server.url + "a", 2, b"xy", size=10, condition=ETAG)
    assert store.data == other
    # A server that does not check the condition is not sent a second attempt.
    assert methods(server).count("PATCH") == (2 if minds else 1)


class TestServersWithoutConditions:
    """The current version is looked at before every attempt."""

    async def test_other_version_is_never_written_over(self, make_client: MakeClient) -> None:
        """Neither another tag nor another size."""
        store = Store(b"0123456789")
        async with scripted_server(store) as server:
            backend = make_client()
            for condition, size in ((UploadCondition(if_match='"v0"'), 10), (ETAG, 9)):
                with pytest.raises(ConflictError):
                    await backend.update(server.url + "a", 0, b"x", size=size, condition=condition)
            assert "PATCH" not in methods(server)

    async def test_attempt_that_did_not_arrive(self, make_client: MakeClient) -> None:
        """The version is still the expected one: it is sent again."""
        store = Store(b"0123456789")
        store.refuse = 1
        async with scripted_server(store) as server:
            reply = await make_client().update(server.url + "a", 2, b"xy", size=10, condition=ETAG)
        assert store.data == b"01xy456789"
        assert reply.version is None
        assert methods(server).count("PATCH") == 2

    async def test_attempt_whose_reply_was_lost(self, make_client: MakeClient) -> None:
        """The bytes are there: done, and not sent again."""
        store = Store(b"0123456789")
        store.lose_replies = 1
        async with scripted_server(store) as server:
            await make_client().update(server.url + "a", 2, b"xy", size=10, condition=ETAG)
        assert store.data == b"01xy456789"
        assert methods(server).count("PATCH") == 1


class TestIntegrity:
    """Bytes that change on the way."""

    @pytest.mark.parametrize("way", ["PATCH", "PUT"])
    async def test_spoilt_bytes_are_not_stored(
        self, rig: Rig, make_client: MakeClient, way: str
    ) -> None:
        """The server finds that the digest does not fit, and says so."""
        port = int(rig.server.url.rstrip("/").rpartition(":")[2])
        rules = [] if way == "PATCH" else [FaultRule(method=("PATCH",), status=405)]
        rig.server.faults.set(rules)

        async def spoil(
            seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            body = await reader.readexactly(int(seen.headers.get("content-length", "0")))
            if body:
                body = body[:-1] + bytes([body[-1] ^ 1])
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
            fields = seen.headers | {"connection": "close"}
            lines = [f"{seen.method} {seen.target} HTTP/1.1"]
            lines += [f"{name}: {value}" for name, value in fields.items()]
            far_writer.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)
            writer.write(await far_reader.read())
            far_writer.close()
            writer.close()

        async with scripted_server(spoil) as server:
            backend: HttpBackend = make_client()
            condition = await over(backend, server.url + "a.bin")
            with pytest.raises(IntegrityError):
                await backend.update(
                    server.url + "a.bin", 7, NEW[:1000], size=len(DATA), condition=condition
                )
        assert await read(rig.client(), rig.url) == DATA


class TestLargeUpdates:
    """Memory, refusals before the body, servers that stand still, cancellation."""

    async def test_pieces_are_not_joined(self, make_client: MakeClient) -> None:
        """An update of 32 MiB in many pieces costs a few pieces of memory."""
        digest = hashlib.sha256()

        async def script(
            seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            if seen.method == "OPTIONS":
                writer.write(answer(200, Accept_Patch=PATCH_TYPE))
            elif seen.method == "HEAD":
                writer.write(answer(200, ETag='"v1"'))
            else:
                if "expect" in seen.headers:
                    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                left = int(seen.headers["content-length"])
                while left:
                    data = await reader.read(min(left, 65_536))
                    digest.update(data)
                    left -= len(data)
                writer.write(answer(204, ETag='"v2"'))

        whole = memoryview(bytearray(pattern(32 * MIB, seed=3)))
        pieces = [whole[start : start + 40_000] for start in range(0, len(whole), 40_000)]
        async with scripted_server(script) as server:
            backend = make_client()
            await backend.update(server.url + "a", 0, [b"x"], size=0, condition=ETAG)
            digest = hashlib.sha256()
            tracemalloc.start()
            try:
                await backend.update(server.url + "a", 5, pieces, size=0, condition=ETAG)
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
        assert digest.digest() == hashlib.sha256(whole).digest()
        assert peak < 4 * MIB

    async def test_refused_before_the_body(self, rig: Rig) -> None:
        """A large update of another version costs no bytes."""
        backend = rig.client()
        await backend.learn(rig.url)
        with pytest.raises(ConflictError):
            await backend.update(rig.url, 0, NEW, size=len(DATA), condition=ETAG)
        (record,) = rig.log("PATCH")
        assert (record["status"], record["bytes_received"]) == (412, 0)

    async def test_server_that_knows_no_expectations(self, make_client: MakeClient) -> None:
        """417: the body is sent without asking first."""

        async def script(
            seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            if seen.method == "OPTIONS":
                writer.write(answer(200, Accept_Patch=PATCH_TYPE))
            elif seen.method == "HEAD":
                writer.write(answer(200, ETag='"v1"'))
            elif "expect" in seen.headers:
                writer.write(answer(417, Connection="close"))
                writer.close()
            else:
                await reader.readexactly(int(seen.headers["content-length"]))
                writer.write(answer(204))

        async with scripted_server(script) as server:
            await make_client().update(server.url + "a", 0, NEW, size=0, condition=ETAG)
            assert methods(server).count("PATCH") == 2

    async def test_server_that_takes_no_byte(self, make_client: MakeClient) -> None:
        """It is given up, and called by its name."""

        async def script(
            seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            if seen.method == "OPTIONS":
                writer.write(answer(200, Accept_Patch=PATCH_TYPE))
            elif seen.method == "HEAD":
                writer.write(answer(200, ETag='"v1"'))
            else:
                await asyncio.Event().wait()

        async with scripted_server(script) as server:
            backend = make_client(timeout_s=0.2, retry=RetryPolicy(attempts=1))
            with pytest.raises(RemoteTimeoutError, match="update of"):
                await backend.update(server.url + "a", 0, [NEW] * 16, size=0, condition=ETAG)

    async def test_cancelled(self, make_client: MakeClient) -> None:
        """The exchange gives its connection up before all was sent, and the backend goes on."""
        begun = asyncio.Event()
        got = 0

        async def script(
            seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            nonlocal got
            if seen.method == "OPTIONS":
                writer.write(answer(200, Accept_Patch=PATCH_TYPE))
            elif seen.method == "HEAD":
                writer.write(answer(200, ETag='"v1"'))
            elif begun.is_set():
                await reader.readexactly(1)
                writer.write(answer(204))
            else:
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                got = len(await reader.readexactly(65_536))
                begun.set()
                await cancelled.wait()
                with suppress(ConnectionError):
                    while data := await reader.read(65_536):
                        got += len(data)
                gone.set()

        cancelled, gone = asyncio.Event(), asyncio.Event()
        async with scripted_server(script) as server:
            backend, pieces = make_client(), [NEW] * 32
            task = asyncio.ensure_future(
                backend.update(server.url + "a", 0, pieces, size=0, condition=ETAG)
            )
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            cancelled.set()
            await gone.wait()
            assert got < 32 * len(NEW)
            await backend.update(server.url + "a", 0, b"x", size=0, condition=ETAG)
