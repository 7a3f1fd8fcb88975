"""GET and HEAD of files over real connections."""

from __future__ import annotations

import base64
import email
import email.policy
import hashlib
import os
import time
from pathlib import Path

import pytest

from netcache_server import ServerThread
from netcache_server.conditionals import http_date
from netcache_server.digest import Hasher, hash_file
from tests.server.conftest import Serve
from tests.server.wire import ask, connect, read_all, request_line, send_raw, split_answer

DATA = bytes(range(256)) * 4096  # 1 MiB: more than what is answered in one write
OLD = 1_600_000_000


@pytest.fixture(autouse=True)
def content(root: Path) -> None:
    """A small, a large and an empty file, old enough for their dates to be strong."""
    (root / "small.txt").write_bytes(b"0123456789")
    (root / "large.bin").write_bytes(DATA)
    (root / "empty").write_bytes(b"")
    for name in ("small.txt", "large.bin", "empty"):
        os.utime(root / name, (OLD, OLD))


def test_whole_file(server: ServerThread) -> None:
    """200 with everything that a client needs to ask again."""
    for name, data in (("small.txt", b"0123456789"), ("large.bin", DATA), ("empty", b"")):
        answer = ask(server, "GET", f"/{name}")
        assert (answer.status, answer.body) == (200, data)
        assert answer.header("Content-Length") == str(len(data))
        assert answer.header("Accept-Ranges") == "bytes"
        assert answer.header("Last-Modified") == http_date(OLD)
        assert answer.header("ETag").startswith('"')
        assert answer.header("Want-Content-Digest") == "sha-256=10"
        assert answer.headers["Date"]
    assert ask(server, "GET", "/small.txt").header("Content-Type") == "text/plain"


def test_head_is_get_without_body(server: ServerThread) -> None:
    """HEAD tells the length of the whole, ignores Range, and sends no byte of it."""
    answer = ask(server, "HEAD", "/large.bin", headers={"Range": "bytes=0-1"})
    assert (answer.status, answer.body) == (200, b"")
    assert answer.header("Content-Length") == str(len(DATA))
    assert server.requests[-1]["bytes_sent"] == 0


@pytest.mark.parametrize(
    ("header", "start", "end"),
    [("bytes=0-0", 0, 1), ("bytes=1000-", 1000, len(DATA)), ("bytes=-5", len(DATA) - 5, len(DATA)),
     ("bytes=100-300000", 100, 300001), ("bytes=5-99999999", 5, len(DATA))],
)  # fmt: skip
def test_single_range(server: ServerThread, header: str, start: int, end: int) -> None:
    """206 with exactly the bytes that Content-Range names."""
    answer = ask(server, "GET", "/large.bin", headers={"Range": header})
    assert answer.status == 206
    assert answer.header("Content-Range") == f"bytes {start}-{end - 1}/{len(DATA)}"
    assert answer.body == DATA[start:end]


def test_several_ranges_are_multipart(server: ServerThread) -> None:
    """Ranges that do not touch come as multipart/byteranges, in the order asked for."""
    spans = [(900_000, 1_000_000), (0, 5), (100, 100_000)]
    header = "bytes=" + ",".join(f"{start}-{end - 1}" for start, end in spans)
    answer = ask(server, "GET", "/large.bin", headers={"Range": header})
    assert answer.status == 206
    assert len(answer.body) == int(answer.header("Content-Length"))
    head = f"Content-Type: {answer.header('Content-Type')}\r\n\r\n".encode()
    boundary = answer.header("Content-Type").partition("boundary=")[2]
    pieces = answer.body.split(b"\r\n--" + boundary.encode())
    assert pieces[-1] == b"--\r\n"
    assert len(pieces[1:-1]) == 3
    for piece, (start, end) in zip(pieces[1:-1], spans, strict=True):
        part_head, _, data = piece.partition(b"\r\n\r\n")
        part = email.message_from_bytes(part_head.lstrip() + b"\r\n\r\n")
        assert part["Content-Range"] == f"bytes {start}-{end - 1}/{len(DATA)}"
        assert data == DATA[start:end]
    parsed = email.message_from_bytes(head + answer.body, policy=email.policy.HTTP)
    assert parsed.is_multipart()


