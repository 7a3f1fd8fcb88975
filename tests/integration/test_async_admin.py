"""``client.cache`` and the counters of the asynchronous face: the same names, awaitable."""

from __future__ import annotations

import inspect
import threading
from pathlib import Path
from typing import Any

import pytest

import netcache
from netcache._client.admin import CacheAdmin
from netcache._client.async_admin import AsyncCacheAdmin
from tests.support.served import random_bytes, serve

DATA = random_bytes(300_000, 5)


def public(kind: type) -> dict[str, inspect.Signature]:
    """The public methods of a class, and how they are called."""
    return {
        name: inspect.signature(method)
        for name, method in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_")
    }


def test_both_faces_have_the_same_methods() -> None:
    """With the same parameters and defaults."""
    here, there = public(CacheAdmin), public(AsyncCacheAdmin)
    assert {name: how.parameters for name, how in here.items()} == {
        name: how.parameters for name, how in there.items()
    }
    assert all(inspect.iscoroutinefunction(getattr(AsyncCacheAdmin, name)) for name in there)


async def test_what_is_awaited_is_what_the_other_face_tells(tmp_path: Path) -> None:
    """And the disk is waited for on another thread."""
    with serve(tmp_path / "www") as served:
        url = served.put("data", DATA)
        cache = tmp_path / "cache"
        async with netcache.AsyncClient(cache_dir=cache) as client:
            await client.warm(url, 0, 100_000)
            assert (await client.stats())["DownOps"]["bytes"] >= 100_000
            extents = await client.cache.extents(url)
            assert extents == (await client.cache.map(url)).extents
            assert [each.url for each in await client.cache.objects()] == [url]
            assert (await client.cache.status()).objects == 1
            assert (await client.cache.why(url)).size == len(DATA)
            assert await client.cache.verify([url]) == []
            await client.cache.pin(url)
            assert await client.cache.unpin(url) == 1
            assert (await client.cache.stats())["DownOps"]["bytes"] >= 100_000
            with netcache.Client(cache_dir=cache, offline=True) as other:
                assert other.cache.extents(url) == extents
            assert await client.cache.drop(url) > 0
            with pytest.raises(netcache.NotCachedError):
                await client.cache.map(url)
            assert await client.cache.extents(url) == []
            await client.warm(url)
            assert await client.cache.clear() > 0
            await client.warm(url)
            assert (await client.cache.cull(0))[0] == 1


async def test_the_loop_is_not_held_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each method runs elsewhere."""
    threads: set[int] = set()

    def seen(*_: Any, **__: Any) -> list[object]:
        threads.add(threading.get_ident())
        return []

    for name in public(CacheAdmin):
        monkeypatch.setattr(CacheAdmin, name, seen)
    async with netcache.AsyncClient(cache_dir=tmp_path / "cache") as client:
        for name, how in public(AsyncCacheAdmin).items():
            needs_url = "url" in how.parameters
            await getattr(client.cache, name)(*["http://h.invalid/x"] if needs_url else [])
    assert threads
    assert threading.get_ident() not in threads
