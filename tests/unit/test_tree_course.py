"""Trees: what counts as changed, and how a run goes."""

# Tests may block their own event loop.
# ruff: noqa: ASYNC240

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from netcache._client.options import SMALL_FILES_PER_TRANSFER
from netcache._client.trees.api import (
    TreeOptions,
    get_tree,
    put_tree,
    remove_tree,
    sync_tree,
)
from netcache._core.progress import ProgressEvent
from netcache._core.readplan import COMES_WHOLE_BYTES
from netcache.errors import (
    TransientError,
)
from tests.support.memtree import ORIGIN, MemoryTree
from tests.support.treecheck import names_below

URL = ORIGIN + "/t"


@pytest.fixture
def ops() -> MemoryTree:
    """A server with an empty folder ``t``."""
    tree = MemoryTree()
    tree.add_folder("t")
    return tree


@pytest.fixture
def dest(tmp_path: Path) -> Path:
    """The local side; not there yet."""
    return tmp_path / "dest"


async def test_an_edit_of_the_same_size_is_seen_both_ways(ops: MemoryTree, dest: Path) -> None:
    """By its time; and with a checksum even when the time was put back."""
    ops.store("t/f", b"one", 1_000)
    await sync_tree(ops, URL, str(dest))
    ops.store("t/f", b"two", 2_000)
    assert (await sync_tree(ops, URL, str(dest))).copied == 1
    (dest / "f").write_bytes(b"tri")
    assert (await sync_tree(ops, str(dest), URL)).copied == 1
    assert ops.tree()["t/f"] == b"tri"
    stored = ops.files["t", "f"]
    (dest / "f").write_bytes(b"fou")
    os.utime(dest / "f", (stored.mtime_s, stored.mtime_s))
    assert (await sync_tree(ops, str(dest), URL)).copied == 0
    assert (await sync_tree(ops, str(dest), URL, options=TreeOptions(checksum=True))).copied == 1


async def test_an_older_file_put_in_place_is_seen_where_times_are_kept(
    ops: MemoryTree, dest: Path
) -> None:
    """The server's time is then no upload time."""
    ops.knows_keeping = True
    ops.store("t/f", b"one", 2_000)
    dest.mkdir()
    (dest / "f").write_bytes(b"two")
    os.utime(dest / "f", (1_000, 1_000))
    assert (await sync_tree(ops, str(dest), URL)).copied == 1


async def test_size_only_ignores_times(ops: MemoryTree, dest: Path) -> None:
    """Another time and the same size is unchanged."""
    ops.store("t/f", b"one", 1_000)
    await sync_tree(ops, URL, str(dest))
    ops.store("t/f", b"two", 2_000)
    assert (await sync_tree(ops, URL, str(dest), options=TreeOptions(size_only=True))).copied == 0


async def test_a_local_time_just_below_a_second_is_that_second(ops: MemoryTree, dest: Path) -> None:
    """Times are rounded down, not to the nearest."""
    dest.mkdir()
    (dest / "f").touch()
    os.utime(dest / "f", ns=(1_999_999_999_999_999_999,) * 2)
    await put_tree(ops, str(dest), URL)
    ops.knows_keeping = True
    assert (await put_tree(ops, str(dest), URL)).unchanged == 1


async def test_a_dry_run_touches_nothing(ops: MemoryTree, dest: Path) -> None:
    """Only looking operations are called, and no folder is made."""
    ops.store("t/a/b", b"data")
    report = await sync_tree(ops, URL, str(dest), options=TreeOptions(dry_run=True))
    assert (report.copied, report.bytes) == (1, 4)
    assert not dest.exists()
    dest.mkdir()
    (dest / "c").touch()
    await sync_tree(ops, str(dest), URL, options=TreeOptions(delete=True, dry_run=True))
    await remove_tree(ops, URL, dry_run=True)
    assert {name for name, _ in ops.calls} == {"list", "stat"}


@pytest.mark.parametrize(
    ("size", "most"),
    [(COMES_WHOLE_BYTES, 5 * SMALL_FILES_PER_TRANSFER), (COMES_WHOLE_BYTES + 1, 5)],
)
async def test_transfers_bounds_how_many_files_move(dest: Path, size: int, most: int) -> None:
    """Never more than so many, and as many when there is enough to do; of small ones more."""
    ops = MemoryTree(transfers=5)
    for number in range(100):
        ops.store(f"t/{number}", bytes(size))
    await get_tree(ops, URL, str(dest))
    assert ops.running_max == most


async def test_copying_begins_before_the_scan_has_ended(dest: Path) -> None:
    """With more files than the queue takes, listings wait for copiers."""
    ops = MemoryTree(transfers=1)
    for folder in range(30):
        for number in range(10):
            ops.store(f"t/{folder}/{number}", b"x")
    await get_tree(ops, URL, str(dest))
    kinds = [name for name, _ in ops.calls]
    assert kinds.index("get_file") < len(kinds) - 1 - kinds[::-1].index("list")


async def test_cancelling_leaves_nothing_partial_and_resumes(dest: Path) -> None:
    """Workers stop where they are; a second run does what is left."""
    ops = MemoryTree(transfers=4)
    for number in range(40):
        ops.store(f"t/{number}", b"x")
    ops.gate = asyncio.Event()
    task = asyncio.create_task(get_tree(ops, URL, str(dest)))
    await ops.at_gate.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ops.running == 0
    assert names_below(dest) == []
    ops.gate = None
    assert (await get_tree(ops, URL, str(dest))).copied == 40


async def test_a_run_again_copies_only_what_is_missing(ops: MemoryTree, dest: Path) -> None:
    """What has arrived before an error is not fetched twice."""
    for number in range(10):
        ops.store(f"t/{number}", b"x")
    ops.fail["get_file", ("t", "7")] = TransientError("cut")
    assert (await get_tree(ops, URL, str(dest))).copied == 9
    ops.fail.clear()
    report = await get_tree(ops, URL, str(dest))
    assert (report.copied, report.unchanged) == (1, 9)


async def test_progress_tells_the_whole_and_each_file(ops: MemoryTree, dest: Path) -> None:
    """A plan with all bytes; start, advance and done for each file, in order."""
    ops.store("t/a/b", b"four")
    ops.store("t/c", b"five5")
    events: list[ProgressEvent] = []
    await get_tree(ops, URL, str(dest), progress=events.append)
    assert [event.total_bytes for event in events if event.kind == "plan"][-1] == 9
    assert [event[:1] + event[2:] for event in events if event.name == "a/b"] == [
        ("start", 0, 4),
        ("advance", 4, 4),
        ("done", 4, 4),
    ]
    events.clear()
    ops.fail["get_file", ("t", "c")] = TransientError("cut")
    (dest / "c").unlink()
    await get_tree(ops, URL, str(dest), progress=events.append)
    assert {(event.kind, event.name) for event in events} == {
        ("plan", ""),
        ("unchanged", "a/b"),
        ("start", "c"),
        ("failed", "c"),
    }


async def test_unlisted_sizes_are_in_the_report(ops: MemoryTree, dest: Path) -> None:
    """Bytes are counted when a listing gives no sizes, dry or not."""
    ops.store("t/f", b"data")
    ops.listing_style = "names"
    dry = await get_tree(ops, URL, str(dest), options=TreeOptions(dry_run=True))
    assert (await get_tree(ops, URL, str(dest))).as_json() == dry.as_json()
    assert dry.bytes == 4