def test_overlapping_ranges_are_joined(server: ServerThread) -> None:
    """Ranges that come to one are answered as one."""
    answer = ask(server, "GET", "/large.bin", headers={"Range": "bytes=0-99,50-149,150-199"})
    assert answer.status == 206
    assert answer.header("Content-Range") == f"bytes 0-199/{len(DATA)}"


def test_unsatisfiable_range(server: ServerThread) -> None:
    """416 names the size."""
    answer = ask(server, "GET", "/small.txt", headers={"Range": "bytes=10-"})
    assert answer.status == 416
    assert answer.header("Content-Range") == "bytes */10"
    assert answer.headers["ETag"]
    assert ask(server, "GET", "/empty", headers={"Range": "bytes=0-"}).status == 416


def test_preconditions_come_before_ranges(server: ServerThread) -> None:
    """304, 412, If-Range and Range in the order of RFC 9110 13.2.2."""

    def status(**headers: str) -> int:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return ask(server, "GET", "/small.txt", headers=given).status

    etag = ask(server, "HEAD", "/small.txt").header("ETag")
    assert status(If_None_Match=etag) == 304
    assert status(If_None_Match=etag, Range="bytes=99-") == 304
    assert status(If_None_Match='"other"', If_Modified_Since=http_date(OLD)) == 200
    assert status(If_Modified_Since=http_date(OLD)) == 304
    assert status(If_Match='"other"', Range="bytes=99-") == 412
    assert status(If_Match=etag, Range="bytes=0-1") == 206
    assert status(If_Unmodified_Since=http_date(OLD - 1)) == 412
    assert status(If_Range=etag, Range="bytes=0-1") == 206
    assert status(If_Range='"other"', Range="bytes=0-1") == 200
    assert status(If_Range='"other"', Range="bytes=99-") == 200
    assert status(If_Range=http_date(OLD), Range="bytes=0-1") == 206
    assert status(If_Range=http_date(OLD + 1), Range="bytes=0-1") == 200


def test_not_modified_has_the_validators_and_no_body(server: ServerThread) -> None:
    """304 carries what 200 would have carried to identify the version."""
    first = ask(server, "GET", "/small.txt")
    answer = ask(server, "GET", "/small.txt", headers={"If-None-Match": first.header("ETag")})
    assert (answer.status, answer.body) == (304, b"")
    assert answer.header("ETag") == first.header("ETag")
    assert answer.headers["Content-Length"] is None


def test_missing_file(server: ServerThread) -> None:
    """404 for what is not there, also behind a file or with a slash after one."""
    for target in ("/missing", "/missing/deep", "/small.txt/x", "/small.txt/", "/" + "n" * 300):
        assert ask(server, "GET", target).status == 404, target


def test_repr_digest_when_asked(server: ServerThread, root: Path) -> None:
    """Repr-Digest is that of the whole file, in 200, 206 and HEAD, and follows a change."""
    wanted = {"Want-Repr-Digest": "sha-256=5"}

    def expected(data: bytes) -> str:
        return f"sha-256=:{base64.b64encode(hashlib.sha256(data).digest()).decode()}:"

    assert ask(server, "GET", "/large.bin").headers["Repr-Digest"] is None
    for _ in range(2):  # computed, then remembered
        for method, headers in (("GET", {}), ("HEAD", {}), ("GET", {"Range": "bytes=1-2"})):
            answer = ask(server, method, "/large.bin", headers=wanted | headers)
            assert answer.header("Repr-Digest") == expected(DATA)
    (root / "large.bin").write_bytes(b"changed")
    answer = ask(server, "GET", "/large.bin", headers=wanted)
    assert answer.header("Repr-Digest") == expected(b"changed")


