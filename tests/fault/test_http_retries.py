"""Failures of servers and connections that pass, or do not: what is tried again, and how often."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from netcache._core.extent import Extent
from netcache._core.retry import RetryPolicy
from netcache.errors import (
    AccessDeniedError,
    NotFoundError,
    RemoteError,
    RemoteTimeoutError,
    TransientError,
)
from tests.conformance.peers import Collector
from tests.support.http_rig import AT_ONCE, DATA, MIB, Rig

SOME = Extent(MIB // 2, 2 * MIB)
ONCE = RetryPolicy(attempts=1)


class TestRetries:
    """Failures that may pass."""

    @pytest.mark.parametrize(
        "effects",
        [
            {"status": 503},
            {"status": 429, "retry_after": "0"},
            {"status": 500},
            {"refuse": True},
            {"lose_reply": True},
        ],
    )
    async def test_passing_failures_are_not_seen(self, rig: Rig, effects: dict[str, Any]) -> None:
        """Two failures, then it works: open_read, stat, list and delete go through."""
        backend = rig.client()
        rig.faults(**effects, count=2)
        reply = await backend.open_read(rig.url, SOME)
        assert await reply.receive(Collector()) == SOME.length
        rig.faults(**effects, count=2)
        assert await backend.stat(rig.url) is not None
        rig.faults(**effects, count=2)
        assert [entry.name for entry in await backend.list(rig.server.url)] == ["a.bin"]
        rig.faults(**effects, count=2)
        await backend.delete(rig.url)
        rig.faults()
        with pytest.raises(NotFoundError):
            await backend.stat(rig.url)

    async def test_attempts_are_bounded(self, rig: Rig) -> None:
        """The last error comes out after exactly the attempts allowed."""
        rig.faults(status=503)
        with pytest.raises(TransientError, match="status 503"):
            await rig.client().open_read(rig.url)
        assert len(rig.log()) == AT_ONCE.attempts

    async def test_long_retry_after_is_handed_out(self, rig: Rig) -> None:
        """Who is told to come back in an hour does not hammer, and does not sleep that long."""
        rig.faults(status=503, retry_after="3600")
        with pytest.raises(TransientError) as caught:
            await rig.client().open_read(rig.url)
        assert caught.value.retry_after_s == 3600.0
        assert len(rig.log()) == 1

    async def test_retry_after_is_honoured(self, rig: Rig) -> None:
        """The next attempt is not earlier than the server asked for."""
        rig.faults(status=503, retry_after="1", count=1)
        loop = asyncio.get_running_loop()
        begun = loop.time()
        await (await rig.client().open_read(rig.url)).close()
        assert loop.time() - begun >= 1.0

    @pytest.mark.parametrize(
        ("status", "kind"),
        [(401, AccessDeniedError), (403, AccessDeniedError), (410, NotFoundError),
         (400, RemoteError), (501, RemoteError)],
    )  # fmt: skip
    async def test_lasting_failures_are_not_retried(
        self, rig: Rig, status: int, kind: type[RemoteError]
    ) -> None:
        """One request, one error of the right class."""
        rig.faults(status=status)
        with pytest.raises(kind):
            await rig.client().open_read(rig.url)
        assert len(rig.log()) == 1

    async def test_silent_server_times_out(self, rig: Rig) -> None:
        """No head within the timeout."""
        rig.faults(latency_s=30.0)
        with pytest.raises(RemoteTimeoutError, match="no answer"):
            await rig.client(timeout_s=0.2, retry=ONCE).open_read(rig.url)

    async def test_nobody_listens(self, rig: Rig) -> None:
        """A refused connection is transient, and says so."""
        await rig.server.close_listener()
        with pytest.raises(TransientError, match="no connection"):
            await rig.client().open_read(rig.url)

    async def test_connection_closed_while_idle_costs_no_attempt(self, rig: Rig) -> None:
        """A kept connection that the server has closed is no failure of a read."""
        backend = rig.client(retry=ONCE)
        assert await backend.stat(rig.url) is not None
        rig.faults(refuse=True, count=1)
        assert await backend.stat(rig.url) is not None

    async def test_head_is_refused(self, rig: Rig) -> None:
        """Where HEAD does not serve, one byte is asked for."""
        known = await rig.client().stat(rig.url)
        for status in (405, 501, 403):
            rig.faults(method=("HEAD",), status=status)
            info = await rig.client().stat(rig.url)
            assert info is not None
            assert info == known

    async def test_head_tells_no_length(self, rig: Rig) -> None:
        """The same where HEAD tells nothing."""
        rig.faults(method=("HEAD",), remove_headers=("Content-Length",))
        info = await rig.client().stat(rig.url)
        assert info is not None
        assert info.size == len(DATA)
