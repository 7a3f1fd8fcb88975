"""Credentials, and the request log."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from netcache_server import LogRecord, OptionsError, ServerOptions, ServerThread
from tests.server.conftest import Serve
from tests.server.wire import ask, connect, request_line


def basic(credential: str) -> dict[str, str]:
    """The header of basic authentication."""
    return {"Authorization": "Basic " + base64.b64encode(credential.encode()).decode()}


def test_basic(serve: Serve) -> None:
    """401 with a challenge for anything but the right name and password."""
    server = serve(user="me:pass:wörd")
    refused = ask(server, "GET", "/")
    assert refused.status == 401
    assert refused.header("WWW-Authenticate") == 'Basic realm="netcache", charset="UTF-8"'
    for wrong in ("me:", "me:pass", "you:pass:wörd", ""):
        assert ask(server, "GET", "/", headers=basic(wrong)).status == 401
    assert ask(server, "GET", "/", headers={"Authorization": "Basic !"}).status == 401
    assert ask(server, "GET", "/", headers={"Authorization": "Bearer me:pass:wörd"}).status == 401
    assert ask(server, "GET", "/", headers=basic("me:pass:wörd")).status == 200


def test_bearer(serve: Serve) -> None:
    """The token, and with both set the token or the user."""
    server = serve(token="secret")
    assert ask(server, "GET", "/").header("WWW-Authenticate") == 'Bearer realm="netcache"'
    assert ask(server, "GET", "/", headers={"Authorization": "Bearer other"}).status == 401
    assert ask(server, "GET", "/", headers={"Authorization": "bearer secret"}).status == 200
    both = serve(token="secret", user="me:pw")
    assert ask(both, "GET", "/").header("WWW-Authenticate").startswith("Basic realm")
    assert ask(both, "GET", "/", headers={"Authorization": "Bearer secret"}).status == 200
    assert ask(both, "GET", "/", headers=basic("me:pw")).status == 200


def test_nothing_is_done_without_a_credential(serve: Serve, root: Path) -> None:
    """A refused upload is refused before its body."""
    server = serve(token="secret")
    head = request_line("PUT", "/a", "Content-Length: 5", "Expect: 100-continue")
    with connect(server) as connection:
        connection.sendall(head)
        assert connection.recv(1000).startswith(b"HTTP/1.1 401 ")
    assert ask(server, "DELETE", "/a").status == 401
    assert list(root.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"user": "me"}, "NAME:PASSWORD"),
        ({"user": ":pw"}, "NAME:PASSWORD"),
        ({"token": " "}, "token"),
        ({"tls_cert": "x"}, "tls_key"),
        ({"port": 70000}, "port"),
        ({"root": "/nonexistent"}, "not a folder"),
        ({"max_body_bytes": -1}, "max_body_bytes"),
        ({"idle_timeout_s": 0}, "idle_timeout_s"),
    ],
)
def test_options_are_checked(root: Path, options: dict[str, Any], message: str) -> None:
    """A server that was told nonsense does not start, and says which option it is."""
    given: dict[str, Any] = {"root": root} | options
    with pytest.raises(OptionsError, match=message):
        ServerThread(ServerOptions(**given)).start()


def test_record_of_a_request(server: ServerThread, root: Path) -> None:
    """A record has what tests and people count by."""
    etag = ask(server, "PUT", "/a%20b", b"0123456789").header("ETag")
    headers = {"Range": "bytes=2-4", "If-Range": etag, "User-Agent": "tester"}
    ask(server, "GET", "/a%20b?x=1", headers=headers)
    put, get = server.requests
    assert (put["method"], put["status"], put["bytes_received"]) == ("PUT", 201, 10)
    expected = {
        "method": "GET",
        "path": "/a b",
        "query": "x=1",
        "range": "bytes=2-4",
        "status": 206,
        "bytes_sent": 3,
        "bytes_received": 0,
        "user_agent": "tester",
        "if_range": etag,
        "if_match": None,
        "etag": etag,
        "content_range": "bytes 2-4/10",
        "faults": [],
        "error": None,
    }
    assert {key: get[key] for key in expected} == expected
    assert isinstance(get["duration_ms"], float)
    assert str(get["time"]).endswith("+00:00")
    server.clear_log()
    assert server.requests == []


def test_record_is_there_when_the_answer_is(server: ServerThread, root: Path) -> None:
    """Whoever has all of an answer finds its record, however large the answer."""
    (root / "large").write_bytes(bytes(3_000_000))
    for number in range(1, 40):
        ask(server, "GET", "/large" if number % 2 else "/")
        assert len(server.requests) == number
    assert server.requests[0]["bytes_sent"] == 3_000_000


def test_log_to_a_file_holds_no_secret(serve: Serve, root: Path, tmp_path: Path) -> None:
    """One JSON object a line, without credentials."""
    server = serve(log=tmp_path / "log", user="me:hidden", token="veiled")
    ask(server, "GET", "/", headers=basic("me:hidden"))
    ask(server, "GET", "/x", headers={"Authorization": "Bearer veiled"})
    text = (tmp_path / "log").read_text()
    assert [json.loads(line)["status"] for line in text.splitlines()] == [200, 404]
    for secret in ("hidden", "veiled", basic("me:hidden")["Authorization"][6:]):
        assert secret not in text


def test_log_to_a_callable(serve: Serve) -> None:
    """Records are handed to a function."""
    records: list[LogRecord] = []
    ask(serve(log=records.append), "GET", "/")
    assert [record["path"] for record in records] == ["/"]


def test_kept_records_are_bounded(serve: Serve) -> None:
    """The memory log forgets the oldest."""
    server = serve(log_limit=2)
    for name in ("/a", "/b", "/c"):
        ask(server, "GET", name)
    assert [record["path"] for record in server.requests] == ["/b", "/c"]
