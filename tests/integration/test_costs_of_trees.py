"""What a small file of a tree costs: system calls, Python calls, requests.  No clock.

As in ``test_costs``, a number here is what is needed today.
"""

from __future__ import annotations

import asyncio
import math
import sys
from pathlib import Path

import pytest

import netcache
from netcache._cachefiles.room import BATCH
from tests.support.costs import Costs, counted
from tests.support.served import random_bytes, serve

KIB = 1024

KERNEL_CALLS_SMALL_FILE = 27
KERNEL_CALLS_SMALL_UPLOAD = 30

KERNEL_CALLS_KEPT_FILE = {False: 16, True: 20}
PYTHON_CALLS_KEPT_FILE = {False: 150 if sys.version_info < (3, 13) else 160, True: 290}
"""By whether it has to be checked.  Python 3.12 counts 287 calls there where 3.11 counts 281; 14 of
them are for rows, which spare most of the round trips."""


def cost_of_small_files(folder: Path, count: int) -> Costs:
    """What ``sync`` of so many files of 4 KiB calls; then once more, which costs a listing."""
    with serve(folder / "www") as served:
        for index in range(count):
            served.put(f"tree/{index}", random_bytes(4 * KIB, index))

        async def sync() -> Costs:
            async with netcache.AsyncClient(cache_dir=folder / "cache", processes=1) as client:
                with counted() as costs:
                    await client.sync(f"{served.url}tree/", folder / "out")
                return costs

        served.forget()
        costs = asyncio.run(sync())
        paths = [record["path"] for record in served.requests()]
        assert len([path for path in paths if not path.endswith("/")]) == count, paths
        listings = len(paths) - count
        served.forget()
        again = asyncio.run(sync())
        assert served.count() == listings
        assert again.kernel["lstat"] + again.kernel["stat"] <= 5, "the folder was listed with them"
    return costs


def test_a_small_file_of_a_tree_costs_one_request_and_no_hop_to_a_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And so many system calls, in the cache and at its place; the network's are not counted."""
    # On a busy machine the disk would be taken for a slow one, which is left to threads.
    monkeypatch.setattr("netcache._client.placing.SLOW_S", math.inf)
    few = cost_of_small_files(tmp_path / "few", 2 * BATCH)
    more = cost_of_small_files(tmp_path / "more", 4 * BATCH)
    assert more.functions["run_in_executor"] == few.functions["run_in_executor"] <= 3
    a_file = {name: (count - few.kernel[name]) / (2 * BATCH) for name, count in more.kernel.items()}
    assert sum(a_file.values()) <= KERNEL_CALLS_SMALL_FILE, a_file
    # The backing file, the file at its place, and those looked for in vain or noted in.
    assert a_file["link"] == 2
    assert a_file["setxattr"] == 1


def cost_of_kept_files(folder: Path, count: int, *, checked: bool) -> Costs:
    """What it calls to bring so many files of 4 KiB that are cached.

    ``checked``: the listing does not tell that they are current.
    """
    with serve(folder / "www") as served:
        for index in range(count):
            served.put(f"tree/{index}", random_bytes(4 * KIB, index))

        async def bring(out: Path) -> Costs:
            async with netcache.AsyncClient(cache_dir=folder / "cache", processes=1) as client:
                remote = client._core.remote()
                infos = await remote.list(f"{served.url}tree/")
                if checked:
                    infos = [info._replace(etag=None, version=None) for info in infos]
                await asyncio.to_thread(out.mkdir)
                with counted() as costs:
                    for info in infos:
                        await remote.get_file(info, str(out / info.name), lambda _: None)
                return costs

        asyncio.run(bring(folder / "first"))
        served.forget()
        costs = asyncio.run(bring(folder / "again"))
        asked = [one for one in served.requests() if not one["path"].endswith("/")]
        assert [(one["method"], one["status"]) for one in asked] == checked * count * [
            ("HEAD", 304)
        ]
    return costs


@pytest.mark.parametrize("checked", [False, True], ids=["listed", "checked"])
def test_a_small_file_that_is_cached_costs_less_than_one_that_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checked: bool
) -> None:
    """One look at the cache, one read, one file at its place; and one request, unless a listing has
    told its version.  No hop to a thread."""
    monkeypatch.setattr("netcache._client.placing.SLOW_S", math.inf)
    few = cost_of_kept_files(tmp_path / "few", 2 * BATCH, checked=checked)
    more = cost_of_kept_files(tmp_path / "more", 4 * BATCH, checked=checked)
    assert more.functions["run_in_executor"] == few.functions["run_in_executor"] == 0
    a_file = {name: (count - few.kernel[name]) / (2 * BATCH) for name, count in more.kernel.items()}
    python_calls = (more.python_calls - few.python_calls) / (2 * BATCH)
    assert a_file["link"] == 1
    assert a_file["preadv"] <= 2.1, "the bytes, and where its use is put on record"
    assert a_file.get("setxattr", 0) == checked
    assert sum(a_file.values()) <= KERNEL_CALLS_KEPT_FILE[checked] < KERNEL_CALLS_SMALL_FILE, a_file
    assert python_calls <= PYTHON_CALLS_KEPT_FILE[checked], python_calls


def cost_of_small_uploads(folder: Path, count: int) -> Costs:
    """What ``sync`` of so many files of 4 KiB to a server calls."""
    (folder / "src").mkdir(parents=True)
    for index in range(count):
        (folder / "src" / str(index)).write_bytes(random_bytes(4 * KIB, index))
    with serve(folder / "www") as served:

        async def sync() -> Costs:
            async with netcache.AsyncClient(cache_dir=folder / "cache") as client:
                with counted() as costs:
                    await client.sync(folder / "src", f"{served.url}tree/")
                return costs

        costs = asyncio.run(sync())
        assert served.count("PUT") == count
    return costs


def test_a_small_file_that_is_uploaded_costs_one_hop_to_a_thread(tmp_path: Path) -> None:
    """It is opened and read there; the cache keeps what was read."""
    few = cost_of_small_uploads(tmp_path / "few", BATCH)
    more = cost_of_small_uploads(tmp_path / "more", 2 * BATCH)
    assert more.functions["run_in_executor"] - few.functions["run_in_executor"] == BATCH
    a_file = {name: (count - few.kernel[name]) / BATCH for name, count in more.kernel.items()}
    assert sum(a_file.values()) <= KERNEL_CALLS_SMALL_UPLOAD, a_file
    assert a_file["setxattr"] == a_file["link"] == 1
