"""Fixtures of the tests of the HTTP backend: a bundled server, and backends to ask it with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support import http_rig
from tests.support.http_rig import MakeClient, Rig, closing_clients, running_rig


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """A bundled server with one resource."""
    served = tmp_path / "served"
    served.mkdir()
    async with running_rig(served) as rig:
        yield rig


@pytest.fixture
async def make_client() -> AsyncIterator[MakeClient]:
    """Makes backends that are closed with the test."""
    async with closing_clients() as make:
        yield make


@pytest.fixture(params=[{}, {"first_requests": 99}], ids=["aiohttp", "links"])
def both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests go by aiohttp, and on links of our own where that is possible."""
    monkeypatch.setattr(http_rig, "COMMON", request.param)
