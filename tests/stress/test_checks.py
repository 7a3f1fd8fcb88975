"""What the stress test calls a fault, and what not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stress.book import Book
from tests.stress.checks import EditWatch

BASE = b"b" * 16
SPARSE = BASE.ljust(4000, b"\0") + b"e" * 700


def watch_of(folder: Path, *since: bytes) -> EditWatch:
    """An edit of ``BASE`` that has made it ``SPARSE``; the server has had these versions since."""
    for number, data in enumerate([BASE, *since]):
        (folder / f"r={number}").write_bytes(data)
        with (folder / "r").open("a") as log:
            log.write(f"{number} {number} {number}\n")
    watch = EditWatch(Book(folder), "r")
    watch.base, watch.steps = "0", [BASE]
    watch.model.data[:] = BASE
    watch.write(4000, b"e" * 700)
    return watch


@pytest.mark.parametrize(
    "others",
    [b"another", b"b" * 15, SPARSE[:2707], SPARSE + b"\0", BASE + b"\0", SPARSE[:-1] + b"x"],
    ids=["new", "cut", "ours cut", "ours longer", "longer", "changed"],
)
def test_a_conflict_with_a_version_that_the_edit_cannot_have_made_is_none(
    tmp_path: Path, others: bytes
) -> None:
    """Also when somebody has changed the size, and nothing else, of what the edit had sent."""
    watch_of(tmp_path, SPARSE, others).conflicted()


@pytest.mark.parametrize("own", [(), (SPARSE,)], ids=["nothing", "its own"])
def test_a_conflict_with_nothing_but_the_edit_itself_is_a_fault(
    tmp_path: Path, own: tuple[bytes, ...]
) -> None:
    """Nobody else has written."""
    with pytest.raises(AssertionError, match="conflicts with nobody"):
        watch_of(tmp_path, *own).conflicted()
