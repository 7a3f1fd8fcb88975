"""Trees: servers whose indexes do not show all names (nginx those with a dot, Apache READMEs)."""

from __future__ import annotations

from pathlib import Path

import pytest

from netcache._client.trees.api import TreeOptions, put_tree, sync_tree
from netcache._core.progress import ProgressEvent
from tests.support.memtree import ORIGIN, MemoryTree
from tests.support.treecheck import failures, names_below

URL = ORIGIN + "/t"


@pytest.fixture
def ops() -> MemoryTree:
    """A server with an empty folder ``t``, whose index hides two names."""
    tree = MemoryTree(keeps=False)
    tree.add_folder("t")
    tree.hidden = {".hid", ".git"}
    return tree


@pytest.fixture
def src(tmp_path: Path) -> Path:
    """A tree with a hidden file, and a hidden folder with a file."""
    top = tmp_path / "src"
    (top / ".git").mkdir(parents=True)
    for name in ("shown", ".hid", ".git/config"):
        (top / name).write_bytes(b"one")
    return top


@pytest.mark.parametrize("options", [TreeOptions(), TreeOptions(checksum=True)])
async def test_a_second_run_finds_what_is_hidden(
    ops: MemoryTree, src: Path, options: TreeOptions
) -> None:
    """It is looked at, found the same, and nothing is sent; an edit arrives."""
    assert (await sync_tree(ops, str(src), URL, options=options)).copied == 3
    again = await sync_tree(ops, str(src), URL, options=options)
    assert (again.copied, again.unchanged, again.bytes, again.errors) == (0, 3, 0, [])
    (src / ".hid").write_bytes(b"another")
    (src / ".git" / "config").write_bytes(b"another")
    third = await sync_tree(ops, str(src), URL, options=options)
    assert (third.copied, third.unchanged, third.errors) == (2, 1, [])
    assert ops.tree()["t/.hid"] == ops.tree()["t/.git/config"] == b"another"


async def test_what_is_hidden_is_replaced_only_as_it_was_seen(ops: MemoryTree, src: Path) -> None:
    """Somebody who changes it after the look is not overwritten (promise P7)."""
    await put_tree(ops, str(src), URL)
    (src / ".hid").write_bytes(b"mine, longer")
    real, looks = ops.stat, 0

    async def stat(url: str) -> object:
        nonlocal looks
        found = await real(url)
        if url.endswith("/.hid"):
            looks += 1
            ops.store("t/.hid", b"theirs!")
        return found

    ops.stat = stat  # type: ignore[method-assign,assignment]
    assert failures(await put_tree(ops, str(src), URL)) == {".hid": 4}
    assert looks == 1
    assert ops.tree()["t/.hid"] == b"theirs!"


async def test_a_folder_that_is_hidden_in_place_of_a_file_is_told(
    ops: MemoryTree, src: Path
) -> None:
    """It is an error of that name; the others arrive."""
    ops.add_folder("t/.hid")
    report = await put_tree(ops, str(src), URL)
    assert failures(report) == {".hid": 1}
    assert "is a folder, where a file must be" in report.errors[0].error
    assert report.copied == 2


async def test_progress_of_what_is_hidden_ends(ops: MemoryTree, src: Path) -> None:
    """It begins to be copied, and is done."""
    await put_tree(ops, str(src), URL)
    events: list[ProgressEvent] = []
    await put_tree(ops, str(src), URL, progress=events.append)
    assert [event.kind for event in events if event.name == ".hid"] == ["start", "done"]


async def test_what_is_neither_file_nor_folder_at_the_server_is_there(
    ops: MemoryTree, src: Path
) -> None:
    """A link that dangles for a moment is passed over and named; its namesake here stays."""
    ops.left_out = ("shown",)
    ops.store("t/new", b"x")
    report = await sync_tree(ops, URL, str(src), options=TreeOptions(delete=True))
    assert (report.copied, report.deleted, report.skipped) == (1, 3, ["shown"])
    assert names_below(src) == ["new", "shown"]
