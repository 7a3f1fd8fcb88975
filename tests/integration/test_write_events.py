"""A writeback can be followed through the log by the id of its request."""

from __future__ import annotations

import logging

import pytest

import netcache
from netcache_server import FaultRule
from tests.integration.conftest import NewClient
from tests.support.served import Served, random_bytes

BIG = random_bytes(300_000, 4)


def lines_of(caplog: pytest.LogCaptureFixture, request: str) -> list[str]:
    """What the log tells of one request, in order."""
    return [text for text in caplog.messages if f"R={request}" in text]


def requests_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The ids of the writebacks in the log."""
    return [text.split("R=")[1][:8] for text in caplog.messages if text.startswith("netfs_write ")]


def test_a_writeback_is_followed_by_its_id(
    served: Served, new_client: NewClient, caplog: pytest.LogCaptureFixture
) -> None:
    """One upload and one cache write, begun and ended, under one id; then the request is free."""
    url = served.put("data", BIG)
    client = new_client(write_mode="back")
    client.warm(url)
    with caplog.at_level(logging.DEBUG, "netcache.events"), client.open(url, "r+b") as file:
        file.pwrite(b"n" * 4096, 8192)
    (request,) = requests_in(caplog)
    steps = [" ".join(text.split()[2:4]) for text in lines_of(caplog, request)]
    assert steps == [
        f"WRITEBACK url={url}",
        "UPLD SUBMT",
        "UPLD TERM",
        "WRIT SUBMT",
        "WRIT TERM",
        "WB WR-DONE",
        "WB FREE",
    ]


def test_a_failed_writeback_says_what_it_died_of(
    served: Served, new_client: NewClient, caplog: pytest.LogCaptureFixture
) -> None:
    """The error is in the line of the subrequest, and the request is abandoned."""
    url = served.put("data", BIG)
    client = new_client(write_mode="back", retries=0)
    served.server.set_faults([FaultRule(method=("PATCH",), status=500)])
    with caplog.at_level(logging.DEBUG, "netcache.events"):
        file = client.open(url, "r+b")
        file.pwrite(b"n" * 4096, 8192)
        with pytest.raises(netcache.TransientError):
            file.close()
        file.abort()
    (request,) = requests_in(caplog)
    lines = lines_of(caplog, request)
    assert any("UPLD CANCL" in text and "e=TransientError" in text for text in lines)
    assert "S-ABNDN" in lines[-2]
    assert "FREE" in lines[-1]
