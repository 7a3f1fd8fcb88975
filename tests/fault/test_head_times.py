"""How long a head was on its way: what else a call took does not make a server look far away."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from types import ModuleType

import pytest

from netcache._core.extent import Extent
from netcache._core.readplan import cut_size
from netcache._core.stats import Stats
from netcache._netfs.misses import Misses
from netcache._netfs.read_means import ReadMeans
from netcache.backends.http import HttpBackend
from tests.conformance.peers import Collector
from tests.support.http_rig import AT_ONCE, MIB, Rig

SLOW_S = 0.4
"""Long for an answer from loopback, on any machine."""


class SlowImport:
    """Whoever imports these modules waits."""

    def __init__(self, *names: str) -> None:
        self.names, self.seen = names, list[str]()

    def find_spec(self, name: str, _: Sequence[str] | None, __: ModuleType | None = None) -> None:
        """Find nothing, late."""
        if name in self.names:
            self.seen.append(name)
            loop = asyncio.get_running_loop()
            late_s = loop.time() + SLOW_S
            while loop.time() < late_s:
                continue


def means(backend: HttpBackend) -> ReadMeans:
    """What reads share."""
    return ReadMeans(
        lambda: backend,
        Stats(),
        retry=AT_ONCE,
        timeout_s=5.0,
        exchanges=4,
        parallel=4,
        misses=Misses(None, Stats()),
    )


@pytest.mark.parametrize(
    ("first_requests", "module"),
    [(4, "netcache.backends.http_first"), (0, "netcache.backends.http_client")],
)
async def test_imports_are_not_on_the_way(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, first_requests: int, module: str
) -> None:
    """The first head of a process: a server next door is asked for all the rest at once."""
    slow = SlowImport(module)
    monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setattr(sys, "meta_path", [slow, *sys.meta_path])
    reads = means(rig.client(first_requests=first_requests))
    reply = await reads.open_read(rig.url, Extent(0, MIB))
    await reply.close()
    assert slow.seen == [module]
    assert 0.0 < reads.latency_s < SLOW_S


async def test_earlier_attempts_are_not_on_the_way(rig: Rig) -> None:
    """Nor the pauses between them."""
    rig.faults(latency_s=SLOW_S, status=503, count=1)
    reads = means(rig.client())
    reply = await reads.open_read(rig.url, Extent(0, MIB))
    await reply.receive(Collector())
    assert [record["status"] for record in rig.log()] == [503, 206]
    assert 0.0 < reads.latency_s < SLOW_S


@pytest.mark.parametrize("first_requests", [4, 0])
async def test_a_server_far_away_is_seen_to_be(rig: Rig, first_requests: int) -> None:
    """The wait for its head counts: what is large is asked for in parts then."""
    rig.faults(latency_s=0.05)
    reads = means(rig.client(first_requests=first_requests))
    await (await reads.open_read(rig.url, Extent(0, MIB))).close()
    assert reads.latency_s >= 0.05
    assert cut_size(100 * MIB, reads.latency_s, reads.parallel) < 100 * MIB
