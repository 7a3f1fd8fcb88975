"""PUT of files and folders: atomic, conditional, checked."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from netcache_server import FaultRule, ServerThread
from tests.server.conftest import Serve
from tests.server.disk import digest, names, small_disk, wait_for_requests
from tests.server.wire import (
    ask,
    connect,
    read_all,
    request_line,
    send_raw,
    split_answer,
    status_of,
)


def test_create_and_replace(server: ServerThread, root: Path) -> None:
    """201 for a new file, 204 for another version; each has its own tag."""
    first = ask(server, "PUT", "/a.txt", b"one")
    second = ask(server, "PUT", "/a.txt", b"two!")
    assert (first.status, second.status) == (201, 204)
    assert first.header("ETag") != second.header("ETag")
    assert (root / "a.txt").read_bytes() == b"two!"
    read = ask(server, "GET", "/a.txt")
    assert read.header("ETag") == second.header("ETag")
    assert read.header("Last-Modified") == second.header("Last-Modified")
    assert names(root) == ["a.txt"]


def test_missing_folders_are_made(server: ServerThread, root: Path) -> None:
    """A file's folders come with it; a file in their place is a conflict."""
    assert ask(server, "PUT", "/a/b/c.txt", b"x").status == 201
    assert (root / "a/b/c.txt").read_bytes() == b"x"
    assert ask(server, "PUT", "/a/b/c.txt/d", b"x").status == 409
    assert ask(server, "PUT", "/a/b", b"x").status == 409


def test_chunked_body(server: ServerThread, root: Path) -> None:
    """A body of unknown length arrives whole."""
    parts = [os.urandom(70_000) for _ in range(50)]

    def body() -> Iterator[bytes]:
        yield from parts

    assert ask(server, "PUT", "/a", body()).status == 201
    assert (root / "a").read_bytes() == b"".join(parts)
    assert server.requests[-1]["bytes_received"] == 50 * 70_000


def test_large_body_on_a_kept_connection(server: ServerThread, root: Path) -> None:
    """After a large upload the connection takes the next request."""
    data = os.urandom(9 << 20)
    head = f"PUT /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}\r\n\r\n"
    with connect(server) as connection:
        for _ in range(3):
            connection.sendall(head.encode() + data)
        connection.sendall(request_line("GET", "/a", "Range: bytes=-4"))
        answer = read_all(connection)
    assert answer.count(b"HTTP/1.1 201 ") == 1
    assert answer.count(b"HTTP/1.1 204 ") == 2
    assert answer.endswith(data[-4:])
    assert (root / "a").read_bytes() == data
    assert len({record["connection"] for record in server.requests}) == 1


@pytest.mark.parametrize("size", [1 << 20, (1 << 20) + 1, 5 << 20])
@pytest.mark.parametrize("wait", [True, False])
def test_next_request_after_a_large_body(server: ServerThread, size: int, wait: bool) -> None:
    """However much of a body came with its head, the connection reads on afterwards."""
    expect = "Expect: 100-continue\r\n" if wait else ""
    head = f"PUT /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n{expect}\r\n"
    with connect(server) as connection:
        connection.sendall(head.encode() + (b"" if wait else bytes(size)))
        if wait:
            assert b"100 Continue" in connection.recv(1000)
            connection.sendall(bytes(size))
        assert status_of(connection.recv(10_000)) == 201
        connection.sendall(request_line("HEAD", "/a"))
        assert f"Content-Length: {size}" in split_answer(read_all(connection))[0]


def test_conditions(server: ServerThread, root: Path) -> None:
    """If-Match and If-None-Match guard the version."""
    etag = ask(server, "PUT", "/a", b"one", {"If-None-Match": "*"}).header("ETag")
    refused = ask(server, "PUT", "/a", b"two", {"If-None-Match": "*"})
    assert (refused.status, refused.header("ETag")) == (412, etag)
    assert ask(server, "PUT", "/a", b"two", {"If-Match": '"other"'}).status == 412
    assert ask(server, "PUT", "/b", b"two", {"If-Match": "*"}).status == 412
    assert (root / "a").read_bytes() == b"one"
    assert ask(server, "PUT", "/a", b"two", {"If-Match": etag}).status == 204
    assert names(root) == ["a"]


