"""Edits at servers that say that they change parts, and refuse it: they go as the whole."""

from __future__ import annotations

import pytest

from netcache_server import FaultRule
from tests.integration.conftest import NewClient
from tests.support.served import Served, random_bytes

DATA = random_bytes(1_000_123, 5)
END = len(DATA)
CACHES = pytest.mark.parametrize("use_cache", [True, False], ids=["cache", "no-cache"])


def answers(served: Served) -> list[tuple[str, int]]:
    """What the server said to uploads, in order."""
    uploads = [record for record in served.requests() if record["method"] in ("PATCH", "PUT")]
    return [(record["method"], record["status"]) for record in uploads]


@CACHES
def test_a_gap_behind_the_end_is_sent_where_nothing_is_taken_there(
    served: Served, new_client: NewClient, use_cache: bool
) -> None:
    """W10; it ended in an assertion.  Parts before the end go as such, also afterwards."""
    client = new_client(use_cache=use_cache, write_mode="back")
    url = served.put("big", DATA)
    behind = FaultRule(method=("PATCH",), status=416, count=1)
    served.server.set_faults([behind])
    with client.open(url, "r+b") as file:
        file.pwrite(b"more", END + 70_000)
        file.fsync()
        assert (served.root / "big").read_bytes() == DATA + bytes(70_000) + b"more"
        assert file.pread(2 * END, 0) == DATA + bytes(70_000) + b"more"
        file.pwrite(b"part", 0)
    expected = b"part" + DATA[4:] + bytes(70_000) + b"more"
    assert (served.root / "big").read_bytes() == expected
    assert answers(served) == [("PATCH", 416), ("PUT", 204), ("PATCH", 204)]
    assert client.open(url).read() == expected


@CACHES
@pytest.mark.parametrize("status", [405, 415, 501])
def test_parts_that_are_refused_in_each_way_go_as_the_whole_and_are_not_tried_again(
    served: Served, new_client: NewClient, use_cache: bool, status: int
) -> None:
    """It ended in an assertion."""
    client = new_client(use_cache=use_cache, write_mode="back")
    url = served.put("big", DATA)
    refusals = [FaultRule(method=(method,), status=status, count=1) for method in ("PATCH", "PUT")]
    served.server.set_faults(refusals)
    with client.open(url, "r+b") as file:
        file.pwrite(b"one", 5000)
        file.fsync()
        file.pwrite(b"two", 500_000)
    expected = DATA[:5000] + b"one" + DATA[5003:500_000] + b"two" + DATA[500_003:]
    assert (served.root / "big").read_bytes() == expected
    assert answers(served) == [("PATCH", status), ("PUT", status), ("PUT", 204), ("PUT", 204)]
