"""The bodies of updates of parts: kept in pieces, not sent in vain, and checked on arrival."""

from __future__ import annotations

import asyncio
import hashlib
import tracemalloc
from contextlib import suppress

import pytest

from netcache._core.retry import RetryPolicy
from netcache.backends.http import HttpBackend
from netcache.errors import ConflictError, IntegrityError, RemoteTimeoutError
from netcache_server import FaultRule
from tests.conformance.peers import pattern, read
from tests.conformance.updating_suite import over
from tests.support.http_rig import DATA, MIB, MakeClient, Rig
from tests.support.proxy import Seen, answer, scripted_server
from tests.support.updates import ETAG, NEW, answers_questions, methods

pytestmark = pytest.mark.usefixtures("both_ways")


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
            if answers_questions(seen, writer):
                return
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
            if answers_questions(seen, writer):
                return
            if "expect" in seen.headers:
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
            if answers_questions(seen, writer):
                return
            await asyncio.Event().wait()

        async with scripted_server(script) as server:
            backend = make_client(timeout_s=0.6, retry=RetryPolicy(attempts=1))
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
            if answers_questions(seen, writer):
                return
            if begun.is_set():
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
