"""Trees: errors of items, and what may be deleted in spite of them."""

# Tests may block their own event loop.
# ruff: noqa: ASYNC240

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from netcache._client.report import ItemError, Report
from netcache._client.trees.api import (
    TreeOptions,
    exit_code,
    get_tree,
    put_tree,
    sync_tree,
)
from netcache._core.progress import ProgressEvent
from netcache.errors import (
    AccessDeniedError,
    ClosedError,
    RemoteProtocolError,
    TransientError,
)
from tests.support.memtree import ORIGIN, MemoryTree
from tests.support.treecheck import failures, names_below

URL = ORIGIN + "/t"
DELETE = TreeOptions(delete=True)


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


async def test_one_bad_item_does_not_stop_the_others(ops: MemoryTree, dest: Path) -> None:
    """They arrive, it is reported with its own code, and the sum of it is 6."""
    for name in "abc":
        ops.store(f"t/{name}", b"x")
    ops.fail["get_file", ("t", "a")] = AccessDeniedError("not for you")
    ops.fail["get_file", ("t", "b")] = OSError(errno.ENOSPC, "No space left on device")
    report = await get_tree(ops, URL, str(dest))
    assert names_below(dest) == ["c"]
    assert failures(report) == {"a": 10, "b": 11}
    assert report.as_json()["failed"] == 2
    assert exit_code(report) == 6


def test_the_exit_code_of_a_single_item_is_its_own() -> None:
    """0 for nothing wrong, the only item's code, 6 when there were others."""
    report = Report()
    assert exit_code(report) == 0
    report.errors.append(ItemError("a", "not found", 3))
    assert exit_code(report) == 3
    report.unchanged = 1
    assert exit_code(report) == 6
    report.unchanged = 0
    report.errors.append(ItemError("b", "not found", 3))
    assert exit_code(report) == 6


async def test_a_failed_listing_protects_from_deletion(ops: MemoryTree, dest: Path) -> None:
    """What could not be looked up is not thereby gone; copies are made all the same."""
    ops.store("t/bad/lost", b"x")
    ops.store("t/good", b"x")
    ops.fail["list", ("t", "bad")] = TransientError("the server is ill")
    (dest / "bad").mkdir(parents=True)
    (dest / "bad" / "lost").touch()
    (dest / "old").touch()
    report = await sync_tree(ops, URL, str(dest), options=DELETE)
    assert names_below(dest) == ["bad", "bad/lost", "good", "old"]
    assert report.deleted == 0
    assert failures(report) == {"bad": 5, ".": 6}
    assert exit_code(report) == 6


async def test_a_failed_local_listing_protects_from_deletion(ops: MemoryTree, dest: Path) -> None:
    """The same for an upload: a folder that is swapped for a link before it is listed."""
    ops.store("t/old", b"x")
    ops.store("t/same", b"")
    (dest / "sub").mkdir(parents=True)
    (dest / "same").touch()
    os.utime(dest / "same", (1_000, 1_000))

    def swap(event: ProgressEvent) -> None:
        if event.kind == "unchanged":
            (dest / "sub").rmdir()
            (dest / "sub").symlink_to(dest.parent)

    report = await sync_tree(ops, str(dest), URL, options=DELETE, progress=swap)
    assert failures(report) == {"sub": 1, ".": 6}
    assert ops.tree() == {"t": None, "t/old": b"x", "t/same": b""}


async def test_a_folder_that_the_server_refuses_is_one_error(ops: MemoryTree, dest: Path) -> None:
    """Its contents are not tried; that it was not made is no reason to keep the others."""
    ops.store("t/old", b"x")
    ops.fail["make_folder", ("t", "sub")] = AccessDeniedError("no")
    (dest / "sub").mkdir(parents=True)
    (dest / "sub" / "f").touch()
    report = await sync_tree(ops, str(dest), URL, options=DELETE)
    assert failures(report) == {"sub": 10}
    assert ops.tree() == {"t": None}


async def test_a_folder_that_cannot_be_made_is_one_error(ops: MemoryTree, dest: Path) -> None:
    """Its contents are not tried one by one."""
    for number in range(5):
        ops.store(f"t/bad/{number}", b"x")
    ops.store("t/good", b"x")
    dest.mkdir()
    (dest / "bad").write_bytes(b"in the way")
    report = await get_tree(ops, URL, str(dest))
    assert failures(report) == {"bad": 1}
    assert (dest / "bad").read_bytes() == b"in the way"
    assert (dest / "good").exists()


