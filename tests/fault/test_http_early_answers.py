"""Uploads that the server answers early, or never, and what becomes of their sources."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from netcache._core.retry import RetryPolicy
from netcache.backends.http import HttpBackend
from netcache.errors import (
    ConflictError,
    RemoteError,
    RemoteTimeoutError,
    TransientError,
)
from netcache.spi import UploadCondition
from tests.conformance.peers import Bytes, Collector, pattern
from tests.support.http_rig import DATA, MIB, MakeClient, Rig, running_rig
from tests.support.proxy import Seen, answer, scripted_server

pytestmark = pytest.mark.usefixtures("both_ways")

ABSENT = UploadCondition(if_absent=True)
ONCE = RetryPolicy(attempts=1)


class TrackedBytes(Bytes):
    """Counts the passes that are open."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.open_passes = self.most_open = 0

    async def chunks(self) -> AsyncIterator[bytes | memoryview]:
        """As before, and counted."""
        self.open_passes += 1
        self.most_open = max(self.most_open, self.open_passes)
        try:
            async for chunk in super().chunks():
                await asyncio.sleep(0)
                yield chunk
        finally:
            self.open_passes -= 1


async def stored(backend: HttpBackend, url: str) -> bytes:
    """What is at the server."""
    collector = Collector()
    await (await backend.open_read(url)).receive(collector)
    return bytes(collector.data)


def up(rig: Rig) -> str:
    """Where these tests upload to."""
    return rig.server.url + "up"


class TestEarlyAnswers:
    """The server knows before it has all of the body."""

    @pytest.mark.parametrize("known", [True, False])
    async def test_failed_condition_is_heard_before_the_body(self, rig: Rig, known: bool) -> None:
        """A large conditional upload asks first: no byte of it is read when it is not welcome."""
        backend = rig.client()
        assert await backend.stat(rig.url) is not None
        body = Bytes(DATA, size=len(DATA) if known else None)
        with pytest.raises(ConflictError):
            await backend.put(rig.url, body, condition=ABSENT)
        assert body.passes == 0
        assert [r["status"] for r in rig.log("PUT")] == [412]

    async def test_too_large(self, tmp_path: Path) -> None:
        """413 comes out though the body is still being sent."""
        async with running_rig(tmp_path, max_body_bytes=MIB) as rig:
            with pytest.raises(RemoteError, match="too large"):
                await rig.client(retry=ONCE).put(
                    up(rig), Bytes(pattern(24 * MIB)), condition=ABSENT
                )
            with pytest.raises(RemoteError):
                await rig.client(retry=ONCE).put(up(rig), Bytes(pattern(24 * MIB)))

    async def test_server_that_never_says_continue(self, make_client: MakeClient) -> None:
        """After a moment the body is sent all the same."""

        async def script(
            seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            if seen.method == "HEAD":
                writer.write(answer(404))
                return
            assert seen.headers["expect"] == "100-continue"
            body = await reader.readexactly(int(seen.headers["content-length"]))
            writer.write(answer(201, ETag=f'"{len(body)}"'))

        async with scripted_server(script) as server:
            reply = await make_client().put(server.url + "up", Bytes(DATA), condition=ABSENT)
            assert reply.version is not None
            assert reply.version.size == len(DATA)

    async def test_server_that_does_not_know_expect(self, make_client: MakeClient) -> None:
        """417: the same again without asking."""

        async def script(
            seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            if seen.method == "HEAD":
                writer.write(answer(404))
            elif "expect" in seen.headers:
                writer.write(answer(417, Connection="close"))
                writer.close()
            else:
                await reader.readexactly(int(seen.headers["content-length"]))
                writer.write(answer(201))

        async with scripted_server(script) as server:
            reply = await make_client().put(server.url + "up", Bytes(DATA), condition=ABSENT)
            assert (reply.created, reply.version) == (True, None)

    async def test_success_before_the_body_is_no_success(self, make_client: MakeClient) -> None:
        """A server that has it before it was sent does not have it."""

        async def script(
            seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            writer.write(answer(201))
            await writer.drain()
            await asyncio.Event().wait()

        async with scripted_server(script) as server:
            with pytest.raises(RemoteError):
                await make_client().put(server.url + "up", Bytes(pattern(24 * MIB)))

    async def test_server_that_stops_reading(self, make_client: MakeClient) -> None:
        """An upload that stands still times out, though aiohttp itself would wait for ever."""

        async def script(
            seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            await asyncio.Event().wait()

        async with scripted_server(script) as server:
            backend = make_client(timeout_s=0.3, retry=ONCE)
            with pytest.raises(RemoteTimeoutError, match="took no byte"):
                await backend.put(server.url + "up", Bytes(pattern(24 * MIB)))

    async def test_refusal_by_a_server_that_reads_nothing(self, make_client: MakeClient) -> None:
        """The answer counts at once, though the body can never be sent; its source is closed."""

        async def script(
            seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            writer.write(answer(413, b"too large"))
            await writer.drain()
            await asyncio.Event().wait()

        async with scripted_server(script) as server:
            body = TrackedBytes(pattern(24 * MIB))
            async with asyncio.timeout(3):
                with pytest.raises(RemoteError, match="too large"):
                    await make_client().put(server.url + "up", body)
            assert body.open_passes == 0

    async def test_sources_are_closed_whatever_happens(self, rig: Rig) -> None:
        """No pass over a body is left open, and none runs beside another."""
        body = TrackedBytes(DATA)
        rig.faults(method=("PUT",), upload_cut_after=MIB, count=2)
        await rig.client().put(up(rig), body)
        assert (body.passes, body.open_passes, body.most_open) == (3, 0, 1)
        rig.faults(method=("PUT",), upload_cut_after=MIB)
        with pytest.raises(TransientError):
            await rig.client().put(up(rig), body)
        assert (body.open_passes, body.most_open) == (0, 1)

    async def test_redirect_after_the_body(self, rig: Rig) -> None:
        """What can be replayed follows; what cannot says where to go."""
        rig.faults(method=("PUT",), path="/old", redirect="/up", redirect_status=307)
        body = TrackedBytes(DATA)
        await rig.client().put(rig.server.url + "old", body)
        assert (body.open_passes, body.most_open) == (0, 1)
        assert await stored(rig.client(), up(rig)) == DATA
        small = Bytes(b"small", replayable=False)
        with pytest.raises(RemoteError, match="use the URL"):
            await rig.client().put(rig.server.url + "old", small)
        assert small.passes == 1
