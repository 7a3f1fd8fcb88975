"""Raw requests from a seeded grammar: whatever comes, the server speaks HTTP, and only that.

``python -m tests.fuzz --requests N --seed S`` runs longer.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path

import pytest

from netcache_server import ServerThread
from tests.fuzz.__main__ import run
from tests.fuzz.answers import NotHttpError, statuses
from tests.fuzz.grammar import Case, Grammar
from tests.fuzz.rig import SECRET, fuzzed_server
from tests.server.conftest import Serve
from tests.server.wire import ask, connect, read_all, request_line, send_raw, status_of
from tests.support.samples import sample_size

CASES = sample_size(120, 250)
FLOOD_BYTES = 64 << 20


@pytest.mark.parametrize("seed", [1, 2])
def test_fuzzed_requests(tmp_path: Path, seed: int) -> None:
    """The server lives, answers HTTP and never 500, touches nothing outside, loses nothing."""
    with fuzzed_server(tmp_path) as server:
        run(server, seed, CASES)
        # What was sent reached every part of the server, not only its parser.
        assert {200, 204, 403, 404, 416} <= server.seen.keys()


def test_the_grammar_gives_the_same_for_the_same_seed() -> None:
    """A failure can be had again."""
    assert [Grammar(7).case() for _ in range(3)] == [Grammar(7).case() for _ in range(3)]


@pytest.mark.parametrize(
    "data",
    [
        b"x",
        b"HTTP/0.9 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxx",
        b"HTTP/1.1 200 OK\r\nA: b\rc\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nx",
    ],
)
def test_the_judge_knows_what_is_not_http(data: bytes) -> None:
    """It would notice."""
    with pytest.raises(NotHttpError):
        statuses(data)


def test_the_rig_notices_what_lies_outside(tmp_path: Path) -> None:
    """A secret that is sent, a thing that is left outside: each fails the run."""
    with fuzzed_server(tmp_path) as server:
        server.check()
        (server.root / "leak").write_bytes(SECRET)
        with pytest.raises(AssertionError):
            server.send(Case(request_line("GET", "/leak"), ()))
        (tmp_path / "outside" / "stolen").touch()
        with pytest.raises(AssertionError):
            server.check()


# What the fuzzer has found.


@pytest.mark.parametrize("version", ["HTTP/0.9", "HTTP/2.0", "HTTP/3.7"])
def test_other_versions_are_answered_in_ours(server: ServerThread, version: str) -> None:
    """505 in the version that the server speaks (RFC 9110 15.6.6)."""
    answer = send_raw(server, f"GET / {version}\r\nHost: localhost\r\n\r\n".encode())
    assert answer.startswith((b"HTTP/1.1 505 ", b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))


@pytest.mark.parametrize("target", ["http://[", "http://[::1", "//[", "http://a]/"])
def test_a_destination_that_is_no_url(server: ServerThread, root: Path, target: str) -> None:
    """400, and nothing has moved."""
    (root / "a").write_bytes(b"a")
    answer = ask(server, "MOVE", "/a", headers={"Destination": target})
    assert answer.status in (400, 502)
    assert (root / "a").exists()


# Clients that keep a server busy.


def test_slow_heads_do_not_keep_others_waiting(server: ServerThread) -> None:
    """Two hundred connections that stop in their heads, and one that is served all the same."""
    slow = [connect(server) for _ in range(200)]
    try:
        for connection in slow:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: loc")
        assert ask(server, "GET", "/").status == 200
    finally:
        for connection in slow:
            connection.close()


def test_a_head_has_to_come_in_time(serve: Serve) -> None:
    """A head that does not end costs the client its connection."""
    server = serve(idle_timeout_s=0.3)
    with connect(server) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: loc")
        answer = read_all(connection)
    assert answer == b"" or status_of(answer) == 408
    with connect(server) as connection:
        assert read_all(connection) == b""


def test_pipelined_requests_are_not_piled_up(server: ServerThread, root: Path) -> None:
    """A client that asks and never reads is not read on from: its sends stop going through."""
    (root / "a").write_bytes(bytes(100_000))
    request = b"GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1000
    with connect(server) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(0.5)
        sent = 0
        with suppress(TimeoutError, ConnectionError):
            while sent < FLOOD_BYTES:
                sent += connection.send(request)
        assert sent < FLOOD_BYTES
    assert ask(server, "GET", "/a").status == 200
