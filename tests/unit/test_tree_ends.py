"""Trees: what SRC and DEST may be, and what is raised about them."""

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
from netcache.errors import (
    AccessDeniedError,
    NetCacheError,
    NotFoundError,
    TransientError,
    UsageError,
)
from tests.support.memtree import ORIGIN, MemoryTree
from tests.support.treecheck import names_below

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


async def test_a_second_run_goes_to_the_same_place(ops: MemoryTree, dest: Path) -> None:
    """DEST becomes the tree, also when it is there already; slashes at the end mean nothing."""
    ops.store("t/a/b", b"data")
    for url, place in [(URL, str(dest)), (URL + "/", f"{dest}/"), (URL, f"{dest}//")]:
        await get_tree(ops, url, place)
        assert names_below(dest) == ["a", "a/b"]


async def test_empty_folders_are_made_on_both_sides(ops: MemoryTree, dest: Path) -> None:
    """Also an empty root, also nested ones."""
    ops.add_folder("t/a/b")
    await get_tree(ops, URL, str(dest))
    assert names_below(dest) == ["a", "a/b"]
    await put_tree(ops, str(dest), ORIGIN + "/copy/deep")
    assert ("copy", "deep", "a", "b") in ops.folders
    (dest.parent / "empty").mkdir()
    await put_tree(ops, str(dest.parent / "empty"), ORIGIN + "/empty")
    assert ("empty",) in ops.folders


async def test_a_missing_source_empties_nothing(ops: MemoryTree, dest: Path) -> None:
    """Exit code 3, and what is in DEST stays."""
    dest.mkdir()
    (dest / "keep").touch()
    with pytest.raises(NotFoundError):
        await sync_tree(ops, ORIGIN + "/none", str(dest), options=DELETE)
    assert names_below(dest) == ["keep"]
    ops.store("t/keep", b"x")
    with pytest.raises(NotFoundError) as caught:
        await sync_tree(ops, str(dest / "none"), URL, options=DELETE)
    assert caught.value.exit_code == 3
    assert ops.count("delete") == 0


async def test_a_source_that_cannot_be_listed_empties_nothing(ops: MemoryTree, dest: Path) -> None:
    """The error of the root is raised, DEST is not even made."""
    ops.fail["list", ("t",)] = TransientError("the server is ill")
    with pytest.raises(TransientError):
        await sync_tree(ops, URL, str(dest), options=DELETE)
    assert not dest.exists()


async def test_sync_needs_exactly_one_url(ops: MemoryTree) -> None:
    """Two URLs or two paths are a usage error."""
    with pytest.raises(UsageError, match="both are URLs"):
        await sync_tree(ops, URL, URL)
    with pytest.raises(UsageError, match="both are local"):
        await sync_tree(ops, "a", "b")


@pytest.mark.parametrize(
    "options",
    [
        TreeOptions(checksum=True, size_only=True),
        TreeOptions(max_delete=-1),
        TreeOptions(include="*.txt"),
        TreeOptions(exclude=["["]),
    ],
)
async def test_options_without_meaning_are_refused(ops: MemoryTree, options: TreeOptions) -> None:
    """Before anything is asked of the server."""
    with pytest.raises(UsageError):
        await get_tree(ops, URL, "dest", options=options)
    assert ops.calls == []


@pytest.mark.parametrize("path", ["", "a\0b"])
async def test_a_path_without_meaning_is_refused(ops: MemoryTree, path: str) -> None:
    """Empty, or with a NUL."""
    with pytest.raises(UsageError):
        await get_tree(ops, URL, path)
    with pytest.raises(UsageError):
        await put_tree(ops, path, URL)


async def test_a_file_is_copied_as_one(ops: MemoryTree, dest: Path) -> None:
    """DEST becomes the file, or holds it when it is a folder; twice is once."""
    ops.store("t/f", b"data")
    assert (await get_tree(ops, URL + "/f", str(dest))).copied == 1
    assert dest.read_bytes() == b"data"
    assert (await get_tree(ops, URL + "/f/", str(dest))).unchanged == 1
    folder = dest.parent / "folder"
    folder.mkdir()
    for copied in (1, 0):
        assert (await get_tree(ops, URL + "/f", str(folder))).copied == copied
        assert names_below(folder) == ["f"]


async def test_a_local_file_is_uploaded_as_one(ops: MemoryTree, dest: Path) -> None:
    """The URL becomes the file, or holds it when it is a folder; twice is once."""
    dest.write_bytes(b"data")
    for copied in (1, 0):
        assert (await put_tree(ops, str(dest), ORIGIN + "/f")).copied == copied
        assert (await put_tree(ops, str(dest), URL)).copied == copied
    assert ops.tree() == {"f": b"data", "t": None, "t/dest": b"data"}


async def test_the_only_file_raises_its_own_error(ops: MemoryTree, dest: Path) -> None:
    """One item, its own exit code."""
    ops.store("t/f", b"data")
    ops.fail["get_file", ("t", "f")] = AccessDeniedError("no")
    with pytest.raises(AccessDeniedError):
        await get_tree(ops, URL + "/f", str(dest))


async def test_the_ends_are_never_replaced_by_another_type(ops: MemoryTree, dest: Path) -> None:
    """Not even with deletion: a folder for a file, or a file for a folder."""
    ops.store("t/f", b"data")
    dest.mkdir()
    (dest / "precious").touch()
    with pytest.raises(NetCacheError, match="a folder stands"):
        await sync_tree(ops, URL + "/f", str(dest), options=DELETE)
    with pytest.raises(NetCacheError, match="a file stands"):
        await sync_tree(ops, URL, str(dest / "precious"), options=DELETE)
    with pytest.raises(NetCacheError, match="a folder stands"):
        await sync_tree(ops, str(dest / "precious"), URL, options=DELETE)
    with pytest.raises(NetCacheError, match="a file stands"):
        await sync_tree(ops, str(dest), URL + "/f", options=DELETE)
    assert names_below(dest) == ["precious"]
    assert ops.tree() == {"t": None, "t/f": b"data"}


async def test_a_special_file_is_no_source(ops: MemoryTree, dest: Path) -> None:
    """A pipe would be read for ever."""
    os.mkfifo(dest)
    with pytest.raises(NetCacheError, match="neither a file nor a folder"):
        await put_tree(ops, str(dest), URL)
