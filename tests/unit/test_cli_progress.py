"""What the bars know: figures from the events of a transfer."""

from __future__ import annotations

from netcache._core.progress import ProgressEvent
from netcache_cli.progress import Figures, _shortened


def test_one_transfer_has_no_total() -> None:
    """Its own bar says it all; the end is kept for the last picture."""
    figures = Figures()
    figures.note(ProgressEvent("start", "a", 0, None))
    figures.note(ProgressEvent("advance", "a", 5, 10))
    assert figures.active == {"a": (5, 10)}
    assert not figures.is_tree
    figures.note(ProgressEvent("done", "a", 10, 10))
    assert figures.active == {}
    assert (figures.last, figures.ended, figures.ended_bytes) == (("a", 10), 1, 10)


def test_a_tree_has_a_total_from_its_plan() -> None:
    """The plan grows as the scan goes on; what is unchanged moves nothing."""
    figures = Figures()
    figures.note(ProgressEvent("plan", "", 0, 100))
    figures.note(ProgressEvent("unchanged", "same", 50, 50))
    figures.note(ProgressEvent("plan", "", 0, 300))
    assert figures.is_tree
    assert (figures.planned_bytes, figures.ended, figures.ended_bytes) == (300, 0, 0)


def test_several_transfers_have_a_total() -> None:
    """Even without a plan."""
    figures = Figures()
    for name in "ab":
        figures.note(ProgressEvent("start", name, 0, None))
    assert figures.is_tree


def test_a_failed_transfer_is_no_longer_drawn() -> None:
    """Its error is told in words."""
    figures = Figures()
    figures.note(ProgressEvent("start", "a", 0, None))
    figures.note(ProgressEvent("failed", "a", 3, None))
    assert figures.active == {}
    assert figures.last is None


def test_long_names_keep_their_ends() -> None:
    """The part that tells files apart; and nothing that moves the cursor."""
    assert _shortened("a/b") == "a/b"
    assert _shortened("x" * 50 + "/end.bin") == "…" + "x" * 31 + "/end.bin"
    assert _shortened("a\x1bb") == "a\\x1bb"
