"""Killed processes and power cuts, in the middle of each operation (``docs/crash-safety.md``).

After any of them a read may miss; it may never give a byte that the resource did not have.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from netcache._cachefiles.fileops import PosixFileOps
from netcache._cachefiles.store import bind
from netcache._core.content import Content
from netcache._fscache.ports import CacheStore
from tests.support import filler
from tests.support.bytemodel import ByteModel, pattern
from tests.support.epochs import in_epoch
from tests.support.labels import ATTRIBUTE, raw_label, read_label
from tests.support.powercut import PowerCut
from tests.support.stores import (
    KEY,
    OTHER_KEY,
    Sync,
    blocks,
    check,
    create,
    fill_blocks,
    found,
    object_file,
    object_files,
    put,
    text,
    version,
    write,
)

ROOT = Path(__file__).parents[2]
SYNCS = pytest.mark.parametrize("sync", ["lazy", "commit"])
SEEDS = pytest.mark.parametrize("seed", range(6))
LABELS = pytest.mark.parametrize("newest_labels", [True, False])


def lose_power(
    shim: PowerCut, directory: Path, seed: int, newest_labels: bool, hole: bool = True
) -> CacheStore:
    """Cut the power, come back, and bind again; the old store is only abandoned."""
    shim.cut(directory, seed=seed, newest_labels=newest_labels, hole=hole)
    store: CacheStore = bind(directory, fileops=in_epoch(1))
    return store


def expect_right_or_nothing(store: CacheStore, *models: ByteModel) -> None:
    """What is found is one of the versions, byte for byte, and the object goes on working."""
    cache_object = store.lookup(KEY)
    if cache_object is not None:
        tag = cache_object.version.validator.value.strip('"')
        model = models[int(tag)] if tag.isdigit() else models[0]
        assert cache_object.version.size == model.size
        check(cache_object, model)
        fill_blocks(cache_object, model, 0, 1)
        if model.size > 5 * store.block_size:
            fill_blocks(cache_object, model, 4, 5)
        check(cache_object, model)
        cache_object.close()
    store.close()


@SYNCS
@SEEDS
@LABELS
def test_power_cut_during_fills(tmp_path: Path, sync: Sync, seed: int, newest_labels: bool) -> None:
    """Appended blocks that were recorded but not synced are a miss after it."""
    shim = PowerCut(PosixFileOps())
    store = bind(tmp_path, fileops=shim.fileops, sync=sync)
    model = text(12 * store.block_size)
    cache_object = create(store, model.size)
    for first in range(6):
        fill_blocks(cache_object, model, first, first + 1)
    cache_object.write_blocks(6 * store.block_size, b"\xff" * store.block_size)
    expect_right_or_nothing(lose_power(shim, tmp_path, seed, newest_labels), model)


@SYNCS
@SEEDS
@pytest.mark.parametrize("hole", [True, False])
def test_power_cut_during_fills_of_holes(tmp_path: Path, sync: Sync, seed: int, hole: bool) -> None:
    """Also below the length that was durable before: a hole filled since may be torn."""
    shim = PowerCut(PosixFileOps())
    store = bind(tmp_path, fileops=shim.fileops, sync=sync)
    model = text(20 * store.block_size)
    cache_object = create(store, model.size)
    fill_blocks(cache_object, model, 15, 16)
    fill_blocks(cache_object, model, 2, 4)
    cache_object.close()
    cache_object = found(store)
    for first in (6, 9, 1, 17):
        fill_blocks(cache_object, model, first, first + 2)
    expect_right_or_nothing(lose_power(shim, tmp_path, seed, True, hole), model)


@SYNCS
@SEEDS
@LABELS
def test_power_cut_during_a_local_modification(
    tmp_path: Path, sync: Sync, seed: int, newest_labels: bool
) -> None:
    """Blocks changed in place are never seen under the old label."""
    shim = PowerCut(PosixFileOps())
    store = bind(tmp_path, fileops=shim.fileops, sync=sync)
    old = text(6 * store.block_size)
    put(store, old.part(0, old.size), tag="0").close()
    cache_object = found(store)
    new = ByteModel(bytes(old.data))
    cache_object.begin_modify()
    write(cache_object, new, 100, pattern(0, 3 * store.block_size, 7))
    expect_right_or_nothing(lose_power(shim, tmp_path, seed, newest_labels), old)


@SYNCS
@SEEDS
@LABELS
def test_power_cut_after_a_commit_keeps_the_new_version(
    tmp_path: Path, sync: Sync, seed: int, newest_labels: bool
) -> None:
    """What ``commit`` returned for is there, all of it."""
    shim = PowerCut(PosixFileOps())
    store = bind(tmp_path, fileops=shim.fileops, sync=sync)
    model = text(6 * store.block_size)
    cache_object = put(store, model.part(0, model.size), tag="0")
    cache_object.begin_modify()
    write(cache_object, model, 100, pattern(0, 3 * store.block_size, 7))
    cache_object.commit(version(model.size, "0"))
    after = lose_power(shim, tmp_path, seed, newest_labels)
    again = found(after)
    assert blocks(again) == list(range(6))
    check(again, model)
    after.close()


@SYNCS
@SEEDS
@LABELS
def test_power_cut_around_a_replacement_leaves_one_version(
    tmp_path: Path, sync: Sync, seed: int, newest_labels: bool
) -> None:
    """Between the old object and the new one there is no mixture."""
    shim = PowerCut(PosixFileOps())
    store = bind(tmp_path, fileops=shim.fileops, sync=sync)
    old, new = text(6 * store.block_size), text(5 * store.block_size + 9, seed=3)
    put(store, old.part(0, old.size), tag="0").close()
    put(store, new.part(0, new.size), tag="1").close()
    expect_right_or_nothing(lose_power(shim, tmp_path, seed, newest_labels), old, new)


@pytest.mark.parametrize("in_label", [64, 0], ids=["sums-in-label", "table"])
def test_a_map_counts_in_another_epoch_as_far_as_sums_prove(tmp_path: Path, in_label: int) -> None:
    """A commit cannot tell what another process is filling: each block is compared instead."""
    store = bind(tmp_path, sums_in_label=in_label, verify="none")
    model = text(20 * store.block_size)
    cache_object = create(store, model.size)
    for first in (15, 3, 4, 9):
        fill_blocks(cache_object, model, first, first + 1)
    commit_pending(store)
    os.pwrite(cache_object.fileno(), b"torn", 4 * store.block_size + 77)
    assert blocks(found(bind(tmp_path, verify="none"))) == [3, 4, 9, 15], "no reboot, no doubt"
    store.close()
    for number in (1, 2):
        again = bind(tmp_path, fileops=in_epoch(number), verify="none", sums_in_label=in_label)
        cache_object = found(again)
        assert blocks(cache_object) == ([3, 9, 15] if number == 1 else [3, 6, 9, 15])
        check(cache_object, model)
        fill_blocks(cache_object, model, 6, 7)
        fill_blocks(cache_object, model, 4, 5)
        assert blocks(cache_object) == [3, 4, 6, 9, 15]
        check(cache_object, model)
        os.pwrite(cache_object.fileno(), b"torn", 4 * store.block_size + 77)
        again.close()


def test_a_map_without_its_table_is_empty_in_another_epoch(tmp_path: Path) -> None:
    """The power cut took the table with it: a doubt is a miss, and the object goes on working."""
    store = bind(tmp_path, sums_in_label=0)
    model = text(20 * store.block_size)
    cache_object = create(store, model.size)
    fill_blocks(cache_object, model, 3, 5)
    store.close()
    (table,) = (path for path in (tmp_path / "cache" / "+sums").rglob("*") if path.is_file())
    table.unlink()
    again = bind(tmp_path, fileops=in_epoch(1), sums_in_label=0)
    cache_object = found(again)
    assert blocks(cache_object) == []
    fill_blocks(cache_object, model, 4, 6)
    assert blocks(cache_object) == [4, 5]
    check(cache_object, model)
    again.close()


def commit_pending(store: CacheStore) -> None:
    """Do now what the store does in the background."""
    pending = getattr(store, "commit_pending", None)
    assert pending is not None
    pending()


def test_lazy_labels_count_in_their_epoch_without_a_sync(tmp_path: Path) -> None:
    """After a killed process, without a reboot, everything recorded is still there."""
    store = bind(tmp_path, sync="lazy")
    model = text(12 * store.block_size)
    cache_object = create(store, model.size)
    for first in (0, 1, 2, 8):
        fill_blocks(cache_object, model, first, first + 1)
    again = found(bind(tmp_path))
    assert blocks(again) == [0, 1, 2, 8]
    check(again, model)
    store.close()


def test_committed_fills_count_in_any_epoch(tmp_path: Path) -> None:
    """With ``sync="commit"`` a reboot without a loss costs nothing."""
    store = bind(tmp_path, sync="commit")
    model = text(12 * store.block_size)
    cache_object = create(store, model.size)
    fill_blocks(cache_object, model, 0, 3)
    again = found(bind(tmp_path, fileops=in_epoch(1)))
    assert blocks(again) == [0, 1, 2]
    check(again, model)
    store.close()


def test_what_was_committed_in_the_background_survives(tmp_path: Path) -> None:
    """By the policy "lazy" a reboot costs only what was not committed yet."""
    store = bind(tmp_path, sync="lazy")
    model = text(3 * store.block_size + 1)
    cache_object = put(store, model.part(0, model.size))
    store.commit_pending()
    cache_object.close()
    store.close()
    again = found(bind(tmp_path, fileops=in_epoch(1)))
    assert blocks(again) == [0, 1, 2, 3]
    check(again, model)


def test_dirty_from_another_epoch_is_a_miss_and_is_replaced(tmp_path: Path) -> None:
    """A modification that a reboot ended does not come back."""
    store = bind(tmp_path)
    model = text(3 * store.block_size)
    cache_object = put(store, model.part(0, model.size))
    cache_object.begin_modify()
    write(cache_object, model, 0, b"half")
    assert read_label(object_file(tmp_path)).content == Content.DIRTY
    after = bind(tmp_path, fileops=in_epoch(1))
    assert after.lookup(KEY) is None
    check(put(after, b"new"), ByteModel(b"new"))
    after.close()
    store.close()


def test_an_object_that_was_never_published_leaves_nothing(tmp_path: Path) -> None:
    """A private object vanishes with its process; leftovers are no objects."""
    store = bind(tmp_path)
    store.begin(KEY).write(b"x" * 100_000)
    after = bind(tmp_path, fileops=in_epoch(1))
    assert after.lookup(KEY) is None
    assert list(after.objects()) == []
    after.close()
    store.close()


def test_a_torn_label_is_a_miss(tmp_path: Path) -> None:
    """The first half of one label with the second half of another is no label."""
    store = bind(tmp_path)
    models = {KEY: text(5 * store.block_size), OTHER_KEY: ByteModel(b"short")}
    put(store, models[KEY].part(0, models[KEY].size)).close()
    put(store, b"short", key=OTHER_KEY, tag="b").close()
    store.close()
    one, two = object_files(tmp_path)
    first, second = raw_label(one), raw_label(two)
    for middle in range(1, min(len(first), len(second))):
        os.setxattr(one, ATTRIBUTE, first[:middle] + second[middle:])
        again = bind(tmp_path)
        for key, model in models.items():
            cache_object = again.lookup(key)
            if cache_object is not None:
                check(cache_object, model)
        again.close()


@pytest.mark.parametrize("task", ["fill", "modify", "put"])
@pytest.mark.parametrize(("steps", "sync"), [(1, "lazy"), (23, "commit"), (40, "lazy")])
def test_killed_process(tmp_path: Path, task: str, steps: int, sync: Sync) -> None:
    """A process that is killed in the middle leaves only true bytes, and nothing held up."""
    command = [sys.executable, "-m", "tests.support.filler", str(tmp_path), task, "1", sync]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        for _ in range(steps):
            assert child.stdout.readline() == b"step\n"
        child.send_signal(signal.SIGKILL)
        child.stdout.read()
    assert child.returncode == -signal.SIGKILL
    store = bind(tmp_path)
    size = filler.BLOCKS * store.block_size - 7
    for number in range(filler.OBJECTS):
        cache_object = store.lookup(filler.key(number))
        if cache_object is None:
            continue
        if task == "fill":
            check(cache_object, text(size, seed=number))
        else:
            generation = int(cache_object.version.validator.value.strip('"'))
            check(cache_object, text(cache_object.size, seed=generation))
    check(put(store, b"new", key=filler.key(0)), ByteModel(b"new"))
    store.close()
