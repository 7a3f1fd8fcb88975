"""Servers that misbehave: no wrong byte reaches a sink, and every failure has its own error."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from netcache._core.coherency import ValidatorKind, Version
from netcache._core.extent import Extent
from netcache._core.retry import RetryPolicy
from netcache.backends.http import HttpBackend
from netcache.errors import (
    RemoteError,
    RemoteProtocolError,
    RemoteTimeoutError,
    StaleError,
    TransientError,
)
from tests.conformance.peers import Collector, pattern
from tests.support.http_rig import DATA, MIB, Rig

SOME = Extent(MIB // 2, 2 * MIB)
ONCE = RetryPolicy(attempts=1)


@pytest.fixture(
    params=[
        {},
        {"takeover": False},
        {"first_requests": 99},
        {"takeover": False, "first_requests": 99},
    ],
    ids=["receiver", "stream", "link-receiver", "link-stream"],
)
def backend(rig: Rig, request: pytest.FixtureRequest) -> HttpBackend:
    """A backend for each way that a head and a body can take."""
    return rig.client(**request.param)


async def version_of(rig: Rig) -> Version:
    """The current version of the resource."""
    info = await rig.client().stat(rig.url)
    assert info is not None
    assert info.version is not None
    return info.version


class TestBodies:
    """Faults after a good head."""

    @pytest.mark.parametrize(
        "effects",
        [
            {"cut_after": MIB},
            {"cut_after": 1},
            {"cut_after": MIB, "reset": True},
            {"body": "short"},
            {"body": "short", "body_delta": MIB},
        ],
    )
    @pytest.mark.parametrize("extent", [None, SOME])
    async def test_broken_body_is_transient_and_what_came_is_right(
        self, rig: Rig, backend: HttpBackend, effects: dict[str, Any], extent: Extent | None
    ) -> None:
        """A body that breaks off raises; the sink has a true beginning of it."""
        rig.faults(**effects)
        reply = await backend.open_read(rig.url, extent)
        collector = Collector()
        with pytest.raises(TransientError, match="broke off after"):
            await reply.receive(collector)
        start, end = extent or Extent(0, len(DATA))
        assert len(collector.data) < end - start
        assert DATA.startswith(bytes(collector.data), start)
        rig.faults()
        again = Collector()
        rest = Extent(start + len(collector.data), end)
        await (await backend.open_read(rig.url, rest)).receive(again)
        assert bytes(collector.data + again.data) == DATA[start:end]

    @pytest.mark.parametrize("extent", [None, SOME])
    @pytest.mark.parametrize("delta", [1, 70_000])
    async def test_bytes_after_the_end_never_reach_the_sink(
        self, rig: Rig, backend: HttpBackend, extent: Extent | None, delta: int
    ) -> None:
        """What follows the announced length is noticed or not, depending on when it comes, but it
        is never taken, and the next reply is not mixed up with it."""
        rig.faults(body="long", body_delta=delta, count=1)
        reply = await backend.open_read(rig.url, extent)
        collector = Collector()
        with suppress(RemoteProtocolError):
            await reply.receive(collector)
        start, end = extent or Extent(0, len(DATA))
        assert bytes(collector.data) == DATA[start:end]
        again = Collector()
        await (await backend.open_read(rig.url, SOME)).receive(again)
        assert bytes(again.data) == DATA[SOME.start : SOME.end]

    async def test_stalled_body_times_out(self, rig: Rig, backend: HttpBackend) -> None:
        """No byte for the timeout ends the exchange."""
        rig.faults(stall_after=MIB)
        backend = rig.client(**backend.options._replace(timeout_s=1.0)._asdict())
        reply = await backend.open_read(rig.url)
        collector = Collector()
        with pytest.raises(RemoteTimeoutError, match=r"no byte came for 1 s"):
            await reply.receive(collector)
        assert bytes(collector.data) == DATA[: len(collector.data)]

    async def test_slow_body_does_not_time_out(self, rig: Rig, backend: HttpBackend) -> None:
        """The timeout is for silence, not for the whole body."""
        rig.plant("small.bin", DATA[:200_000])
        rig.faults(bandwidth=160_000)
        backend = rig.client(**backend.options._replace(timeout_s=0.8)._asdict())
        collector = Collector()
        await (await backend.open_read(rig.server.url + "small.bin")).receive(collector)
        assert bytes(collector.data) == DATA[:200_000]

    async def test_chunked_body_that_is_too_long_for_its_range(
        self, rig: Rig, backend: HttpBackend
    ) -> None:
        """Without a Content-Length the Content-Range still bounds what is taken."""
        rig.faults(remove_headers=("Content-Length",), body="long_declared")
        reply = await backend.open_read(rig.url, SOME)
        collector = Collector()
        with pytest.raises(RemoteProtocolError, match="more bytes"):
            await reply.receive(collector)
        assert bytes(collector.data) == DATA[SOME.start : SOME.end]

    async def test_unknown_length_reads_to_the_end(self, rig: Rig, backend: HttpBackend) -> None:
        """A body that ends with its connection has no known size beforehand."""
        headers = {"Connection": "close"}
        rig.faults(remove_headers=("Content-Length",), headers=headers, cut_after=len(DATA))
        reply = await backend.open_read(rig.url)
        assert (reply.version, reply.extent) == (None, (0, -1))
        collector = Collector()
        assert await reply.receive(collector, notice_bytes=1 << 18) == len(DATA)
        assert bytes(collector.data) == DATA
        assert all(end % (1 << 18) == 0 for _, end in collector.pieces[:-1])

    async def test_cancelled_stall_closes_the_connection(
        self, rig: Rig, backend: HttpBackend
    ) -> None:
        """Cancelling a body that stands still returns at once and leaves nothing behind."""
        rig.faults(stall_after=MIB)
        reply = await backend.open_read(rig.url)
        came = asyncio.Event()
        task = asyncio.ensure_future(
            reply.receive(lambda start, view: came.set(), notice_bytes=1 << 16)
        )
        await came.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        rig.faults()
        collector = Collector()
        await (await backend.open_read(rig.url)).receive(collector)
        assert bytes(collector.data) == DATA

    async def test_backend_closed_during_a_body(self, rig: Rig, backend: HttpBackend) -> None:
        """Closing ends what is under way."""
        rig.faults(stall_after=MIB)
        reply = await backend.open_read(rig.url)
        came = asyncio.Event()
        task = asyncio.ensure_future(
            reply.receive(lambda start, view: came.set(), notice_bytes=1 << 16)
        )
        await came.wait()
        await backend.close()
        with pytest.raises(RemoteError):
            await task


class TestHeads:
    """Faults in the head of the reply to a read."""

    @pytest.mark.parametrize(
        "effects",
        [
            {"content_range": "shifted"},
            {"content_range": "missing"},
            {"body": "long_declared"},
            {"body": "short_declared"},
            {"content_encoding": "gzip"},
            {"headers": {"Content-Range": "bytes 0-9/10, bytes 20-29/30"}},
            {"headers": {"Content-Type": "multipart/byteranges; boundary=x"},
             "content_range": "missing"},
        ],
    )  # fmt: skip
    async def test_partial_reply_that_contradicts_itself(
        self, rig: Rig, backend: HttpBackend, effects: dict[str, Any]
    ) -> None:
        """It is refused before a byte is taken, and not asked for again (which would work)."""
        # (The server sends what it encodes in chunks, and so aiohttp asks again.)
        by_both = backend.options.first_requests and "content_encoding" in effects
        rig.faults(**effects, count=2 if by_both else 1)
        with pytest.raises(RemoteProtocolError):
            await backend.open_read(rig.url, SOME)
        reply = await backend.open_read(rig.url, SOME)
        assert await reply.receive(Collector()) == SOME.length

    async def test_compressed_whole_body(self, rig: Rig, backend: HttpBackend) -> None:
        """It is not the resource's bytes."""
        rig.faults(content_encoding="gzip")
        for asked in (backend.open_read(rig.url), backend.stat(rig.url)):
            with pytest.raises(RemoteProtocolError, match="gzip"):
                await asked

    async def test_wrong_total(self, rig: Rig, backend: HttpBackend) -> None:
        """Another size is another version."""
        version = await version_of(rig)
        rig.faults(content_range="wrong_total")
        with pytest.raises(StaleError):
            await backend.open_read(rig.url, SOME, expected=version)

    async def test_unknown_total(self, rig: Rig, backend: HttpBackend) -> None:
        """Legal: pinned it is the pinned version, unpinned there is none."""
        version = await version_of(rig)
        rig.faults(content_range="unknown_total")
        reply = await backend.open_read(rig.url, SOME)
        assert (reply.version, reply.extent) == (None, SOME)
        await reply.close()
        pinned = await backend.open_read(rig.url, SOME, expected=version)
        assert pinned.version == version
        assert await pinned.receive(Collector()) == SOME.length

    async def test_ignored_range(self, rig: Rig, backend: HttpBackend) -> None:
        """The whole comes, is called so, and the origin is remembered."""
        rig.faults(ignore_range=True)
        reply = await backend.open_read(rig.url, SOME)
        assert (reply.whole, reply.extent) == (True, (0, len(DATA)))
        assert reply.ranges_supported is False
        assert backend.capabilities(rig.url).ranges is False
        collector = Collector()
        await reply.receive(collector)
        assert bytes(collector.data) == DATA

    @pytest.mark.parametrize("extent", [None, SOME])
    async def test_etag_that_is_another_each_time(
        self, rig: Rig, backend: HttpBackend, extent: Extent | None
    ) -> None:
        """A server that minds the condition but tells another tag is not believed."""
        version = await version_of(rig)
        rig.faults(etag="random")
        with pytest.raises(StaleError):
            await backend.open_read(rig.url, extent, expected=version)

    async def test_pinned_reply_without_validator(self, rig: Rig, backend: HttpBackend) -> None:
        """Nothing proves which version it is of."""
        version = await version_of(rig)
        rig.faults(remove_headers=("ETag", "Last-Modified"))
        with pytest.raises(RemoteProtocolError, match="ETag"):
            await backend.open_read(rig.url, SOME, expected=version)

    @pytest.mark.parametrize(
        ("effects", "kind"),
        [
            ({"validator": "none"}, ValidatorKind.NONE),
            ({"validator": "last_modified_only"}, ValidatorKind.STRONG_DATE),
            ({"validator": "last_modified_only", "omit_date": True}, ValidatorKind.WEAK_DATE),
            ({"validator": "weak", "omit_date": True}, ValidatorKind.WEAK_ETAG),
            ({"validator": "etag_only"}, ValidatorKind.STRONG_ETAG),
        ],
    )
    async def test_the_reply_says_how_strong_its_validator_is(
        self, rig: Rig, backend: HttpBackend, effects: dict[str, Any], kind: ValidatorKind
    ) -> None:
        """The caller decides what to do with a weak one; the bytes come."""
        rig.faults(**effects)
        reply = await backend.open_read(rig.url, SOME)
        assert reply.version is not None
        assert reply.version.validator.kind is kind
        assert await reply.receive(Collector()) == SOME.length

    async def test_pinned_by_date(self, rig: Rig, backend: HttpBackend) -> None:
        """A strong date pins as well: the same is read on, another one is stale."""
        rig.faults(validator="last_modified_only")
        version = await version_of(rig)
        assert version.validator.kind is ValidatorKind.STRONG_DATE
        reply = await backend.open_read(rig.url, SOME, expected=version)
        assert await reply.receive(Collector()) == SOME.length
        rig.plant("a.bin", pattern(len(DATA), seed=1))
        with pytest.raises(StaleError):
            await backend.open_read(rig.url, SOME, expected=version)

    async def test_change_in_the_middle_of_a_read(self, rig: Rig, backend: HttpBackend) -> None:
        """A read that goes on after a break never mixes two versions."""
        rig.faults(cut_after=MIB, count=1)
        reply = await backend.open_read(rig.url)
        assert reply.version is not None
        collector = Collector()
        with pytest.raises(TransientError):
            await reply.receive(collector)
        rig.plant("a.bin", pattern(len(DATA), seed=1))
        with pytest.raises(StaleError):
            await backend.open_read(
                rig.url, Extent(len(collector.data), len(DATA)), expected=reply.version
            )

    async def test_past_the_end_without_validator(self, rig: Rig, backend: HttpBackend) -> None:
        """A 416 that names no version costs one more question."""
        rig.faults(method=("GET",), remove_headers=("ETag", "Last-Modified"))
        reply = await backend.open_read(rig.url, Extent(len(DATA), len(DATA) + 10))
        assert reply.version is not None
        assert reply.version.same_as(await version_of(rig))
        assert reply.extent.length == 0
