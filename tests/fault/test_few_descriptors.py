"""A process whose descriptors are used up when it first needs the network: an error says so."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.few_descriptors import FREE_MAX
from tests.support.served import Served, random_bytes, serve

SIZE = 100_000
EXPECTED = {
    "read": SIZE,
    "get": SIZE,
    "sync": SIZE,
    "stat": SIZE,
    "ls": ["a"],
    "warm": 0,
    "write": "written",
    "put": "written",
    "async-read": SIZE,
    "async-write": "written",
    "async-edit": "written",
}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A server with one file."""
    with serve(tmp_path / "www") as running:
        running.put("a", random_bytes(SIZE))
        yield running


@pytest.mark.parametrize(("what", "expected"), EXPECTED.items(), ids=EXPECTED)
def test_without_a_free_descriptor_a_call_says_so_and_the_next_one_works(
    served: Served, tmp_path: Path, what: str, expected: Any
) -> None:
    """However many are left: the modules that are imported for it need one, too, and a plain
    ``OSError`` about one of them told nobody what had failed."""
    folder = tmp_path / "places"
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.few_descriptors", served.url, str(folder), what],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == FREE_MAX
    failures = [first for first, _ in found if first != expected]
    assert [second for _, second in found] == [expected] * FREE_MAX
    assert failures
    for failure in failures:
        assert "NetCacheError" in failure["kinds"], failure
        # (A sync tells of each file in its report.  What cannot be kept is why a warming fails.)
        if "TransientError" in failure["kinds"]:
            assert failure["errno"] == errno.EMFILE
            assert "no file descriptor left" in failure["error"]
        else:
            assert what == "sync" or (what == "warm" and "CacheError" in failure["kinds"]), failure
    assert found[0][0]["errno"] == errno.EMFILE
    if expected == "written":
        name, data = ("a", b"x") if what == "async-edit" else ("new", b"new")
        assert (served.root / name).read_bytes().startswith(data)
