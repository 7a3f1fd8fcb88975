"""Updates of a part of a file: PATCH, and PUT with Content-Range."""

from __future__ import annotations

import base64
import hashlib
import threading
from pathlib import Path

import pytest

from netcache_server import ServerThread
from tests.server.wire import Answer, ask

PATCH_TYPE = "application/x-sabredav-partialupdate"


def patch(server: ServerThread, where: str, data: bytes, **headers: str) -> Answer:
    """One partial update of ``/a``."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    given = {"Content-Type": PATCH_TYPE, "X-Update-Range": where} | given
    return ask(server, "PATCH", "/a", data, given)


def digest(data: bytes) -> str:
    """The value of a digest field."""
    return f"sha-256=:{base64.b64encode(hashlib.sha256(data).digest()).decode()}:"


@pytest.fixture
def etag(server: ServerThread) -> str:
    """A file of ten digits; the tag of its version."""
    return ask(server, "PUT", "/a", b"0123456789").header("ETag")


@pytest.mark.usefixtures("etag")
@pytest.mark.parametrize(
    ("where", "data", "expected"),
    [
        ("bytes=2-4", b"abc", b"01abc56789"),
        ("bytes=8-", b"abcd", b"01234567abcd"),
        ("bytes=0-9", b"abcdefghij", b"abcdefghij"),
        ("append", b"ab", b"0123456789ab"),
        ("bytes=12-13", b"ab", b"0123456789\0\0ab"),
    ],
)
def test_patch_changes_that_range_only(
    server: ServerThread, root: Path, where: str, data: bytes, expected: bytes
) -> None:
    """204 with the new tag; the rest of the file is as it was."""
    inode = (root / "a").stat().st_ino
    answer = patch(server, where, data)
    assert answer.status == 204
    read = ask(server, "GET", "/a")
    assert (read.body, read.header("ETag")) == (expected, answer.header("ETag"))
    assert (root / "a").stat().st_ino != inode  # a copy took its place
    assert [path.name for path in root.iterdir()] == ["a"]


def test_patch_is_conditional(server: ServerThread, etag: str) -> None:
    """412 for another version, and nothing is changed."""
    assert patch(server, "append", b"x", If_Match='"other"').status == 412
    changed = patch(server, "append", b"x", If_Match=etag)
    assert changed.status == 204
    assert changed.header("ETag") != etag
    assert patch(server, "append", b"x", If_Match=etag).status == 412
    assert ask(server, "GET", "/a").body == b"0123456789x"


@pytest.mark.usefixtures("etag")
def test_patch_misused(server: ServerThread) -> None:
    """415 for another type, 400 and 416 for ranges that do not fit, 404, 411, 400 for digests."""
    assert patch(server, "append", b"x", Content_Type="text/plain").status == 415
    assert patch(server, "bytes=5-2", b"x").status == 416
    assert patch(server, "bytes=-2", b"x").status == 416
    assert patch(server, "bytes=0-5", b"x").status == 416
    assert patch(server, "append", b"x", Content_Digest=digest(b"y")).status == 400
    headers = {"Content-Type": PATCH_TYPE}
    assert ask(server, "PATCH", "/a", b"x", headers).status == 400
    headers["X-Update-Range"] = "append"
    assert ask(server, "PATCH", "/missing", b"x", headers).status == 404
    assert ask(server, "PATCH", "/", b"x", headers).status == 409
    assert ask(server, "PATCH", "/a", iter([b"x"]), headers).status == 411
    assert ask(server, "GET", "/a").body == b"0123456789"


@pytest.mark.usefixtures("etag")
def test_concurrent_appends_all_arrive(server: ServerThread) -> None:
    """Each append lands on the version that the one before it made."""
    pieces = [bytes([65 + number]) * 3 for number in range(12)]
    threads = [threading.Thread(target=patch, args=(server, "append", piece)) for piece in pieces]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    body = ask(server, "GET", "/a").body
    assert len(body) == 10 + 36
    assert sorted(body[start : start + 3] for start in range(10, 46, 3)) == pieces


def test_of_concurrent_conditional_patches_one_wins(server: ServerThread, etag: str) -> None:
    """Two updates of one version are not both made."""
    statuses: list[int] = []

    def run(number: int) -> None:
        where = f"bytes={number}-{number}"
        statuses.append(patch(server, where, b"x", If_Match=etag).status)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(statuses) == [204, 412, 412, 412, 412]


def test_patch_of_a_sparse_file_keeps_its_holes(server: ServerThread, root: Path) -> None:
    """What was a hole is one afterwards, so a large sparse file stays small on disk."""
    with (root / "a").open("wb") as file:
        file.truncate(1 << 30)
    assert patch(server, "bytes=500000000-500000003", b"data").status == 204
    status = (root / "a").stat()
    assert (status.st_size, status.st_blocks < 2048) == (1 << 30, True)
    read = ask(server, "GET", "/a", headers={"Range": "bytes=499999999-500000004"})
    assert read.body == b"\0data\0"


@pytest.mark.usefixtures("etag")
def test_put_with_content_range(server: ServerThread) -> None:
    """The same as PATCH; a total that the file would not have is refused."""

    def put(where: str, data: bytes, **headers: str) -> int:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return ask(server, "PUT", "/a", data, {"Content-Range": where} | given).status

    assert put("bytes 2-4/10", b"abc") == 204
    assert put("bytes 10-11/12", b"de") == 204
    assert put("bytes 0-0/*", b"X") == 204
    assert ask(server, "GET", "/a").body == b"X1abc56789de"
    for where in ("bytes 0-1/100", "bytes 0-1/5", "bytes 0-5/12", "bytes x", "bytes 3-2/12"):
        assert put(where, b"zz") == 400, where
    assert put("bytes 0-0/12", b"Y", If_Match='"other"') == 412
    assert put("bytes 0-0/12", b"Y", Repr_Digest=digest(b"Y")) == 400
    assert put("bytes 0-0/12", b"Y", Repr_Digest=digest(b"Y1abc56789de")) == 204
    assert put("bytes 0-0/12", b"Z", Content_Digest=digest(b"Z")) == 204


def test_put_with_content_range_makes_a_file_from_its_start(server: ServerThread) -> None:
    """A first part may create a file; a later part without one is 404."""
    headers = {"Content-Range": "bytes 0-2/3"}
    assert ask(server, "PUT", "/new", b"abc", headers).status == 201
    headers = {"Content-Range": "bytes 3-5/6"}
    assert ask(server, "PUT", "/other", b"def", headers).status == 404
