"""DELETE, MOVE and OPTIONS."""

from __future__ import annotations

from pathlib import Path

import pytest

from netcache_server import ServerThread
from tests.server.conftest import Serve
from tests.server.wire import ask


def test_delete_a_file(server: ServerThread, root: Path) -> None:
    """204, then 404; conditional."""
    etag = ask(server, "PUT", "/a", b"x").header("ETag")
    assert ask(server, "DELETE", "/a", headers={"If-Match": '"other"'}).status == 412
    assert (root / "a").exists()
    assert ask(server, "DELETE", "/a", headers={"If-Match": etag}).status == 204
    assert not (root / "a").exists()
    assert ask(server, "DELETE", "/a").status == 404
    assert ask(server, "DELETE", "/a/b").status == 404


def test_delete_a_folder(server: ServerThread, root: Path) -> None:
    """Empty folders go; others only with Depth: infinity; the root never."""
    ask(server, "PUT", "/empty/")
    ask(server, "PUT", "/full/a/b", b"x")
    assert ask(server, "DELETE", "/empty/").status == 204
    assert ask(server, "DELETE", "/full").status == 409
    assert (root / "full/a/b").exists()
    assert ask(server, "DELETE", "/full/", headers={"Depth": "infinity"}).status == 204
    assert list(root.iterdir()) == []
    assert ask(server, "DELETE", "/", headers={"Depth": "infinity"}).status == 403


def test_delete_a_link_leaves_what_it_leads_to(server: ServerThread, root: Path) -> None:
    """The link goes; its target stays."""
    ask(server, "PUT", "/a", b"x")
    (root / "link").symlink_to("a")
    assert ask(server, "DELETE", "/link").status == 204
    assert [path.name for path in root.iterdir()] == ["a"]


def test_move(server: ServerThread, root: Path) -> None:
    """The file is where it was moved to, with its tag; 404 and 412 as the headers say."""
    etag = ask(server, "PUT", "/a", b"x").header("ETag")
    ask(server, "PUT", "/d/other", b"y")

    def move(source: str, destination: str, **headers: str) -> int:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return ask(server, "MOVE", source, headers={"Destination": destination} | given).status

    assert move("/missing", "/b") == 404
    assert move("/a", "/b", If_Match='"other"') == 412
    assert move("/a", "/d/other", Overwrite="F") == 412
    assert move("/a", "/missing/b") == 409
    assert move("/a", "/d") == 409
    assert move("/d", "/d/e") == 403
    assert move("/a", "/.netcache-part-x") == 403
    assert move("/a", "/../b") == 400
    assert move("/a", "http://elsewhere.example/b") == 502
    assert ask(server, "MOVE", "/a").status == 400
    answer = ask(server, "MOVE", "/a", headers={"Destination": f"{server.url}d/b%20c"})
    assert (answer.status, answer.header("ETag")) == (204, etag)
    assert ask(server, "GET", "/d/b%20c").header("ETag") == etag
    assert move("/d/b%20c", "/d/other") == 204
    assert (root / "d/other").read_bytes() == b"x"
    assert move("/d/", "/e") == 204
    assert [path.name for path in root.iterdir()] == ["e"]


def test_options(serve: Serve) -> None:
    """The server says what it can do."""
    answer = ask(serve(), "OPTIONS", "/any")
    assert answer.status == 204
    assert answer.header("Accept-Patch") == "application/x-sabredav-partialupdate"
    assert answer.header("DAV") == "sabredav-partialupdate"
    assert answer.header("Accept-Ranges") == "bytes"
    assert {"PUT", "PATCH", "DELETE", "MOVE"} <= set(answer.header("Allow").split(", "))
    assert ask(serve(), "OPTIONS", "*").status == 204
    answer = ask(serve(read_only=True), "OPTIONS", "/any")
    assert answer.header("Allow") == "GET, HEAD, OPTIONS"
    assert answer.headers["Accept-Patch"] is None


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "MOVE", "MKCOL"])
def test_read_only(serve: Serve, root: Path, method: str) -> None:
    """Nothing changes on a server that only reads."""
    (root / "a").write_bytes(b"x")
    answer = ask(serve(read_only=True), method, "/a", headers={"Destination": "/b"})
    assert (answer.status, answer.header("Allow")) == (405, "GET, HEAD, OPTIONS")
    assert [path.name for path in root.iterdir()] == ["a"]


def test_unknown_methods(server: ServerThread) -> None:
    """405 for what this server does not do."""
    assert ask(server, "POST", "/a", b"x").status == 405
    assert ask(server, "PROPFIND", "/").status == 405
