"""Random trees on both sides, and the model's idea of what a copy makes of them.

Trees are dictionaries from relative names to bytes (files) or None (folders).
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from netcache._client.report import Report
from tests.support.memtree import ORIGIN, MemoryTree

Tree = dict[str, bytes | None]
URL = ORIGIN + "/t"
MTIME_S = 1_500_000_000

names = st.sampled_from(["a", "b", "c.tmp", "ä %#?"])
paths = st.lists(names, min_size=1, max_size=3).map("/".join)
contents = st.sampled_from([b"", b"x", b"y", b"long"]) | st.none()


def _consistent(wished: dict[str, bytes | None]) -> Tree:
    """A tree in which parents are folders."""
    tree: Tree = {}
    for path in sorted(wished):
        parts = path.split("/")
        above = ["/".join(parts[:length]) for length in range(1, len(parts))]
        if any(tree.get(each, None) is not None for each in above):
            continue
        tree.update(dict.fromkeys(above))
        tree.setdefault(path, wished[path])
    return tree


trees = st.dictionaries(paths, contents, max_size=8).map(_consistent)
times = st.sampled_from([MTIME_S - 100, MTIME_S, MTIME_S + 100])
model_settings = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def run(work: Coroutine[Any, Any, Report]) -> Report:
    """Run one tree operation."""
    return asyncio.run(work)


@contextmanager
def local_folder() -> Iterator[Path]:
    """A new folder; its ``t`` is the local side."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "t"


def make_local(root: Path, tree: Tree, mtime_s: int = MTIME_S) -> None:
    """Make the tree on the local side."""
    root.mkdir()
    for path, data in sorted(tree.items()):
        place = root / path
        if data is None:
            place.mkdir(parents=True, exist_ok=True)
        else:
            place.write_bytes(data)
            os.utime(place, (mtime_s, mtime_s))


def make_remote(ops: MemoryTree, tree: Tree, mtime_s: int = MTIME_S) -> None:
    """Make the tree at the server."""
    ops.add_folder("t")
    for path, data in sorted(tree.items()):
        if data is None:
            ops.add_folder(f"t/{path}")
        else:
            ops.store(f"t/{path}", data, mtime_s)


def local_tree(root: Path) -> Tree:
    """The local side."""
    return {
        str(place.relative_to(root)): None if place.is_dir() else place.read_bytes()
        for place in root.rglob("*")
    }


def remote_tree(ops: MemoryTree) -> Tree:
    """The server's side."""
    return {path[2:]: data for path, data in ops.tree().items() if path.startswith("t/")}


def clashes(source: Tree, dest: Tree) -> set[str]:
    """The names that are a file on one side and a folder on the other."""
    return {
        name
        for name in source.keys() & dest.keys()
        if (source[name] is None) != (dest[name] is None)
    }


def merged(source: Tree, dest: Tree) -> Tree:
    """DEST after a copy without deletion: SRC over it, but not where types clash."""
    clashing = clashes(source, dest)

    def blocked(name: str) -> bool:
        return any(name == each or name.startswith(each + "/") for each in clashing)

    return {**dest, **{name: data for name, data in source.items() if not blocked(name)}}
