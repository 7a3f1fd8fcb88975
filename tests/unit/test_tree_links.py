"""Trees: symbolic links are not followed, or carefully."""

# Tests may block their own event loop.
# ruff: noqa: ASYNC240

from __future__ import annotations

import os
from pathlib import Path

import pytest

from netcache._client.trees.api import (
    TreeOptions,
    get_tree,
    put_tree,
    sync_tree,
)
from netcache._core.progress import ProgressEvent
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


async def test_a_link_in_dest_is_replaced_and_never_walked_through(
    ops: MemoryTree, dest: Path
) -> None:
    """Nothing outside DEST is written, whatever links an attacker left in it."""
    outside = dest.parent / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"precious")
    dest.mkdir()
    (dest / "folder").symlink_to(outside)
    (dest / "file").symlink_to(outside / "file")
    (dest / "dangling").symlink_to(outside / "new")
    ops.store("t/folder/file", b"evil")
    ops.store("t/file", b"evil")
    ops.store("t/dangling", b"evil")
    report = await get_tree(ops, URL, str(dest))
    assert not report.errors
    assert (outside / "file").read_bytes() == b"precious"
    assert names_below(outside) == ["file"]
    assert not any((dest / name).is_symlink() for name in ("folder", "file", "dangling"))
    assert (dest / "folder" / "file").read_bytes() == b"evil"


async def test_deletion_removes_links_and_nothing_behind_them(ops: MemoryTree, dest: Path) -> None:
    """Neither in DEST itself nor in folders that go."""
    outside = dest.parent / "outside"
    outside.mkdir()
    (outside / "file").touch()
    (dest / "gone").mkdir(parents=True)
    (dest / "link").symlink_to(outside)
    (dest / "gone" / "link").symlink_to(outside)
    report = await sync_tree(ops, URL, str(dest), options=DELETE)
    assert names_below(dest) == []
    assert names_below(outside) == ["file"]
    assert report.deleted == 3


async def test_a_folder_swapped_for_a_link_meanwhile_is_not_deleted_through(
    ops: MemoryTree, dest: Path
) -> None:
    """What was a folder when it was listed and is a link when its names shall go."""
    outside = dest.parent / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"precious")
    (dest / "folder").mkdir(parents=True)
    (dest / "folder" / "file").touch()
    ops.store("t/new", b"x")

    def swap(event: ProgressEvent) -> None:
        if event.kind == "done":
            (dest / "folder" / "file").unlink()
            (dest / "folder").rmdir()
            (dest / "folder").symlink_to(outside)

    report = await sync_tree(ops, URL, str(dest), options=DELETE, progress=swap)
    assert (outside / "file").read_bytes() == b"precious"
    assert failures(report)


async def test_the_ends_may_be_links(ops: MemoryTree, dest: Path) -> None:
    """DEST and SRC were named by the caller: a link to a folder is that folder."""
    real = dest.parent / "real"
    real.mkdir()
    dest.symlink_to(real)
    ops.store("t/f", b"data")
    await get_tree(ops, URL, str(dest))
    assert names_below(real) == ["f"]
    await put_tree(ops, str(dest), ORIGIN + "/copy")
    assert ops.tree()["copy/f"] == b"data"


async def test_links_and_special_files_in_src_are_skipped_and_named(
    ops: MemoryTree, dest: Path
) -> None:
    """They are no error; their namesakes at the server are not deleted."""
    dest.mkdir()
    (dest / "file").touch()
    (dest / "link").symlink_to("file")
    (dest / "folder").symlink_to("..")
    os.mkfifo(dest / "pipe")
    ops.store("t/folder/kept", b"x")
    ops.store("t/gone", b"x")
    report = await sync_tree(ops, str(dest), URL, options=DELETE)
    assert sorted(report.skipped) == ["folder", "link", "pipe"]
    assert report.errors == []
    assert ops.tree() == {"t": None, "t/file": b"", "t/folder": None, "t/folder/kept": b"x"}


async def test_follow_links_copies_what_they_lead_to(ops: MemoryTree, dest: Path) -> None:
    """Files and folders; a link that leads nowhere is an error of that name."""
    outside = dest.parent / "outside"
    (outside / "sub").mkdir(parents=True)
    (outside / "sub" / "file").write_bytes(b"data")
    dest.mkdir()
    (dest / "folder").symlink_to(outside)
    (dest / "file").symlink_to(outside / "sub" / "file")
    (dest / "nowhere").symlink_to("none")
    (dest / "itself").symlink_to("itself")
    report = await put_tree(ops, str(dest), URL, options=TreeOptions(follow_links=True))
    assert sorted(failures(report)) == ["itself", "nowhere"]
    assert ops.tree() == {
        "t": None,
        "t/file": b"data",
        "t/folder": None,
        "t/folder/sub": None,
        "t/folder/sub/file": b"data",
    }


async def test_followed_links_may_not_lead_in_circles(ops: MemoryTree, dest: Path) -> None:
    """A link to a folder above itself is an error; the others arrive."""
    (dest / "a" / "b").mkdir(parents=True)
    (dest / "a" / "b" / "up").symlink_to(dest / "a")
    (dest / "a" / "root").symlink_to(dest)
    (dest / "a" / "file").touch()
    report = await put_tree(ops, str(dest), URL, options=TreeOptions(follow_links=True))
    assert sorted(failures(report)) == ["a/b/up", "a/root"]
    assert ops.tree() == {"t": None, "t/a": None, "t/a/b": None, "t/a/file": b""}


async def test_follow_links_follows_those_in_dest_too(ops: MemoryTree, dest: Path) -> None:
    """Files arrive where the links lead; a link that is too much goes itself."""
    outside = dest.parent / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"old")
    (outside / "other").touch()
    dest.mkdir()
    (dest / "folder").symlink_to(outside)
    (dest / "file").symlink_to(outside / "file")
    (dest / "surplus").symlink_to(outside)
    (dest / "dangling").symlink_to(outside / "none")
    ops.store("t/folder/new", b"new")
    ops.store("t/file", b"new")
    ops.store("t/dangling/file", b"new")
    options = TreeOptions(follow_links=True, delete=True, exclude=["other", "/folder/file"])
    report = await sync_tree(ops, URL, str(dest), options=options)
    assert report.errors == []
    assert (outside / "file").read_bytes() == b"new"
    assert (outside / "new").read_bytes() == b"new"
    assert (dest / "file").is_symlink()
    assert sorted(os.listdir(dest)) == ["dangling", "file", "folder"]
    assert sorted(os.listdir(outside)) == ["file", "new", "other"]
