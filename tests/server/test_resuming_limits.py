"""Resumable uploads are bounded in time, number and room, and nothing of them gets out."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from pathlib import Path

import pytest

from netcache_server import ServerThread
from tests.server.conftest import Serve
from tests.server.disk import names, small_disk
from tests.server.resuming import HIDDEN, MIB, add, adding_fields, begin, located, offset
from tests.server.wire import ask


def test_an_upload_that_nobody_touches_expires(
    server: ServerThread, serve: Serve, root: Path
) -> None:
    """After a day it is not found, and the next beginning, or the next server, removes it."""
    for tidy in ("begin", "server"):
        location = located(server, 8)
        add(server, location, 0, b"abcd", complete=False)
        token = location.rpartition("/")[2]
        os.utime(root / HIDDEN / f"{token}.json", (1, 1))
        assert ask(server, "HEAD", location).status == 404
        assert add(server, location, 4, b"efgh").status == 404
        if tidy == "begin":
            other = located(server, 8)
            assert len(list((root / HIDDEN).iterdir())) == 2
            ask(server, "DELETE", other)
        else:
            serve()
        assert names(root) == []


def test_an_old_upload_goes_though_nobody_asks(
    serve: Serve, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that runs for long does not keep it for longer."""
    monkeypatch.setattr("netcache_server.resuming.SWEEP_S", 0.01)
    server = serve()
    location = located(server, 8)
    os.utime(root / HIDDEN / f"{location.rpartition('/')[2]}.json", (1, 1))
    ticks = threading.Event()
    for _ in range(2000):
        # (The folder may go while it is listed.)
        with contextlib.suppress(FileNotFoundError):
            if names(root) == []:
                return
        ticks.wait(0.005)
    raise AssertionError(f"still there: {names(root)}")


def test_what_a_crash_left_half_is_removed(server: ServerThread, root: Path) -> None:
    """A record without bytes, bytes without a record, a damaged record, a published file."""
    tokens = []
    for _ in range(4):
        location = located(server, 4)
        add(server, location, 0, b"abcd", complete=False)
        tokens.append(location.rpartition("/")[2])
    folder = root / HIDDEN
    (folder / tokens[0]).unlink()
    (folder / f"{tokens[1]}.json").unlink()
    (folder / f"{tokens[2]}.json").write_text("{")
    os.link(folder / tokens[3], root / "a")
    for token in tokens:
        assert ask(server, "HEAD", f"/.netcache/uploads/{token}").status == 404
    ask(server, "DELETE", located(server, 1))
    assert names(root) == ["a"]
    assert (root / "a").read_bytes() == b"abcd"


