"""Resumable uploads, a request at a time."""

from __future__ import annotations

from collections.abc import Mapping

from netcache_server import ServerThread
from tests.server.disk import wait_for_requests
from tests.server.wire import Answer, ask, connect, request_line

MIB = 1 << 20
HIDDEN = ".netcache-part-uploads"


def begin(
    server: ServerThread, length: int, headers: Mapping[str, str] | None = None, name: str = "/a"
) -> Answer:
    """Begin an upload of ``length`` bytes."""
    given = {"Upload-Complete": "?0", "Upload-Length": str(length)} | dict(headers or {})
    return ask(server, "PUT", name, b"", given)


def located(server: ServerThread, length: int, headers: Mapping[str, str] | None = None) -> str:
    """The location of an upload that was begun."""
    answer = begin(server, length, headers)
    assert answer.status == 201, answer.body
    return answer.header("Location")


def add(
    server: ServerThread,
    location: str,
    offset: int,
    data: bytes,
    headers: Mapping[str, str] | None = None,
    *,
    complete: bool = True,
) -> Answer:
    """Send more of an upload."""
    return ask(
        server, "PATCH", location, data, adding_fields(offset, complete) | dict(headers or {})
    )


def adding_fields(offset: int, complete: bool) -> dict[str, str]:
    """The fields of a request that sends more."""
    return {
        "Content-Type": "application/partial-upload",
        "Upload-Offset": str(offset),
        "Upload-Complete": "?1" if complete else "?0",
    }


def offset(server: ServerThread, location: str) -> int:
    """How much the server has."""
    answer = ask(server, "HEAD", location)
    assert (answer.status, answer.header("Upload-Complete")) == (204, "?0")
    return int(answer.header("Upload-Offset"))


def adding_head(location: str, start: int, length: int) -> bytes:
    """The head of a last request, which waits for 100 Continue."""
    fields = [f"{name}: {value}" for name, value in adding_fields(start, True).items()]
    size = f"Content-Length: {length}"
    return request_line("PATCH", location, size, "Expect: 100-continue", *fields)


def send_some(server: ServerThread, location: str, start: int, data: bytes, length: int) -> None:
    """Send ``data`` of a last request that announces ``length``, and hang up."""
    done = len(server.requests)
    with connect(server) as connection:
        connection.sendall(adding_head(location, start, length))
        assert b"100 Continue" in connection.recv(1000)
        connection.sendall(data)
    wait_for_requests(server, done + 1)