@pytest.mark.parametrize("condition", ["create", "replace"])
def test_of_concurrent_conditional_puts_exactly_one_wins(
    serve: Serve, root: Path, condition: str
) -> None:
    """All have passed the first check before any is published, at two servers of one folder."""
    servers = serve(), serve()
    server = servers[0]
    headers = {"If-None-Match": "*"}
    if condition == "replace":
        headers = {"If-Match": ask(server, "PUT", "/a", b"old").header("ETag")}
    count, size = 6, 100_000
    barrier = threading.Barrier(count)
    statuses: list[int] = []

    def upload(number: int) -> None:
        given = [f"{name}: {value}" for name, value in headers.items()]
        head = request_line("PUT", "/a", f"Content-Length: {size}", "Expect: 100-continue", *given)
        with connect(servers[number % 2]) as connection:
            connection.sendall(head)
            assert b"100 Continue" in connection.recv(1000)
            barrier.wait(20)
            connection.sendall(bytes([number]) * size)
            statuses.append(status_of(read_all(connection)))

    threads = [threading.Thread(target=upload, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    won = 201 if condition == "create" else 204
    assert sorted(statuses) == sorted([won] + [412] * (count - 1))
    assert len(set((root / "a").read_bytes())) == 1
    assert names(root) == ["a"]


def test_digests_are_checked(server: ServerThread, root: Path) -> None:
    """A body that is not what its digest says is refused and not published."""
    for field in ("Content-Digest", "Repr-Digest"):
        assert ask(server, "PUT", "/a", b"data", {field: digest(b"other")}).status == 400
        assert ask(server, "PUT", "/a", b"data", {field: "sha-256=:!:"}).status == 400
        assert names(root) == []
    good = {"Content-Digest": digest(b"data"), "Repr-Digest": f"md5=:AA==:, {digest(b'data')}"}
    assert ask(server, "PUT", "/a", b"data", good).status == 201


def test_repr_digest_of_an_upload_when_asked(server: ServerThread) -> None:
    """The answer carries the digest of what was stored."""
    answer = ask(server, "PUT", "/a", b"data", {"Want-Repr-Digest": "sha-256=1"})
    assert answer.header("Repr-Digest") == digest(b"data")
    assert ask(server, "PUT", "/b", b"data").headers["Repr-Digest"] is None


def test_short_body_publishes_nothing(server: ServerThread, root: Path) -> None:
    """A client that leaves before the end of its body has changed nothing."""
    ask(server, "PUT", "/a", b"old")
    for number, head in enumerate(
        ("Content-Length: 5000000", "Transfer-Encoding: chunked"), start=2
    ):
        with connect(server) as connection:
            start = request_line("PUT", "/a", head)
            connection.sendall(start + (b"2710\r\n" if "chunked" in head else b"") + b"x" * 10_000)
        wait_for_requests(server, number)
        assert (root / "a").read_bytes() == b"old"
        assert names(root) == ["a"]
        assert server.requests[-1]["error"]


def test_killed_client_in_a_large_body(server: ServerThread, root: Path) -> None:
    """A connection that breaks in the middle of megabytes leaves no file behind."""
    with connect(server) as connection:
        connection.sendall(request_line("PUT", "/new/a", "Content-Length: 50000000"))
        connection.sendall(bytes(5 << 20))
    wait_for_requests(server, 1)
    assert names(root) == []


def test_expect_continue(server: ServerThread) -> None:
    """100 comes before the body is needed; a failed precondition is told instead of it."""
    ask(server, "PUT", "/a", b"old")
    length, expect = "Content-Length: 3", "Expect: 100-continue"
    with connect(server) as connection:
        connection.sendall(request_line("PUT", "/a", length, expect))
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"new")
        assert status_of(read_all(connection)) == 204
    with connect(server) as connection:
        connection.sendall(request_line("PUT", "/a", length, expect, "If-None-Match: *"))
        assert status_of(connection.recv(1000)) == 412
    assert status_of(send_raw(server, request_line("PUT", "/a", length, "Expect: tea"))) == 417


def test_modification_time_of_the_client(server: ServerThread, root: Path) -> None:
    """X-OC-Mtime sets the file's time, and the answer says so."""
    answer = ask(server, "PUT", "/a", b"x", {"X-OC-Mtime": "1500000000"})
    assert answer.header("X-OC-Mtime") == "accepted"
    assert answer.header("Last-Modified") == "Fri, 14 Jul 2017 02:40:00 GMT"
    assert (root / "a").stat().st_mtime == 1_500_000_000
    assert ask(server, "GET", "/a").header("ETag") == answer.header("ETag")
    assert ask(server, "PUT", "/a", b"x", {"X-OC-Mtime": "soon"}).status == 400


def test_folders(server: ServerThread, root: Path) -> None:
    """A path with a slash is a folder: made with its parents, and only once."""
    assert ask(server, "PUT", "/d/e/").status == 201
    assert (root / "d/e").is_dir()
    assert ask(server, "PUT", "/d/e/").status == 204
    assert ask(server, "PUT", "/d/f/", b"x").status == 400
    ask(server, "PUT", "/file", b"x")
    assert ask(server, "PUT", "/file/").status == 409


def test_mkcol(server: ServerThread, root: Path) -> None:
    """201, 405 where something is, 409 without the parent (RFC 4918 9.3)."""
    assert ask(server, "MKCOL", "/d/").status == 201
    assert ask(server, "MKCOL", "/d").status == 405
    assert ask(server, "MKCOL", "/x/y").status == 409
    assert ask(server, "MKCOL", "/z", b"body").status == 415
    assert names(root) == ["d"]


def test_limits_of_a_body(serve: Serve) -> None:
    """413 before the body where its length is known, else as soon as it is too long."""
    server = serve(max_body_bytes=1000)
    assert ask(server, "PUT", "/a", b"x" * 1000).status == 201
    head = request_line("PUT", "/a", "Content-Length: 1001")
    assert status_of(send_raw(server, head)) == 413
    assert ask(server, "PUT", "/a", iter([b"x" * 1001])).status == 413


def test_no_room_is_told_before_the_body(server: ServerThread) -> None:
    """A body that cannot fit is refused at once."""
    head = request_line("PUT", "/a", f"Content-Length: {1 << 60}", "Expect: 100-continue")
    with connect(server) as connection:
        connection.sendall(head)
        assert status_of(connection.recv(1000)) == 507


@pytest.mark.root
def test_full_disk(serve: Serve, tmp_path: Path) -> None:
    """A disk that fills up in the middle of a body is 507, and nothing of it is left."""
    with small_disk(tmp_path / "full", "2m") as folder:
        server = serve(root=folder)
        assert ask(server, "PUT", "/a", bytes(1 << 20)).status == 201
        assert ask(server, "PUT", "/b", iter([bytes(1 << 20)] * 3)).status == 507
        assert ask(server, "PUT", "/b", bytes(3 << 20)).status == 507
        assert names(folder) == ["a"]
        assert ask(server, "PUT", "/c", bytes(1 << 19)).status == 201
        server.stop()


@pytest.mark.parametrize("size", [10, 3 << 20])
def test_connection_goes_on_after_a_refused_body(server: ServerThread, size: int) -> None:
    """A body that was received and refused leaves the connection as it was."""
    head = f"PUT /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n"
    head += f"Content-Digest: {digest(b'other')}\r\n\r\n"
    answer = send_raw(server, head.encode() + bytes(size) + request_line("GET", "/a"))
    assert answer.count(b"HTTP/1.1 400 ") == 1
    assert answer.count(b"HTTP/1.1 404 ") == 1


def test_encodings_are_refused(server: ServerThread) -> None:
    """What is stored is what is served, so nothing encoded is taken."""
    assert ask(server, "PUT", "/a", b"x", {"Content-Encoding": "gzip"}).status == 415
    assert ask(server, "PUT", "/a", b"x", {"Content-Encoding": "identity"}).status == 201


def test_silent_client_is_let_go(serve: Serve, root: Path) -> None:
    """A body that stops coming is answered with 408, and nothing is left."""
    server = serve(idle_timeout_s=0.1)
    for length in (10, 10 << 20):
        head = request_line("PUT", "/a", f"Content-Length: {length}")
        assert status_of(send_raw(server, head + b"12345")) == 408
    assert names(root) == []


def test_mode_of_a_replaced_file_is_kept(server: ServerThread, root: Path) -> None:
    """Another version of a file is readable by those who could read the one before."""
    (root / "a").write_bytes(b"old")
    (root / "a").chmod(0o640)
    ask(server, "PUT", "/a", b"new")
    assert (root / "a").stat().st_mode & 0o777 == 0o640


def test_durable_writes(serve: Serve, root: Path) -> None:
    """With fsync the same requests do the same."""
    server = serve(fsync=True)
    assert ask(server, "PUT", "/x/y/a", b"new").status == 201
    assert ask(server, "PUT", "/x/y/a", b"newer").status == 204
    assert ask(server, "MOVE", "/x/y/a", headers={"Destination": "/x/b"}).status == 204
    assert ask(server, "DELETE", "/x/b").status == 204
    assert names(root) == ["x", "x/y"]


def test_upload_whose_answer_is_lost(server: ServerThread, root: Path) -> None:
    """The fault that a client has to expect: it was done, and nobody said so."""
    server.set_faults([FaultRule(method=("PUT",), lose_reply=True, count=1)])
    answer = send_raw(server, request_line("PUT", "/a", "Content-Length: 1") + b"x")
    assert answer == b""
    assert (root / "a").read_bytes() == b"x"
    assert ask(server, "PUT", "/a", b"x", {"If-None-Match": "*"}).status == 412
