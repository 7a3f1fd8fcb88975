"""Counters: groups, saving, adding up."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from netcache._client.saved_stats import add_to_saved, read_saved
from netcache._core.stats import GROUPS, Stats, decode, encode, merge


def test_every_counter_begins_at_zero_and_grows() -> None:
    """A fresh client has counted nothing."""
    stats = Stats()
    assert not any(value for names in stats.as_groups().values() for value in names.values())
    stats.add("DownOps", "DL")
    stats.add("DownOps", "bytes", 4096)
    assert stats.as_groups()["DownOps"]["bytes"] == 4096


def test_an_unknown_counter_is_a_bug() -> None:
    """A misspelled name is noticed at once."""
    with pytest.raises(KeyError):
        Stats().add("DownOps", "nonsense")


def test_saved_counters_survive_a_round_trip_and_add_up() -> None:
    """``decode`` undoes ``encode``; gauges are not saved."""
    stats = Stats()
    stats.add("IO", "rd", 7)
    stats.add("Objs", "rr", 3)
    groups = decode(encode(stats.as_groups()))
    assert groups["IO"]["rd"] == 7
    assert groups["Objs"]["rr"] == 0
    assert merge(groups, stats.as_groups())["IO"]["rd"] == 14


def test_garbage_in_the_saved_counters_is_passed_over() -> None:
    """A damaged file costs counters, never an error."""
    assert decode("IO.rd x\nnonsense\nNo.such 5\nIO.wr 2\n")["IO"]["wr"] == 2


def test_counters_of_several_clients_are_added_in_the_file(tmp_path: Path) -> None:
    """The file ``stats`` holds the sum; it is private to its owner."""
    stats = Stats()
    stats.add("UpldOps", "UL", 2)
    add_to_saved(str(tmp_path), stats.as_groups())
    add_to_saved(str(tmp_path), stats.as_groups())
    assert read_saved(str(tmp_path))["UpldOps"]["UL"] == 4
    assert os.stat(tmp_path / "stats").st_mode & 0o777 == 0o600


def test_every_counter_is_explained() -> None:
    """``stats`` has a text for each name."""
    assert all(text for names in GROUPS.values() for text in names.values())
