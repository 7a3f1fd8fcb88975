"""Trees of small files that are cached: checked as ``validate`` says, proven, placed."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

import netcache
from netcache._cachefiles.store import bind
from netcache._core.readplan import COMES_WHOLE_BYTES
from netcache._core.urls import parse
from netcache._netfs.inodes import key_of
from netcache_server import FaultRule
from tests.integration.conftest import NewClient
from tests.support.damage import flip
from tests.support.served import Served, random_bytes

KIB = 1024
SIZES = (1, 4 * KIB, 4 * KIB + 1, COMES_WHOLE_BYTES)
Files = dict[str, bytes]


@pytest.fixture
def files(served: Served, client: netcache.Client, tmp_path: Path) -> Files:
    """Files at the server, by their names, that are in the cache."""
    files = {f"tree/{index}": random_bytes(size, index) for index, size in enumerate(SIZES)}
    for name, data in files.items():
        served.put(name, data)
    client.sync(f"{served.url}tree/", tmp_path / "first")
    client.close()
    served.forget()
    return files


def brought(
    served: Served, files: Files, out: Path, **options: object
) -> tuple[list[int], dict[str, dict[str, int]]]:
    """Bring each file by itself, as ``sync`` does where a listing tells no versions; how much of
    each was fetched, and the counters."""

    async def bring() -> tuple[list[int], dict[str, dict[str, int]]]:
        async with netcache.AsyncClient(cache_dir=out.parent / "cache", **options) as client:  # type: ignore[arg-type]
            remote, fetched = client._core.remote(), []
            infos = {info.name: info for info in await remote.list(f"{served.url}tree/")}
            served.forget()
            for name in files:
                info = infos[name.rpartition("/")[2]]._replace(etag=None, version=None)
                path = str(out / info.name)
                fetched.append((await remote.get_file(info, path, lambda _: None)).fetched_bytes)
            return fetched, await client.stats()

    out.mkdir()
    return asyncio.run(bring())


def check(files: Files, out: Path) -> None:
    """The files are there, and nothing else."""
    assert {f"tree/{path.name}": path.read_bytes() for path in out.iterdir()} == files


def asked(served: Served) -> list[tuple[str, int]]:
    """The methods and statuses of all requests for files."""
    files = [one for one in served.requests() if not one["path"].endswith("/")]
    return [(one["method"], one["status"]) for one in files]


def object_of(served: Served, cache: Path, name: str) -> Path:
    """The file of a cached resource."""
    store = bind(cache)
    try:
        return cache / store._bound.place(key_of(parse(served.url + name)))
    finally:
        store.close()


def checked_s(served: Served, cache: Path, name: str) -> float:
    """When the label says that it was last found current."""
    store = bind(cache)
    try:
        found = store.lookup(key_of(parse(served.url + name)))
        assert found is not None
        return found.checked_s
    finally:
        store.close()


def test_a_listing_that_bears_the_cached_tags_is_the_check(
    served: Served, files: Files, new_client: NewClient, tmp_path: Path
) -> None:
    """Nothing else is asked; the files and their times are those of the server."""
    client = new_client()
    report = client.sync(f"{served.url}tree/", tmp_path / "out")
    assert (report.copied, report.fetched_bytes, report.errors) == (len(files), 0, [])
    check(files, tmp_path / "out")
    for name in files:
        there = (served.root / name).stat().st_mtime
        assert (tmp_path / "out" / name[5:]).stat().st_mtime == int(there)
    assert asked(served) == []
    stats = client.stats()
    assert stats["Acquire"]["n"] == stats["Acquire"]["ok"] == len(files)
    assert sum(stats["Misses"].values()) == stats["DownOps"]["bytes"] == 0


@pytest.mark.parametrize(
    ("validate", "heads"), [("open", 1), ("always", 1), ("0s", 1), ("1h", 0), ("never", 0)]
)
def test_each_cached_file_is_checked_as_validate_says(
    served: Served, files: Files, tmp_path: Path, validate: str, heads: int
) -> None:
    """By one request without a body, of which the label and the counters know."""
    before_s = {name: checked_s(served, tmp_path / "cache", name) for name in files}
    fetched, stats = brought(served, files, tmp_path / "out", validate=validate)
    assert fetched == [0] * len(files)
    check(files, tmp_path / "out")
    assert asked(served) == heads * len(files) * [("HEAD", 304)]
    assert stats["Updates"]["n"] == heads * len(files)
    for name in files:
        moved = checked_s(served, tmp_path / "cache", name) > before_s[name]
        assert moved == bool(heads)


def test_what_was_checked_a_moment_ago_is_not_checked_by_another(
    served: Served, files: Files, tmp_path: Path
) -> None:
    """The label tells."""
    store = bind(tmp_path / "cache")
    for name in files:
        found = store.lookup(key_of(parse(served.url + name)))
        assert found is not None
        found.mark_checked(1_000_000.0)
    store.close()
    for heads, out in ((1, "one"), (0, "other")):
        brought(served, files, tmp_path / out, validate="1h")
        assert len(asked(served)) == heads * len(files)


def test_checks_share_one_connection(served: Served, files: Files, tmp_path: Path) -> None:
    """On the connection that the listing has left."""
    brought(served, files, tmp_path / "out")
    checks = [one for one in served.requests() if not one["path"].endswith("/")]
    assert len({one["connection"] for one in checks}) == 1
    assert {one["if_none_match"] for one in checks} == {one["etag"] for one in checks}
    assert all(one["want_repr_digest"] for one in checks)


def test_a_file_that_changed_is_asked_about_once_and_fetched(
    served: Served, files: Files, tmp_path: Path
) -> None:
    """The others are not."""
    files["tree/1"] = random_bytes(4 * KIB, 77)
    served.put("tree/1", files["tree/1"])
    fetched, _ = brought(served, files, tmp_path / "out")
    assert fetched == [0, 4 * KIB, 0, 0]
    check(files, tmp_path / "out")
    assert Counter(asked(served)) == {("HEAD", 304): 3, ("HEAD", 200): 1, ("GET", 200): 1}
    served.forget()
    assert brought(served, files, tmp_path / "again")[0] == [0, 0, 0, 0]
    check(files, tmp_path / "again")


def test_a_file_that_was_touched_is_not_fetched(
    served: Served, files: Files, tmp_path: Path
) -> None:
    """The digest in the answer to the check keeps what is cached; the next check knows the tag."""
    served.put("tree/2", files["tree/2"])
    os.utime(served.root / "tree/2", (1_500_000_000, 1_500_000_000))
    fetched, stats = brought(served, files, tmp_path / "out")
    assert (fetched, stats["Updates"]["same"]) == ([0, 0, 0, 0], 1)
    check(files, tmp_path / "out")
    assert (tmp_path / "out" / "2").stat().st_mtime == 1_500_000_000
    assert Counter(asked(served)) == {("HEAD", 304): 3, ("HEAD", 200): 1}
    brought(served, files, tmp_path / "again")
    assert Counter(asked(served)) == {("HEAD", 304): 4}


def test_a_file_that_is_gone_is_an_error_and_not_shown(
    served: Served, files: Files, tmp_path: Path
) -> None:
    """Asked about once."""
    served.server.set_faults([FaultRule(path="/tree/1", status=404)])
    with pytest.raises(netcache.NotFoundError):
        brought(served, {"tree/1": b""}, tmp_path / "out")
    assert asked(served) == [("HEAD", 404)]
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("verify", ["open", "read"])
@pytest.mark.parametrize("bit", [0, 8 * 4 * KIB])
def test_a_damaged_file_is_mended_and_not_handed_out(
    served: Served, files: Files, tmp_path: Path, verify: str, bit: int
) -> None:
    """Every byte is compared with its sum before it leaves."""
    flip(object_of(served, tmp_path / "cache", "tree/3"), bit)
    fetched, stats = brought(served, files, tmp_path / "out", verify=verify)
    assert fetched == [0, 0, 0, 4 * KIB]
    assert stats["CaRdOps"]["rf"] == 1
    check(files, tmp_path / "out")


def test_a_file_of_which_a_part_is_cached_is_completed(
    served: Served, new_client: NewClient, tmp_path: Path
) -> None:
    """By the ordinary way; what is there is not fetched again."""
    data = random_bytes(48 * KIB, 9)
    url = served.put("tree/0", data)
    client = new_client()
    client.warm(url, 0, 16 * KIB)
    client.close()
    fetched, _ = brought(served, {"tree/0": data}, tmp_path / "out")
    assert fetched == [32 * KIB]
    check({"tree/0": data}, tmp_path / "out")


@pytest.mark.parametrize("rule", [FaultRule(status=503), FaultRule(refuse=True)])
def test_a_server_that_fails_is_passed_over_for_no_file_of_a_tree(
    served: Served, files: Files, tmp_path: Path, rule: FaultRule
) -> None:
    """``stale_if_error`` is for what no listing has just told of."""

    async def bring(**options: object) -> None:
        async with netcache.AsyncClient(cache_dir=tmp_path / "cache", retries=0, **options) as one:  # type: ignore[arg-type]
            remote = one._core.remote()
            (info, *_) = await remote.list(f"{served.url}tree/")
            info = info._replace(etag=None, version=None)
            served.server.set_faults([rule])
            try:
                with pytest.raises(netcache.TransientError):
                    await remote.get_file(info, str(tmp_path / "out"), lambda _: None)
                assert not (tmp_path / "out").exists()
                if options:
                    await one.get(info.url, tmp_path / "out")
                    assert (tmp_path / "out").read_bytes() == files["tree/0"]
            finally:
                served.server.set_faults([])

    asyncio.run(bring())
    asyncio.run(bring(stale_if_error="always"))


def test_those_who_want_one_file_at_the_same_time_all_get_it(
    served: Served, files: Files, tmp_path: Path
) -> None:
    """One the short way, the others behind his gate."""

    async def bring() -> None:
        async with netcache.AsyncClient(cache_dir=tmp_path / "cache") as client:
            remote = client._core.remote()
            info = (await remote.stat(f"{served.url}tree/1"))._replace(etag=None, version=None)
            paths = [tmp_path / str(number) for number in range(5)]
            await asyncio.gather(*(remote.get_file(info, str(path), _silent) for path in paths))
            assert {path.read_bytes() for path in paths} == {files["tree/1"]}

    asyncio.run(bring())


def _silent(count: int) -> None:
    pass


def unlabelled(served: Served, cache: Path) -> None:
    """Nobody knows of what version the cached bytes are."""
    os.setxattr(object_of(served, cache, "tree/1"), "user.CacheFiles.cache", b"")


def removed(served: Served, cache: Path) -> None:
    """The cached file is gone."""
    object_of(served, cache, "tree/1").unlink()


def emptied(served: Served, cache: Path) -> None:
    """The cached file is empty."""
    os.truncate(object_of(served, cache, "tree/1"), 0)


@pytest.mark.parametrize("harm", [unlabelled, removed, emptied])
def test_what_became_of_no_use_is_fetched(
    served: Served, files: Files, tmp_path: Path, harm: Callable[[Served, Path], None]
) -> None:
    """In one request."""
    harm(served, tmp_path / "cache")
    fetched, _ = brought(served, files, tmp_path / "out")
    assert fetched == [0, 4 * KIB, 0, 0]
    check(files, tmp_path / "out")
    assert Counter(asked(served)) == {("HEAD", 304): 3, ("GET", 200): 1}
