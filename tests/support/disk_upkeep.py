"""What is asked of the cache itself, and of what it keeps of folders, while its disk fails."""

from __future__ import annotations

import contextlib

import netcache
from tests.support.disk_stage import DATA, URL, Scenario, Stage, adding_to, cached

SCENARIOS: list[Scenario] = []
scenario = adding_to(SCENARIOS)


@scenario(cached)
def look_after(stage: Stage) -> None:
    """Status, lists, maps, checks, counters."""
    cache = stage.client.cache
    for look in (
        cache.status,
        lambda: list(cache.objects()),
        lambda: cache.map(URL),
        lambda: cache.verify(),
        lambda: cache.verify([URL], repair=True),
        cache.stats,
    ):
        with stage.about_cache(), contextlib.suppress(netcache.NotCachedError):
            look()
    with stage.client.open(URL) as file:
        assert file.read() == DATA


@scenario(cached)
def make_room(stage: Stage) -> None:
    """Cull, drop, clear."""
    cache = stage.client.cache
    for work in (lambda: cache.cull(0), lambda: cache.drop(URL), cache.clear):
        with stage.about_cache():
            work()
    with stage.client.open(URL) as file:
        assert file.read() == DATA


@scenario()
def warm(stage: Stage) -> None:
    """Bring into the cache: it is there, or the command says that it is not."""
    with stage.about_cache():
        stage.client.warm(URL)
        with stage.faults.paused():
            assert stage.client.cache.extents(URL) == [(0, len(DATA))]
    with stage.client.open(URL) as file:
        assert file.read() == DATA


@scenario()
def list_folder(stage: Stage) -> None:
    """A listing, which is kept for working offline."""
    found = stage.client.ls("http://memory.invalid/")
    assert {info.name for info in found} >= {"data", "other"}