def test_a_file_that_grows_while_it_is_hashed_is_answered_without_a_digest(
    server: ServerThread, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A check of a log that is written all the time is no error; the digest comes when it rests."""

    def hashed(fd: int, algorithms: set[str]) -> Hasher:
        with (root / "log").open("ab") as file:
            file.write(b"one more line")
        return hash_file(fd, algorithms)

    (root / "log").write_bytes(b"line")
    wanted = {"Want-Repr-Digest": "sha-256=5"}
    with monkeypatch.context() as growing:
        growing.setattr("netcache_server.reading.hash_file", hashed)
        answer = ask(server, "HEAD", "/log", headers=wanted)
    assert (answer.status, answer.headers["Repr-Digest"]) == (200, None)
    assert ask(server, "HEAD", "/log", headers=wanted).headers["Repr-Digest"] is not None


def test_file_replaced_while_it_is_sent(server: ServerThread, root: Path) -> None:
    """An answer goes on from the version with which it began."""
    size = 64 << 20
    with (root / "huge.bin").open("wb") as file:
        file.truncate(size)
    with connect(server) as connection:
        connection.sendall(request_line("GET", "/huge.bin"))
        start = connection.recv(1000)
        (root / "new").write_bytes(b"new version")
        (root / "new").replace(root / "huge.bin")
        head, body = split_answer(start + read_all(connection))
    assert f"Content-Length: {size}" in head
    assert body == bytes(size)
    assert ask(server, "GET", "/huge.bin").body == b"new version"


def test_file_changed_in_place_while_it_is_sent(server: ServerThread, root: Path) -> None:
    """An answer that would mix two versions is cut off before it is complete."""
    size = 64 << 20
    with (root / "huge.bin").open("wb") as file:
        file.truncate(size)
    with connect(server) as connection:
        connection.sendall(request_line("GET", "/huge.bin"))
        start = connection.recv(1000)
        with (root / "huge.bin").open("r+b") as file:
            file.seek(size - 10)
            file.write(b"x")
        _, body = split_answer(start + read_all(connection))
    assert len(body) < size


def test_etag_follows_every_change_from_outside(server: ServerThread, root: Path) -> None:
    """A file written by somebody else has another tag afterwards."""
    ask(server, "PUT", "/x", b"one")
    etags = {ask(server, "HEAD", "/x").header("ETag")}
    for number in range(3):
        (root / "x").write_bytes(b"two"[: number + 1])
        os.utime(root / "x", (OLD + number, OLD + number))
        etags.add(ask(server, "HEAD", "/x").header("ETag"))
    assert len(etags) == 4


def test_etags_survive_a_restart(serve: Serve, root: Path) -> None:
    """Given and derived tags are the same after the server was started anew."""
    first = serve()
    given = ask(first, "PUT", "/given", b"data").header("ETag")
    derived = ask(first, "HEAD", "/small.txt").header("ETag")
    first.stop()
    second = serve()
    assert ask(second, "HEAD", "/given").header("ETag") == given
    assert ask(second, "HEAD", "/small.txt").header("ETag") == derived


def test_connection_is_kept_and_pipelined(server: ServerThread) -> None:
    """Several requests on one connection are answered in order."""
    first = b"GET /small.txt HTTP/1.1\r\nHost: localhost\r\n\r\n"
    received = send_raw(server, first + first + request_line("GET", "/missing"))
    assert received.count(b"HTTP/1.1 200 OK") == 2
    assert received.count(b"HTTP/1.1 404") == 1
    assert len({record["connection"] for record in server.requests}) == 1


def test_http_1_0(server: ServerThread) -> None:
    """An old client gets an old answer, and the connection is closed."""
    head, body = split_answer(send_raw(server, b"GET /small.txt HTTP/1.0\r\n\r\n"))
    assert head.startswith("HTTP/1.0 200")
    assert body == b"0123456789"


def test_first_byte_does_not_wait_for_the_last(server: ServerThread, root: Path) -> None:
    """A large file begins to arrive at once, whatever its size."""
    with (root / "sparse").open("wb") as file:
        file.truncate(20 << 30)
    with connect(server) as connection:
        started = time.monotonic()
        connection.sendall(request_line("GET", "/sparse"))
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
        assert time.monotonic() - started < 5
