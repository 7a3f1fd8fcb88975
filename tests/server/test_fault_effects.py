"""Each fault, as a client on the wire sees it."""

from __future__ import annotations

import gzip
import http.client
import json
import time
from pathlib import Path
from typing import Any

import pytest

from netcache_server import FaultPlan, FaultRule, ServerThread
from tests.server.conftest import Serve
from tests.server.wire import ask, connect, read_all, request_line, send_raw, split_answer

SIZE = 300_000
DATA = bytes(number % 251 for number in range(SIZE))


@pytest.fixture(autouse=True)
def content(root: Path) -> None:
    """One file, larger than what is answered in one write."""
    (root / "a").write_bytes(DATA)


def faulty(server: ServerThread, *headers: str, target: str = "/a", **effects: Any) -> bytes:
    """What comes until the connection ends, under one rule."""
    server.set_faults([FaultRule(name="it", **effects)])
    return send_raw(server, request_line("GET", target, *headers))


def test_latency(server: ServerThread) -> None:
    """Nothing comes before the time is over."""
    started = time.monotonic()
    assert faulty(server, latency_s=0.2).startswith(b"HTTP/1.1 200")
    assert time.monotonic() - started >= 0.2
    assert server.requests[-1]["faults"] == ["it"]


def test_bandwidth(server: ServerThread) -> None:
    """The body comes no faster than it may."""
    started = time.monotonic()
    _, body = split_answer(faulty(server, bandwidth=1_000_000))
    assert body == DATA
    assert 0.29 <= time.monotonic() - started < 5


@pytest.mark.parametrize("count", [0, 1, 1000, SIZE - 1, SIZE])
@pytest.mark.parametrize("reset", [False, True])
def test_cut(server: ServerThread, count: int, reset: bool) -> None:
    """Exactly so many bytes are sent, then the connection ends."""
    head, body = split_answer(faulty(server, cut_after=count, reset=reset))
    assert server.requests[-1]["bytes_sent"] == count
    if not reset:  # a reset may overtake the bytes
        assert f"Content-Length: {SIZE}" in head
        assert body == DATA[:count]


def test_cut_of_a_range_counts_its_own_bytes(server: ServerThread) -> None:
    """The count begins with the body that is sent, not with the file."""
    _, body = split_answer(faulty(server, "Range: bytes=1000-250000", cut_after=10))
    assert body == DATA[1000:1010]


def test_status_for_some_requests(server: ServerThread) -> None:
    """So many requests get the status, with Retry-After and other headers; then all is well."""
    rule = FaultRule(status=503, retry_after="1", headers={"X-Why": "test"}, count=2, skip=1)
    server.set_faults([rule])
    answers = [ask(server, "GET", "/a") for _ in range(5)]
    assert [answer.status for answer in answers] == [200, 503, 503, 200, 200]
    assert answers[1].header("Retry-After") == "1"
    assert answers[1].header("X-Why") == "test"


def test_status_of_an_upload_does_nothing(server: ServerThread, root: Path) -> None:
    """A write that is answered by a fault is not made."""
    server.set_faults([FaultRule(method=("PUT",), status=500)])
    assert ask(server, "PUT", "/b", b"x").status == 500
    assert not (root / "b").exists()


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("shifted", f"bytes 11-20/{SIZE}"), ("wrong_total", f"bytes 10-19/{SIZE + 1}"),
     ("unknown_total", "bytes 10-19/*"), ("missing", None)],
)  # fmt: skip
def test_content_range_lies(server: ServerThread, kind: str, expected: str | None) -> None:
    """The header is wrong, the bytes are those that were asked for."""
    server.set_faults([FaultRule(content_range=kind)])
    answer = ask(server, "GET", "/a", headers={"Range": "bytes=10-19"})
    assert (answer.status, answer.headers["Content-Range"]) == (206, expected)
    assert answer.body == DATA[10:20]


def test_ignored_range(server: ServerThread) -> None:
    """200 with everything, as from a server without ranges."""
    server.set_faults([FaultRule(ignore_range=True)])
    answer = ask(server, "GET", "/a", headers={"Range": "bytes=10-19"})
    assert (answer.status, answer.body) == (200, DATA)
    assert answer.headers["Accept-Ranges"] is None


def test_changed_etag(server: ServerThread) -> None:
    """Another tag in each answer, or the given one."""
    server.set_faults([FaultRule(etag="random")])
    assert len({ask(server, "GET", "/a").header("ETag") for _ in range(4)}) == 4
    server.set_faults([FaultRule(etag='"mine"')])
    assert ask(server, "HEAD", "/a").header("ETag") == '"mine"'


def test_changed_content(server: ServerThread) -> None:
    """The same version is claimed for other bytes."""
    etag = ask(server, "GET", "/a").header("ETag")
    server.set_faults([FaultRule(content="inverted")])
    answer = ask(server, "GET", "/a")
    assert answer.body == bytes(255 - byte for byte in DATA)
    assert answer.header("ETag") == etag


def test_validators(server: ServerThread) -> None:
    """Weak, none, or only one of the two; conditions follow."""
    etag = ask(server, "HEAD", "/a").header("ETag")

    def seen(kind: str, **headers: str) -> tuple[int, str | None, bool]:
        server.set_faults([FaultRule(validator=kind)])
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = ask(server, "GET", "/a", headers=given)
        return answer.status, answer.headers["ETag"], answer.headers["Last-Modified"] is not None

    assert seen("weak") == (200, f"W/{etag}", True)
    assert seen("weak", Range="bytes=0-1", If_Range=f"W/{etag}")[0] == 200
    assert seen("weak", If_None_Match=f"W/{etag}")[0] == 304
    assert seen("weak", If_Match=etag)[0] == 412
    assert seen("none", If_None_Match=etag) == (200, None, False)
    assert seen("last_modified_only") == (200, None, True)
    assert seen("etag_only") == (200, etag, False)


