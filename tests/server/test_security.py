"""Nothing outside the served folder can be read, written or even looked at."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from netcache_server import OptionsError, ServerOptions, ServerThread
from netcache_server.etag import ETAG_ATTRIBUTE, identity
from tests.server.conftest import Serve
from tests.server.wire import ask, request_line, send_raw, status_of

SECRET = b"the secret"


@pytest.fixture
def outside(root: Path) -> Path:
    """A file beside the served folder, which nobody may reach."""
    secret = root.parent / "secret"
    secret.write_bytes(SECRET)
    return secret


@pytest.mark.usefixtures("outside")
@pytest.mark.parametrize(
    "target",
    ["/../secret", "/x/../../secret", "/%2e%2e/secret", "/%2E%2e/secret", "/.%2e/secret",
     "/..%2fsecret", "/..%5csecret", "/..\\secret", "/%2e%2e%2fsecret", "//../secret",
     "/./../secret", "/..;/secret", "/%252e%252e/secret", "/..%00/secret", "/%00/../secret",
     "http://localhost/../secret", "/%c0%ae%c0%ae/secret", "../secret", "secret"],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_no_path_escapes(server: ServerThread, root: Path, method: str, target: str) -> None:
    """Every way to write ``..`` is refused, on a socket that changes nothing of it."""
    answer = send_raw(server, request_line(method, target, "Content-Length: 0"))
    assert SECRET not in answer
    if method == "PUT" and target in ("/..;/secret", "/%252e%252e/secret", "/%c0%ae%c0%ae/secret"):
        assert status_of(answer) == 201  # a name like any other, inside
    else:
        assert status_of(answer) in (400, 404)
    assert (root.parent / "secret").read_bytes() == SECRET


def test_raw_nul_and_controls(server: ServerThread) -> None:
    """Bytes that cannot stand in a request line are an error, and the server goes on."""
    for target in (b"/\x00", b"/a\x00b", b"/\x01", b"/\x7f"):
        answer = send_raw(server, b"GET " + target + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert status_of(answer) == 400
    assert ask(server, "GET", "/").status == 200


@pytest.mark.parametrize("absolute", [True, False])
@pytest.mark.parametrize("kind", ["file", "folder", "deep"])
def test_links_that_lead_out(
    server: ServerThread, root: Path, outside: Path, kind: str, absolute: bool
) -> None:
    """A link out of the folder is refused for every method, wherever it stands in the path."""
    up = str(root.parent) if absolute else ".."
    if kind == "file":
        (root / "link").symlink_to(f"{up}/secret")
        target = "/link"
    elif kind == "folder":
        (root / "link").symlink_to(up)
        target = "/link/secret"
    else:
        (root / "d").mkdir()
        (root / "d/back").symlink_to("..")
        (root / "link").symlink_to(f"d/back/../{outside.name}" if not absolute else str(outside))
        target = "/link"
    for method in ("GET", "HEAD", "PUT", "DELETE", "MOVE"):
        answer = ask(server, method, target, b"", {"Destination": "/stolen"})
        assert answer.status == 403, method
        assert SECRET not in answer.body
    ask(server, "PUT", "/mine", b"x")
    moved = ask(server, "MOVE", "/mine", headers={"Destination": f"{target}/x"})
    assert moved.status in (403, 409)
    assert outside.read_bytes() == SECRET
    assert sorted(path.name for path in root.parent.iterdir()) == ["root", "secret"]


def test_links_inside(server: ServerThread, root: Path) -> None:
    """Links that stay inside are followed, relative and absolute; a circle of them is not."""
    ask(server, "PUT", "/d/a", b"data")
    (root / "relative").symlink_to("d/../d/a")
    (root / "absolute").symlink_to(root / "d")
    (root / "d/up").symlink_to("..")
    (root / "circle").symlink_to("circle")
    for target in ("/relative", "/absolute/a", "/d/up/d/up/relative"):
        assert ask(server, "GET", target).body == b"data", target
    assert ask(server, "GET", "/circle").status == 403
    assert ask(server, "PUT", "/relative", b"new").status == 204
    assert (root / "relative").is_symlink()
    assert (root / "d/a").read_bytes() == b"new"


@pytest.mark.parametrize("kind", ["fifo", "socket", "device"])
def test_special_files_are_never_opened(server: ServerThread, root: Path, kind: str) -> None:
    """What is neither file nor folder is 403 at once: opening a FIFO would wait for ever."""
    path = root / "special"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        listener = socket.socket(socket.AF_UNIX)
        here = Path.cwd()
        os.chdir(root)  # the address of a socket is short
        try:
            listener.bind("special")
        finally:
            os.chdir(here)
            listener.close()
    else:
        try:
            os.mknod(path, 0o020600, os.makedev(1, 5))
        except PermissionError:
            pytest.skip("devices need root")
    for method in ("GET", "HEAD", "PUT", "DELETE"):
        assert ask(server, method, "/special", b"").status == 403, method
    assert path.exists()


def test_files_in_progress_are_out_of_reach(server: ServerThread, root: Path) -> None:
    """The names of files in progress can be neither read nor taken."""
    (root / ".netcache-part-1").write_bytes(b"x")
    assert ask(server, "GET", "/.netcache-part-1").status == 404
    assert ask(server, "PUT", "/.netcache-part-2", b"x").status == 403
    assert ask(server, "DELETE", "/.netcache-part-1").status == 403
    assert ask(server, "PUT", "/.netcache/faults", b"{}").status == 403


def test_other_machines_need_a_credential(root: Path) -> None:
    """A host that is not loopback is refused without a credential or an explicit option."""
    for host in ("0.0.0.0", "", "::", "192.0.2.1", "example.net"):
        with pytest.raises(OptionsError, match="allow_unauthenticated"):
            ServerOptions(root=root, host=host).check()
        ServerOptions(root=root, host=host, token="t").check()
        ServerOptions(root=root, host=host, allow_unauthenticated=True).check()
    for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost"):
        ServerOptions(root=root, host=host).check()


def test_names_rebound_to_this_machine(serve: Serve, root: Path) -> None:
    """A page whose name was pointed at loopback does not reach the files."""
    (root / "a").write_bytes(b"x")
    server = serve(allowed_hosts=("files.test",))

    def status(host: str) -> int:
        return ask(server, "GET", "/a", headers={"Host": host}).status

    assert status("evil.example:80") == 421
    for host in ("localhost", "127.0.0.1:1", "[::1]:1", "files.test:8", "a.localhost", "192.0.2.1"):
        assert status(host) == 200, host
    assert ask(serve(token="t"), "GET", "/a", headers={"Host": "evil.example"}).status == 401


def test_headers_have_a_limit(server: ServerThread) -> None:
    """A head that does not end is refused."""
    answer = send_raw(server, request_line("GET", "/", "X: " + "y" * 100_000))
    assert status_of(answer) == 400
    answer = send_raw(server, request_line("GET", "/", *["X: y"] * 1000))
    assert status_of(answer) == 400


@pytest.mark.parametrize("tag", [b"t" * 3000, b"a\r\nX: y", b'a"b', b"\xff", b""])
def test_attributes_that_others_wrote(server: ServerThread, root: Path, tag: bytes) -> None:
    """A tag that is too long or cannot stand in a head is not the file's tag."""
    (root / "a").write_bytes(b"data")
    value = b" ".join((b"1", identity((root / "a").stat()), tag))
    os.setxattr(root / "a", ETAG_ATTRIBUTE, value)
    answer = ask(server, "GET", "/a")
    assert (answer.status, answer.body) == (200, b"data")
    assert answer.header("ETag") == f'"{identity((root / "a").stat()).decode()}"'
    assert (
        tag[:40] not in ask(server, "GET", "/", headers={"Accept": "application/json"}).body
        or not tag
    )


def test_no_other_site_may_read_or_change(server: ServerThread, root: Path) -> None:
    """Nothing invites pages of other origins: what a browser asks about first is not granted."""
    (root / "a").write_bytes(b"x")
    for method in ("OPTIONS", "GET", "PUT"):
        asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "PUT"}
        answer = ask(server, method, "/a", b"x" if method == "PUT" else None, asked)
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]
