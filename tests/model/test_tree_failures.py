"""Trees against a model, with operations that fail."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from netcache._client.trees.api import (
    TreeOptions,
    sync_tree,
)
from netcache.errors import TransientError
from tests.support.memtree import MemoryTree
from tests.support.treemodel import (
    MTIME_S,
    URL,
    Tree,
    local_folder,
    local_tree,
    make_local,
    make_remote,
    model_settings,
    paths,
    remote_tree,
    run,
    trees,
)

failing = st.lists(
    st.tuples(st.sampled_from(["list", "stat", "get_file"]), paths), min_size=1, max_size=4
)


@model_settings
@given(trees, trees, failing)
def test_failures_cost_nothing_but_what_failed(
    source: Tree, dest: Tree, broken: list[tuple[str, str]]
) -> None:
    """Whatever fails: what succeeds is right, no unlisted name goes, the next run completes it."""
    with local_folder() as root:
        ops = MemoryTree()
        make_remote(ops, source)
        make_local(root, dest, MTIME_S - 50)
        for operation, path in broken:
            ops.fail[operation, ("t", *path.split("/"))] = TransientError("ill")
        options = TreeOptions(delete=True)
        report = run(sync_tree(ops, URL, str(root), options=options))
        after = local_tree(root)
        for name, data in after.items():
            assert name in source or name in dest
            assert data in (source.get(name), dest.get(name))
        if any(operation == "list" for (operation, _) in ops.fail) and report.deleted:
            listed = {names for name, names in ops.calls if name == "list"}
            # A folder whose name a file had is listed only after that file has gone; that listing
            # comes too late to stop deletions, so there must be such a name, and nothing may be
            # missing that the source has and that was not in the way.
            in_the_way = [
                name
                for name, data in dest.items()
                if name in source and (data is None) != (source[name] is None)
            ]
            if listed & {names for operation, names in ops.fail if operation == "list"}:
                assert in_the_way
                gone = [name for name in dest if name not in after]
                assert all(
                    name not in source
                    or any(name == way or name.startswith(way + "/") for way in in_the_way)
                    for name in gone
                )
        if not report.errors:
            assert after == source
        ops.fail.clear()
        assert not run(sync_tree(ops, URL, str(root), options=options)).errors
        assert local_tree(root) == source


up_failing = st.lists(
    st.tuples(st.sampled_from(["list", "put_file", "make_folder", "delete"]), paths),
    min_size=1,
    max_size=4,
)


@model_settings
@given(trees, trees, up_failing)
def test_failures_of_uploads_cost_nothing_but_what_failed(
    source: Tree, dest: Tree, broken: list[tuple[str, str]]
) -> None:
    """The same upwards."""
    with local_folder() as root:
        ops = MemoryTree()
        make_local(root, source, MTIME_S + 50)
        make_remote(ops, dest)
        for operation, path in broken:
            ops.fail[operation, ("t", *path.split("/"))] = TransientError("ill")
        options = TreeOptions(delete=True)
        report = run(sync_tree(ops, str(root), URL, options=options))
        after = remote_tree(ops)
        for name, data in after.items():
            assert name in source or name in dest
            assert data in (source.get(name), dest.get(name))
        assert report.errors or after == source
        ops.fail.clear()
        assert not run(sync_tree(ops, str(root), URL, options=options)).errors
        assert remote_tree(ops) == source