def test_bodies_of_a_wrong_length(server: ServerThread) -> None:
    """Longer and shorter than announced, or announced so."""
    cases = {
        "long": (SIZE, DATA + b"U" * 16),
        "short": (SIZE, DATA[:-16]),
        "long_declared": (SIZE + 16, DATA + b"U" * 16),
        "short_declared": (SIZE - 16, DATA[:-16]),
    }
    for kind, (length, expected) in cases.items():
        head, body = split_answer(faulty(server, body=kind))
        assert f"Content-Length: {length}\r\n" in head, kind
        assert body == expected, kind
    head, body = split_answer(
        faulty(server, "Range: bytes=0-9", body="short_declared", body_delta=3)
    )
    assert "Content-Range: bytes 0-9/" in head
    assert body == DATA[:7]


def test_refused(server: ServerThread) -> None:
    """The connection is closed without any answer."""
    assert faulty(server, refuse=True) == b""
    assert server.requests[-1]["status"] is None
    with pytest.raises((ConnectionError, http.client.RemoteDisconnected)):
        ask(server, "GET", "/a")


def test_refused_connections(server: ServerThread) -> None:
    """Every connection is closed as soon as it is made, or not even made."""
    server.set_faults(FaultPlan(refuse_connections=True))
    assert send_raw(server, b"") == b""
    assert server.requests == []
    server.set_faults()
    assert ask(server, "GET", "/a").status == 200
    server.close_listener()
    with pytest.raises(ConnectionRefusedError):
        connect(server)
    server.open_listener()
    assert ask(server, "GET", "/a").status == 200


def test_redirect(server: ServerThread) -> None:
    """The client is sent elsewhere; the request's path may be part of it."""
    rule = FaultRule(path="/a*", redirect="http://127.0.0.1:9/new{path}", redirect_status=307)
    server.set_faults([rule])
    answer = ask(server, "GET", "/a%20b")
    assert (answer.status, answer.header("Location")) == (307, "http://127.0.0.1:9/new/a%20b")


def test_stall(server: ServerThread) -> None:
    """So many bytes, then nothing for a while; then the rest, or nothing until the client goes."""
    _, body = split_answer(faulty(server, stall_after=5000, stall_s=0.1))
    assert body == DATA
    server.set_faults([FaultRule(stall_after=5000)])
    with connect(server) as connection:
        connection.sendall(request_line("GET", "/a"))
        received = b""
        while len(split_answer(received)[1]) < 5000:
            received += connection.recv(10_000)
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.recv(1)
    server.set_faults()
    assert ask(server, "GET", "/a").status == 200


def test_content_encoding(server: ServerThread) -> None:
    """Compressed though nobody asked, also in a 206."""
    server.set_faults([FaultRule(content_encoding="gzip")])
    for headers, expected in (({}, DATA), ({"Range": "bytes=5-9"}, DATA[5:10])):
        answer = ask(server, "GET", "/a", headers=headers)
        assert answer.header("Content-Encoding") == "gzip"
        assert gzip.decompress(answer.body) == expected
    assert answer.status == 206


def test_headers_left_out(server: ServerThread) -> None:
    """No Date, and whatever else is taken away."""
    head, _ = split_answer(faulty(server, omit_date=True, remove_headers=("content-type",)))
    assert "Date:" not in head
    assert "Content-Type:" not in head


def test_faults_of_an_upload(server: ServerThread, root: Path) -> None:
    """An upload is slowed down, or cut in the middle; then nothing of it is left."""
    server.set_faults([FaultRule(upload_bandwidth=1_000_000)])
    started = time.monotonic()
    assert ask(server, "PUT", "/b", bytes(200_000)).status == 201
    assert time.monotonic() - started >= 0.19
    server.set_faults([FaultRule(upload_cut_after=50_000)])
    with connect(server) as connection:
        connection.sendall(request_line("PUT", "/c", "Content-Length: 200000"))
        connection.sendall(bytes(60_000))
        assert read_all(connection) == b""
    assert sorted(path.name for path in root.iterdir()) == ["a", "b"]


def test_only_ranges_are_hit(server: ServerThread) -> None:
    """A rule may choose by the presence of Range."""
    server.set_faults([FaultRule(range=True, status=500)])
    assert ask(server, "GET", "/a").status == 200
    assert ask(server, "GET", "/a", headers={"Range": "bytes=0-1"}).status == 500


def test_control_over_http(serve: Serve) -> None:
    """The plan can be replaced by a request where the option allows it, and only there."""
    server = serve(fault_control=True, token="t")
    plan = json.dumps([{"path": "/a", "status": 418}]).encode()
    auth = {"Authorization": "Bearer t"}
    control = "/.netcache/faults"
    assert ask(server, "PUT", control, plan).status == 401
    assert ask(server, "PUT", control, b"[{}, 1]", auth).status == 400
    assert ask(server, "PUT", control, plan, auth).status == 204
    assert json.loads(ask(server, "GET", control, headers=auth).body)["rules"][0]["status"] == 418
    assert ask(server, "GET", "/a", headers=auth).status == 418
    assert ask(server, "DELETE", control, headers=auth).status == 204
    assert ask(server, "GET", "/a", headers=auth).status == 200
    assert ask(serve(), "GET", control).status == 404
