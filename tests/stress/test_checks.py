"""What the stress test calls a fault, and what not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stress.book import Book
from tests.stress.checks import EditWatch

BASE = b"b" * 16
SPARSE = BASE.ljust(4000, b"\0") + b"e" * 700


def watch_of(folder: Path, *since: tuple[bytes, str]) -> EditWatch:
    """An edit of ``BASE`` that has made it ``SPARSE``; the server has had these versions since."""
    for number, (data, author) in enumerate([(BASE, "another"), *since]):
        (folder / f"r={number}").write_bytes(data)
        with (folder / "r").open("a") as log:
            log.write(f"{number} {author} {number} {number}\n")
    watch = EditWatch(Book(folder), "r", "me")
    watch.base, watch.steps = "0", [BASE]
    watch.model.data[:] = BASE
    watch.write(4000, b"e" * 700)
    return watch


@pytest.mark.parametrize(
    "data",
    [b"another", BASE, SPARSE, SPARSE[:2707], BASE + b"\0"],
    ids=["new", "its base again", "the same", "cut", "longer"],
)
def test_a_conflict_with_somebody_is_none(tmp_path: Path, data: bytes) -> None:
    """Also with one who has stored bytes that the edit could have stored itself."""
    watch_of(tmp_path, (SPARSE, "me"), (data, "another")).conflicted()


def test_a_conflict_with_what_its_process_recovered_is_none(tmp_path: Path) -> None:
    """A client that starts uploads what killed ones left, while others use it already."""
    watch_of(tmp_path, (b"left by one that was killed", "me")).conflicted()


@pytest.mark.parametrize("own", [(), ((SPARSE, "me"),)], ids=["nothing", "its own"])
def test_a_conflict_with_nothing_but_the_edit_itself_is_a_fault(
    tmp_path: Path, own: tuple[tuple[bytes, str], ...]
) -> None:
    """Nobody else has written."""
    with pytest.raises(AssertionError, match="conflicts with nobody"):
        watch_of(tmp_path, *own).conflicted()


def test_an_edit_that_follows_another_ones_version_unseen_is_a_fault(tmp_path: Path) -> None:
    """Even when that bears the bytes that the edit was made from."""
    with pytest.raises(AssertionError, match="overwritten unseen"):
        watch_of(tmp_path, (BASE, "another"), (SPARSE, "me")).arrived()


def test_an_edit_that_stored_what_nobody_wrote_is_a_fault(tmp_path: Path) -> None:
    """Before what it should store."""
    with pytest.raises(AssertionError, match="never written"):
        watch_of(tmp_path, (SPARSE[:-1] + b"x", "me"), (SPARSE, "me")).arrived()


def test_an_edit_that_arrived_in_steps_is_none(tmp_path: Path) -> None:
    """All of them its own."""
    watch_of(tmp_path, (BASE.ljust(4000, b"\0"), "me"), (SPARSE, "me")).arrived()