def test_uploads_are_bounded_in_number_and_room(
    server: ServerThread, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What all of them lack must fit, and there are not too many."""
    monkeypatch.setattr("netcache_server.partial.MAX_UPLOADS", 3)
    room = os.statvfs(root).f_bavail * os.statvfs(root).f_frsize
    first = located(server, int(room * 0.6))
    assert begin(server, int(room * 0.6)).status == 507
    assert ask(server, "DELETE", first).status == 204
    for _ in range(3):
        located(server, 1)
    assert begin(server, 1).status == 503


def test_only_its_location_leads_to_an_upload(server: ServerThread, root: Path) -> None:
    """No path, listing or other method shows it or changes it."""
    (root / "b").write_bytes(b"x")
    location = located(server, 8)
    add(server, location, 0, b"SECRET", complete=False)
    token = location.rpartition("/")[2]
    assert re.fullmatch("[0-9a-f]{32}", token)
    assert token not in ask(server, "GET", "/").body.decode()
    assert HIDDEN not in ask(server, "GET", "/").body.decode()
    for path in (f"/{HIDDEN}/{token}", f"/{HIDDEN}/", f"/x/../{HIDDEN}/{token}", "/.netcache/"):
        for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE", "MOVE"):
            assert ask(server, method, path, b"").status in (400, 403, 404), (method, path)
    to = {"Destination": f"/{HIDDEN}/{token}"}
    assert ask(server, "MOVE", "/b", headers=to).status == 403
    for method in ("GET", "PUT", "MOVE", "MKCOL"):
        answer = ask(server, method, location, b"")
        assert (answer.status, answer.header("Allow")) == (405, "HEAD, PATCH, DELETE")
        assert b"SECRET" not in answer.body
    uploads = "/.netcache/uploads"
    for guess in (f"{token}.json", "..%2fb", "%2e%2e", "b", token[:-1], token.upper(), token * 2):
        for method in ("HEAD", "PATCH", "DELETE"):
            headers = {"Content-Type": "application/partial-upload"}
            answer = ask(server, method, f"{uploads}/{guess}", b"", headers)
            assert answer.status in (400, 404), (method, guess)
    assert offset(server, location) == 6
    assert sorted(os.listdir(root)) == [HIDDEN, "b"]
    assert (root / HIDDEN).stat().st_mode & 0o777 == 0o700


def test_a_link_in_the_place_of_uploads_is_not_followed(
    server: ServerThread, serve: Serve, root: Path, tmp_path: Path
) -> None:
    """Nothing is written outside, whoever put the link there."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (root / HIDDEN).symlink_to(outside)
    for each in (server, serve()):  # one that starts is not kept from starting
        assert begin(each, 8).status == 501
        assert ask(each, "HEAD", f"/.netcache/uploads/{'0' * 32}").status == 501
    assert list(outside.iterdir()) == []


def test_credentials_are_asked_for_everywhere(serve: Serve) -> None:
    """A location is no credential."""
    server = serve(token="secret")
    known = {"Authorization": "Bearer secret"}
    location = located(server, 4, known)
    for method in ("HEAD", "PATCH", "DELETE"):
        assert ask(server, method, location, b"abcd", adding_fields(0, True)).status == 401
    assert begin(server, 4).status == 401
    assert add(server, location, 0, b"abcd", known).status == 201


@pytest.mark.parametrize(
    "headers",
    [
        {"Upload-Length": "x"},
        {"Upload-Length": "-1"},
        {"Upload-Length": "9" * 40},
        {"Upload-Length": ""},
        {"Upload-Complete": "yes"},
    ],
)
def test_nonsense_begins_nothing(server: ServerThread, root: Path, headers: dict[str, str]) -> None:
    """400, and nothing is there."""
    assert begin(server, 8, headers).status == 400
    assert names(root) == []


def test_nonsense_adds_nothing(server: ServerThread, serve: Serve) -> None:
    """Lengths that do not fit, a body where none belongs, other types."""
    assert (
        ask(server, "PUT", "/a", b"x", {"Upload-Complete": "?0", "Upload-Length": "8"}).status
        == 400
    )
    assert begin(server, 8, name="/folder/").status == 400
    location = located(server, 8)
    assert add(server, location, 0, bytes(9)).status == 400
    assert add(server, location, 0, bytes(7)).status == 400
    assert add(server, location, 0, bytes(9), complete=False).status == 400
    assert add(server, location, 0, bytes(8), {"Upload-Offset": "-1"}).status == 400
    assert add(server, location, 0, bytes(8), {"Upload-Complete": "1"}).status == 400
    assert add(server, location, 0, bytes(8), {"Content-Type": "text/plain"}).status == 415
    chunked = ask(server, "PATCH", location, iter([bytes(8)]), adding_fields(0, True))
    assert chunked.status == 411
    assert offset(server, location) == 0
    assert begin(serve(max_body_bytes=7), 8).status == 413
    complete = ask(server, "PUT", "/whole", b"at once", {"Upload-Complete": "?1"})
    assert complete.status == 201


@pytest.mark.root
def test_full_disk(serve: Serve, tmp_path: Path) -> None:
    """What had room is kept; with room again, the upload goes on."""
    with small_disk(tmp_path / "full", "4m") as folder:
        server = serve(root=folder)
        data = os.urandom(3 * MIB)
        location = located(server, len(data))
        (folder / "filler").write_bytes(bytes(2 * MIB))
        assert add(server, location, 0, data).status == 507
        assert add(server, location, 0, data[:MIB], complete=False).status == 204
        assert begin(server, 2 * MIB).status == 507
        (folder / "filler").unlink()
        assert add(server, location, MIB, data[MIB:]).status == 201
        assert (folder / "a").read_bytes() == data
        server.stop()
