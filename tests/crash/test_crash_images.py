"""Disks of real filesystems, copied while caches on them are in use, then mounted and read.

``NETCACHE_CRASH_COPIES=100`` takes that many copies of each.
"""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from netcache._cachefiles.store import bind
from tests.support.bytemodel import ByteModel
from tests.support.crash_images import MKFS, Laboratory, laboratory
from tests.support.crash_worker import TASKS, Told, check_task
from tests.support.crash_workers import Workers
from tests.support.epochs import in_epoch
from tests.support.filesystems import Unavailable
from tests.support.labels import raw_label
from tests.support.stores import (
    KEY,
    Sync,
    blocks,
    check,
    create,
    fill_blocks,
    found,
    object_files,
    put,
    text,
)

COPIES = int(os.environ.get("NETCACHE_CRASH_COPIES", "5"))


class Taken(NamedTuple):
    """A copy of a disk, and what the workers had said of it."""

    image: Path
    told: dict[str, Told | None]


@pytest.fixture
def disk(request: pytest.FixtureRequest) -> Iterator[Laboratory]:
    """A filesystem under test; skipped by name where it cannot be had."""
    try:
        with laboratory(request.param) as made:
            yield made
    except Unavailable as reason:
        pytest.skip(f"no {request.param}: {reason}")


def copies_of(disk: Laboratory, sync: Sync, seed: int) -> list[Taken]:
    """Copies, taken at any moments of the workers' work.

    The filesystem would write back by itself only after seconds: some are taken while it does.
    """
    chance = random.Random(seed)
    taken = []
    with disk.in_use() as point, Workers(point / "cache", seed=seed, sync=sync) as workers:
        workers.hear_more(2)
        for number in range(COPIES):
            workers.hear_more(chance.randrange(1, 9))
            with _writing_back(point if number % 2 else None):
                workers.hear_more(1)
                before = workers.hear()
                image = disk.copy()
                after = workers.hear()
            taken.append(Taken(image, {task: workers.told(task, before, after) for task in TASKS}))
    return taken


@contextmanager
def _writing_back(point: Path | None) -> Iterator[None]:
    """Have the filesystem write back meanwhile."""
    if point is None:
        yield
        return
    with subprocess.Popen(["sync", "-f", point]) as writer:
        yield
    assert writer.returncode == 0


def look_at(disk: Laboratory, taken: Taken, sync: Sync, number: int) -> int:
    """Mount a copy, read the cache, and go on with it; returns how many objects were found."""
    objects = 0
    with disk.after_power_cut(taken.image) as point:
        # The workers may not have come as far as to make the directory.
        store = bind(point / "cache", fileops=in_epoch(1), sync=sync)
        for task in TASKS:
            durable = sync == "commit" or task == "modify"
            told = taken.told[task] if durable else None
            objects += check_task(store, task, told, mapped=False) > 0
        check(put(store, b"new", key=KEY, tag=str(number)), ByteModel(b"new"))
        list(store.verify())
        store.close()
    return objects


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.parametrize("sync", ["lazy", "commit"])
@pytest.mark.parametrize("disk", MKFS, indirect=True)
@pytest.mark.timeout(120 + 5 * COPIES)
def test_a_disk_that_was_copied_while_in_use_serves_only_right_bytes(
    disk: Laboratory, sync: Sync
) -> None:
    """And with ``commit`` all that the workers had said was there."""
    taken = copies_of(disk, sync, seed=len(disk.name))
    assert len(taken) == COPIES
    held = [look_at(disk, copy, sync, number) for number, copy in enumerate(taken)]
    assert sum(held) > 0
    assert any(copy.told["put"] for copy in taken)


def label_without_data(disk: Laboratory) -> tuple[Path, ByteModel]:
    """A disk with the label of a fill that was not synced, which a journal brought along."""
    with disk.in_use() as point:
        store = bind(point / "cache", sync="lazy")
        model = text(100 * store.block_size)
        cache_object = create(store, model.size)
        fill_blocks(cache_object, model, 0, 2)
        store.commit_pending()
        fill_blocks(cache_object, model, 2, 100)
        with (point / "other").open("wb") as other:
            other.write(b"x")
            os.fsync(other.fileno())
            copy = disk.copy()
        store.close()
    return copy, model


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.parametrize("disk", MKFS, indirect=True)
def test_a_label_that_came_without_its_data_is_not_believed(disk: Laboratory) -> None:
    """No filesystem orders the two: the very state that the epoch in the label is there for.

    What was committed before is there (btrfs brings the label along only by its own fsync).
    """
    copy, model = label_without_data(disk)
    with disk.after_power_cut(copy) as point:
        files = object_files(point / "cache")
        if not disk.name.startswith("btrfs"):
            (path,) = files
            assert raw_label(path)
            assert path.stat().st_blocks * 512 < model.size, "the data came along"
        store = bind(point / "cache", fileops=in_epoch(1))
        cache_object = store.lookup(KEY)
        if cache_object is not None:
            check(cache_object, model)
        if files and not disk.name.startswith("btrfs"):
            assert cache_object is not None
            assert blocks(cache_object)[:2] == [0, 1]
        store.close()


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.parametrize("disk", MKFS, indirect=True)
def test_what_was_committed_in_the_background_is_not_fetched_again(disk: Laboratory) -> None:
    """By the policy "lazy": committed, and then the filesystem wrote back by itself."""
    with disk.in_use() as point:
        store = bind(point / "cache", sync="lazy")
        model = text(60 * store.block_size + 5)
        cache_object = create(store, model.size)
        fill_blocks(cache_object, model, 0, 40)
        store.commit_pending()
        subprocess.run(["sync", "-f", point], check=True)
        fill_blocks(cache_object, model, 40, 50)
        copy = disk.copy()
        store.close()
    with disk.after_power_cut(copy) as point:
        store = bind(point / "cache", fileops=in_epoch(1))
        again = found(store)
        check(again, model)
        assert blocks(again)[:40] == list(range(40))
        store.close()
