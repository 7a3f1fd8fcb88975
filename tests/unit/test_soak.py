"""The runner of the long tests: what it counts, and when it fails."""

from __future__ import annotations

import pytest

from tests.soak import SUITES, Suite, soak

GOOD = Suite("good", "timeit", ("-n", "1", "-r", "1", "print('7 operations')"), "things", 0)
BAD = Suite("bad", "timeit", ("-n", "1", "-r", "1", "raise SystemExit(3)"), "things", 1, ops=5)
ABSENT = Suite("absent", "tests.there_is_none", (), "things")


def test_a_table_of_what_was_tried(capsys: pytest.CaptureFixture[str]) -> None:
    """A line a suite, with the number that it printed; what is not there is said to be so."""
    assert soak([GOOD, ABSENT], minutes=0, seed=4) == 0
    said = capsys.readouterr().out
    assert "absent             is not there" in said
    (line,) = [one for one in said.splitlines() if one.startswith("good")]
    assert line.split() == ["good", "7", "things", "0", "4..4", line.split()[-1]]


def test_a_violation_is_shown_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    """The others run all the same."""
    assert soak([BAD, GOOD], minutes=0, seed=9) == 1
    said = capsys.readouterr().out
    assert "bad, seed 9:" in said
    assert [one.split()[3] for one in said.splitlines() if one.startswith(("bad ", "good "))] == [
        "1",
        "0",
    ]


def test_the_suites_have_names_of_their_own() -> None:
    """And at least those of this directory are there."""
    assert len({suite.name for suite in SUITES}) == len(SUITES)
    there = {suite.name for suite in SUITES if suite.is_there}
    assert {"fsx", "crash points", "kill loops", "stress", "single flight"} <= there
