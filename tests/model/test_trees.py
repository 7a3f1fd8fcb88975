"""Trees against a model: any two trees, both directions, all options.

The server is ``MemoryTree``; the local side is a real folder.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from netcache._client.trees.api import (
    TreeOptions,
    get_tree,
    list_tree,
    put_tree,
    remove_tree,
    sync_tree,
)
from tests.support.memtree import MemoryTree
from tests.support.treemodel import (
    MTIME_S,
    URL,
    Tree,
    clashes,
    local_folder,
    local_tree,
    make_local,
    make_remote,
    merged,
    model_settings,
    remote_tree,
    run,
    times,
    trees,
)


@model_settings
@given(trees, trees, times, st.booleans())
def test_sync_down_with_delete_makes_dest_the_source(
    source: Tree, dest: Tree, dest_mtime_s: int, checksum: bool
) -> None:
    """Whatever was there; a dry run tells the same figures; a second run finds nothing to do."""
    with local_folder() as root:
        ops = MemoryTree()
        make_remote(ops, source)
        make_local(root, dest, dest_mtime_s)
        # Equal size and second is by rule the same file: give such files the same bytes.
        if dest_mtime_s == MTIME_S and not checksum:
            _agree(root, source, dest)
        options = TreeOptions(delete=True, checksum=checksum)
        before = local_tree(root)
        dry = run(sync_tree(ops, URL, str(root), options=options._replace(dry_run=True)))
        assert local_tree(root) == before
        real = run(sync_tree(ops, URL, str(root), options=options))
        assert local_tree(root) == source
        assert real.as_json() == dry.as_json()
        assert not real.errors
        again = run(sync_tree(ops, URL, str(root), options=options))
        files = sum(data is not None for data in source.values())
        assert (again.copied, again.deleted, again.unchanged) == (0, 0, files)


def _agree(root: Path, source: Tree, dest: Tree) -> None:
    for name, data in source.items():
        there = dest.get(name)
        if data is not None and there is not None and len(data) == len(there):
            (root / name).write_bytes(data)
            os.utime(root / name, (MTIME_S, MTIME_S))


@model_settings
@given(trees, trees, st.booleans())
def test_sync_up_with_delete_makes_the_server_the_source(
    source: Tree, dest: Tree, keeps: bool
) -> None:
    """The same towards a server, whether it keeps times or not."""
    with local_folder() as root:
        ops = MemoryTree(keeps=keeps)
        make_local(root, source, MTIME_S + 100)
        make_remote(ops, dest, MTIME_S)
        options = TreeOptions(delete=True)
        before = remote_tree(ops)
        dry = run(sync_tree(ops, str(root), URL, options=options._replace(dry_run=True)))
        assert remote_tree(ops) == before
        real = run(sync_tree(ops, str(root), URL, options=options))
        assert remote_tree(ops) == source
        assert real.as_json() == dry.as_json()
        again = run(sync_tree(ops, str(root), URL, options=options))
        files = sum(data is not None for data in source.values())
        assert (again.copied, again.deleted, again.unchanged) == (0, 0, files)


@model_settings
@given(trees, trees)
def test_get_lays_the_source_over_dest(source: Tree, dest: Tree) -> None:
    """Without deletion nothing of DEST goes, and type clashes are told, one by one."""
    with local_folder() as root:
        ops = MemoryTree()
        make_remote(ops, source)
        make_local(root, dest, MTIME_S - 50)
        report = run(get_tree(ops, URL, str(root)))
        assert local_tree(root) == merged(source, dest)
        told = {error.name for error in report.errors}
        assert told == {
            name
            for name in clashes(source, dest)
            if not any(name.startswith(each + "/") for each in clashes(source, dest))
        }
        assert report.deleted == 0


@model_settings
@given(trees, trees)
def test_put_lays_the_source_over_the_server(source: Tree, dest: Tree) -> None:
    """The same upwards."""
    with local_folder() as root:
        ops = MemoryTree()
        make_local(root, source, MTIME_S + 50)
        make_remote(ops, dest)
        run(put_tree(ops, str(root), URL))
        assert remote_tree(ops) == merged(source, dest)


@model_settings
@given(trees, trees, st.integers(0, 4))
def test_max_delete_is_all_or_nothing(source: Tree, dest: Tree, most: int) -> None:
    """Either all that is too much goes, or nothing does and the copies are made all the same."""
    with local_folder() as root:
        ops = MemoryTree()
        make_remote(ops, source)
        make_local(root, dest, MTIME_S - 50)
        options = TreeOptions(delete=True, max_delete=most)
        report = run(sync_tree(ops, URL, str(root), options=options))
        clashing = clashes(source, dest)
        going = {
            name
            for name in dest
            if name not in source
            or name in clashing
            or any(name.startswith(each + "/") for each in clashing)
        }
        if len(going) <= most:
            assert local_tree(root) == source
            assert report.deleted == len(going)
        else:
            assert local_tree(root) == merged(source, dest)
            assert report.deleted == 0
            assert 6 in {error.code for error in report.errors}


@model_settings
@given(trees, trees, st.booleans())
def test_excluded_names_are_left_alone_on_both_sides(
    source: Tree, dest: Tree, as_include: bool
) -> None:
    """Neither copied nor deleted, nor what they hold; folders that hold them stay."""
    with local_folder() as root:
        ops = MemoryTree()
        make_remote(ops, source)
        make_local(root, dest, MTIME_S - 50)
        exclude = ["c.tmp"]
        include = ["a", "b", "ä*"] if as_include else []
        options = TreeOptions(delete=True, include=include, exclude=exclude)
        run(sync_tree(ops, URL, str(root), options=options))
        after = local_tree(root)

        def is_out(name: str) -> bool:
            return "c.tmp" in name.split("/")

        assert {n: d for n, d in after.items() if is_out(n)} == {
            n: d for n, d in dest.items() if is_out(n)
        }
        protected = {
            above for name in dest if is_out(name) for above in _above(name) if not is_out(above)
        }
        if not clashes(source, dest):
            copied = {n: d for n, d in source.items() if not is_out(n)}
            assert {n: d for n, d in after.items() if not is_out(n)} == {
                **dict.fromkeys(protected),
                **copied,
            }


def _above(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[:length]) for length in range(1, len(parts))]


@model_settings
@given(trees)
def test_there_and_back_again(tree: Tree) -> None:
    """Put, list, get into a new folder, remove: every step shows the same tree."""
    with local_folder() as root:
        ops = MemoryTree()
        make_local(root, tree)
        run(put_tree(ops, str(root), URL))
        listed = asyncio.run(list_tree(ops, URL))
        assert {info.name: info.type == "directory" for info in listed} == {
            name: data is None for name, data in tree.items()
        }
        other = root.parent / "other"
        run(get_tree(ops, URL + "/", f"{other}//"))
        assert local_tree(other) == tree
        gone = run(remove_tree(ops, URL))
        assert gone.deleted == len(tree) + 1
        assert ops.tree() == {}


@model_settings
@given(trees, trees, st.sampled_from(["sizes", "names"]))
def test_poor_listings_cost_requests_but_no_mistakes(source: Tree, dest: Tree, style: Any) -> None:
    """Missing times and sizes are asked for; a second run still copies nothing."""
    with local_folder() as root:
        ops = MemoryTree()
        make_remote(ops, source, MTIME_S + 7)
        make_local(root, dest, MTIME_S + 3)
        ops.listing_style = style
        options = TreeOptions(delete=True)
        dry = run(sync_tree(ops, URL, str(root), options=options._replace(dry_run=True)))
        real = run(sync_tree(ops, URL, str(root), options=options))
        assert local_tree(root) == source
        assert real.as_json() == dry.as_json()
        assert run(sync_tree(ops, URL, str(root), options=options)).copied == 0
