"""Trees of a server alone: removing, listing, warming."""

from __future__ import annotations

import pytest

from netcache._client.report import Report
from netcache._client.trees.api import (
    list_tree,
    remove_tree,
    warm_tree,
)
from netcache.errors import (
    AccessDeniedError,
    NotFoundError,
    TransientError,
)
from netcache.spi import ResourceInfo
from tests.support.memtree import ORIGIN, MemoryTree
from tests.support.treecheck import failures

URL = ORIGIN + "/t"


@pytest.fixture
def ops() -> MemoryTree:
    """A server with an empty folder ``t``."""
    tree = MemoryTree()
    tree.add_folder("t")
    return tree


async def test_rm_removes_the_whole_tree(ops: MemoryTree) -> None:
    """Files, empty folders, the folder itself; a file alone; nothing else."""
    ops.store("t/a/b/c", b"x")
    ops.add_folder("t/e")
    ops.store("other", b"x")
    report = await remove_tree(ops, URL + "/")
    assert report.deleted == 5
    assert ops.tree() == {"other": b"x"}
    assert (await remove_tree(ops, ORIGIN + "/other")).deleted == 1
    assert ops.tree() == {}


async def test_rm_of_what_is_not_there_is_an_error(ops: MemoryTree) -> None:
    """Exit code 3."""
    with pytest.raises(NotFoundError):
        await remove_tree(ops, ORIGIN + "/none")


async def test_rm_of_the_root_empties_it(ops: MemoryTree) -> None:
    """The root of a server stays."""
    ops.store("t/f", b"x")
    assert (await remove_tree(ops, ORIGIN)).errors == []
    assert ops.tree() == {}


async def test_rm_goes_on_after_an_error_and_keeps_what_holds_it(ops: MemoryTree) -> None:
    """The error is told once; folders above it are kept without further errors."""
    ops.store("t/a/bad", b"x")
    ops.store("t/a/good", b"x")
    ops.store("t/b", b"x")
    ops.fail["delete", ("t", "a", "bad")] = AccessDeniedError("no")
    report = await remove_tree(ops, URL)
    assert failures(report) == {"a/bad": 10}
    assert ops.tree() == {"t": None, "t/a": None, "t/a/bad": b"x"}


async def test_rm_of_an_unlisted_folder_keeps_it(ops: MemoryTree) -> None:
    """What cannot be listed cannot be removed; the rest goes."""
    ops.store("t/a/f", b"x")
    ops.store("t/b", b"x")
    ops.fail["list", ("t", "a")] = AccessDeniedError("no")
    report = await remove_tree(ops, URL)
    assert failures(report) == {"a": 10}
    assert ops.tree() == {"t": None, "t/a": None, "t/a/f": b"x"}


async def test_names_that_vanish_before_they_are_deleted_are_fine() -> None:
    """Somebody else was faster; they are gone, as was wished."""

    class Racing(MemoryTree):
        async def delete(self, url: str) -> None:
            await super().delete(url)
            raise NotFoundError("gone")

    racing = Racing()
    racing.store("t/f", b"x")
    report = await remove_tree(racing, URL)
    assert (report.errors, racing.tree()) == ([], {})


async def test_ls_names_the_whole_tree_in_order(ops: MemoryTree) -> None:
    """Relative names, a folder before what it holds; a file is its own tree."""
    ops.store("t/a/x", b"1")
    ops.store("t/a-b", b"2")
    ops.add_folder("t/z")
    assert [info.name for info in await list_tree(ops, URL)] == ["a", "a/x", "a-b", "z"]
    assert [info.name for info in await list_tree(ops, URL + "/a-b")] == ["a-b"]


async def test_ls_raises_or_reports_what_it_cannot_list(ops: MemoryTree) -> None:
    """With a report the other folders are shown."""
    ops.store("t/a/x", b"1")
    ops.store("t/b/y", b"1")
    ops.fail["list", ("t", "a")] = AccessDeniedError("no")
    with pytest.raises(AccessDeniedError):
        await list_tree(ops, URL)
    report = Report()
    listed = await list_tree(ops, URL, report=report)
    assert [info.name for info in listed] == ["a", "b", "b/y"]
    assert failures(report) == {"a": 10}


async def test_warm_brings_every_file_once(ops: MemoryTree) -> None:
    """Counted as copied when bytes came, as unchanged when not, as failed when not brought."""
    for name in ("a/x", "a/y", "z", "bad"):
        ops.store(f"t/{name}", b"data")

    async def warm_one(info: ResourceInfo) -> tuple[int, int]:
        if info.name == "bad":
            raise TransientError("cut")
        return 4, 0 if info.name == "z" else 4

    report = await warm_tree(ops, URL, warm_one)
    assert (report.copied, report.unchanged, report.bytes) == (2, 1, 8)
    assert failures(report) == {"bad": 5}
    assert (await warm_tree(ops, URL + "/z", warm_one)).unchanged == 1
    with pytest.raises(TransientError):
        await warm_tree(ops, URL + "/bad", warm_one)