async def test_type_clashes_are_resolved_by_deletion(ops: MemoryTree, dest: Path) -> None:
    """A file for a folder and a folder for a file, both ways."""
    ops.store("t/a", b"file now")
    ops.store("t/b/c", b"folder now")
    (dest / "a" / "sub").mkdir(parents=True)
    (dest / "a" / "sub" / "x").touch()
    (dest / "b").touch()
    report = await sync_tree(ops, URL, str(dest), options=DELETE)
    assert report.errors == []
    assert (report.copied, report.deleted) == (2, 4)
    assert names_below(dest) == ["a", "b", "b/c"]
    assert (dest / "a").read_bytes() == b"file now"


async def test_a_clash_with_something_excluded_stays(ops: MemoryTree, dest: Path) -> None:
    """A folder that holds excluded names does not give way to a file."""
    ops.store("t/a", b"file now")
    (dest / "a").mkdir(parents=True)
    (dest / "a" / "x.keep").touch()
    (dest / "a" / "y").touch()
    options = TreeOptions(delete=True, exclude=["*.keep"])
    report = await sync_tree(ops, URL, str(dest), options=options)
    assert failures(report) == {"a": 1}
    assert names_below(dest) == ["a", "a/x.keep"]


async def test_max_delete_forbids_all_deletion_and_no_copy(ops: MemoryTree, dest: Path) -> None:
    """More would go than may: nothing goes, copies are made, exit 6."""
    ops.store("t/new", b"x")
    dest.mkdir()
    for name in "abc":
        (dest / name).touch()
    report = await sync_tree(ops, URL, str(dest), options=TreeOptions(delete=True, max_delete=2))
    assert names_below(dest) == ["a", "b", "c", "new"]
    assert (report.copied, report.deleted, exit_code(report)) == (1, 0, 6)
    assert "3 names would go" in report.errors[0].error
    report = await sync_tree(ops, URL, str(dest), options=TreeOptions(delete=True, max_delete=3))
    assert (report.deleted, exit_code(report)) == (3, 0)


async def test_max_delete_alone_fails_with_6(ops: MemoryTree, dest: Path) -> None:
    """Also when there is nothing else to report."""
    dest.mkdir()
    (dest / "a").touch()
    options = TreeOptions(delete=True, max_delete=0)
    assert exit_code(await sync_tree(ops, URL, str(dest), options=options)) == 6


async def test_nothing_is_deleted_before_the_last_copy(ops: MemoryTree, dest: Path) -> None:
    """While files arrive, what is too much is still there."""
    dest.mkdir()
    (dest / "old").touch()
    for number in range(20):
        ops.store(f"t/{number}", b"x")
    seen: list[bool] = []

    def look(event: ProgressEvent) -> None:
        seen.append((dest / "old").exists())

    await sync_tree(ops, URL, str(dest), options=DELETE, progress=look)
    assert all(seen)
    assert not (dest / "old").exists()


async def test_a_closed_client_ends_the_tree(ops: MemoryTree, dest: Path) -> None:
    """It is not reported a thousand times as the error of each item."""
    for number in range(50):
        ops.store(f"t/{number}", b"x")
        ops.fail["get_file", ("t", str(number))] = ClosedError("closed")
    with pytest.raises(ClosedError):
        await get_tree(ops, URL, str(dest))


async def test_a_server_without_listings_can_be_uploaded_to(ops: MemoryTree, dest: Path) -> None:
    """Each file is asked for instead; a second run copies nothing."""
    ops.fail["list", ("t",)] = RemoteProtocolError("not a listing")
    ops.fail["list", ("t", "sub")] = AccessDeniedError("no listing")
    (dest / "sub").mkdir(parents=True)
    (dest / "sub" / "f").write_bytes(b"1")
    (dest / "g").write_bytes(b"2")
    for copied in (2, 0):
        report = await put_tree(ops, str(dest), URL)
        assert (report.copied, report.errors) == (copied, [])
    ops.fail["stat", ("t",)] = AccessDeniedError("no looking")
    report = await sync_tree(ops, str(dest), URL, options=DELETE)
    assert (report.copied, report.unchanged, report.deleted) == (0, 2, 0)
    assert failures(report) == {".": 1, "sub": 1}


async def test_an_upload_is_conditional_on_what_was_compared(ops: MemoryTree, dest: Path) -> None:
    """A file that somebody changes or makes between listing and upload is not overwritten."""
    ops.store("t/f", b"old")
    dest.mkdir()
    (dest / "f").write_bytes(b"mine")
    (dest / "g").write_bytes(b"mine")

    def interfere(event: ProgressEvent) -> None:
        if event.kind == "start":
            ops.store(f"t/{event.name}", b"theirs!")

    report = await put_tree(ops, str(dest), URL, progress=interfere)
    assert failures(report) == {"f": 4, "g": 4}
    assert ops.tree() == {"t": None, "t/f": b"theirs!", "t/g": b"theirs!"}
