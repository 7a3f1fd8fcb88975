"""Trees: strange names, and names that cannot be."""

# Tests may block their own event loop.
# ruff: noqa: ASYNC240

from __future__ import annotations

import os
from pathlib import Path

import pytest

from netcache._client.trees.api import (
    TreeOptions,
    exit_code,
    get_tree,
    list_tree,
    put_tree,
    remove_tree,
    sync_tree,
)
from netcache.errors import (
    NetCacheError,
)
from netcache.spi import ResourceInfo
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


STRANGE = [
    "with space",
    "100%",
    "%2F",
    "a#b",
    "a?b=c",
    "new\nline",
    "-rf",
    "--",
    "ünïcödé",
    "日本語",
    os.fsdecode(b"bytes\xff\xfe"),
    "back\\slash",
    "'quote\"",
    "tab\t",
    "...",
    "~",
    "a;b&c+d",
    "[x]{y}*",
    "x" * 255,
    "trailing.",
    " ",
]


async def test_strange_names_go_up_and_come_down(ops: MemoryTree, dest: Path) -> None:
    """As file and as folder, byte for byte the same name."""
    dest.mkdir()
    for name in STRANGE:
        (dest / name).write_bytes(b"1")
    (dest / "in").mkdir()
    for name in STRANGE:
        (dest / "in" / name).mkdir()
        (dest / "in" / name / name).write_bytes(b"2")
    assert (await put_tree(ops, str(dest), URL)).errors == []
    back = dest.parent / "back"
    assert (await sync_tree(ops, URL, str(back), options=DELETE)).errors == []
    assert names_below(back) == names_below(dest)
    assert (await sync_tree(ops, str(back), URL, options=DELETE)).copied == 0


@pytest.mark.parametrize("name", ["..", ".", "", "a/b", "a\0b", "x" * 256, "../../evil", "/etc/x"])
async def test_a_remote_name_that_cannot_be_local_is_an_item_error(name: str, dest: Path) -> None:
    """The others arrive, nothing lands elsewhere, and nothing is left out of deletion."""

    class Evil(MemoryTree):
        async def list(self, url: str) -> list[ResourceInfo]:
            infos = await super().list(url)
            return [info._replace(name=name) if info.name == "evil" else info for info in infos]

    ops = Evil()
    ops.store("t/evil", b"evil")
    ops.store("t/good", b"good")
    dest.mkdir()
    (dest / "old").touch()
    report = await sync_tree(ops, URL, str(dest), options=DELETE)
    assert [error.name for error in report.errors] == [name]
    assert exit_code(report) == 6
    assert names_below(dest.parent) == ["dest", "dest/good"]


async def test_files_in_flight_take_no_part(ops: MemoryTree, dest: Path) -> None:
    """What another download is being written to is neither uploaded nor deleted."""
    dest.mkdir()
    (dest / ".netcache-0123456789abcdef.part").touch()
    (dest / ".netcache-mine.part").touch()
    await put_tree(ops, str(dest), URL)
    assert ops.tree() == {"t": None, "t/.netcache-mine.part": b""}
    await remove_tree(ops, URL)
    ops.add_folder("t")
    await sync_tree(ops, URL, str(dest), options=DELETE)
    assert names_below(dest) == [".netcache-0123456789abcdef.part"]


async def test_a_name_that_stands_twice_is_an_error_once(dest: Path) -> None:
    """The first is taken: two copiers never write one file."""

    class Twice(MemoryTree):
        async def list(self, url: str) -> list[ResourceInfo]:
            return (await super().list(url)) * 2

    ops = Twice()
    ops.store("t/f", b"data")
    report = await get_tree(ops, URL, str(dest))
    assert (report.copied, failures(report)) == (1, {"f": 1})


async def test_a_tree_without_end_is_cut_off(dest: Path) -> None:
    """A server that shows a folder in every folder does not keep us for ever."""

    class Endless(MemoryTree):
        async def list(self, url: str) -> list[ResourceInfo]:
            return [ResourceInfo(url + "d/", "d", "directory", None, None, None)]

    ops = Endless()
    ops.add_folder("t")
    with pytest.raises(NetCacheError, match="folders deep"):
        await list_tree(ops, URL)
    report = await get_tree(ops, URL, str(dest), options=TreeOptions(dry_run=True))
    assert len(report.errors) == 1
