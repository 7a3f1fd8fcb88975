"""Names that a server gives: what they become on the disk, on the terminal and in the log."""

from __future__ import annotations

import http.server
import json
import os
import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

import pytest

from tests.support.commands import Commands

TITLE = "\x1b]0;owned\x07"
RED = "\x1b[31m"
TRAPS = ["..", ".", "", "a/b", "../up", "/etc/x", "a\0b", "x/", "\ud800", "n" * 5000]
"""Names that can be no file's; none of them may appear anywhere."""
LONG = "l" * 256
"""Longer than files' names can be here, but not everywhere: named as an error of its own."""
ODD = [TITLE, RED + "red", "cr\rlf\n", "\x9b31m", "\u202egpj.exe", "A", "a", "CON", "C:\\x",
       "%2e%2e", "a%2Fb", "%00", "-rf", "~", ".bashrc", ".netcache-0123456789abcdef.part", "\udcff",
       unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é")]  # fmt: skip
"""Names that are odd, and files all the same: each stays the one that it is."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    names: tuple[str, ...] = ()

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = urlsplit(self.path).path
        kind, body = "text/plain", unquote_to_bytes(path.rsplit("/", 1)[-1])
        if path.endswith("/"):
            kind = "application/json"
            body = json.dumps([{"name": name, "type": "file"} for name in self.names]).encode()
        self.send_response(200, RED)
        self.send_header("Content-Type", kind)
        self.send_header("ETag", '"v"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on stderr."""


@contextmanager
def listing(*names: str) -> Iterator[str]:
    """A server whose folders all have these names, each a file that holds its own name."""
    handler = type("_", (_Handler,), {"names": names})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def run(tmp_path: Path) -> Commands:
    """The command line in a home of its own."""
    return Commands(tmp_path)


def assert_plain(text: str) -> None:
    """Lines that move no cursor and turn no text around."""
    assert all(line.isprintable() for line in text.splitlines()), text
    assert "\r" not in text


def test_a_tree_lands_in_its_folder_and_nowhere_else(tmp_path: Path, run: Commands) -> None:
    """Traps are dropped or errors, odd names are files with their own content, exit 6."""
    (tmp_path / "home").mkdir()
    run = Commands(tmp_path / "home")
    before = sorted(os.listdir("/"))
    with listing(*TRAPS, *ODD, LONG) as url:
        ran = run("get", "-r", url + "d/", "dest", "-v")
    assert ran.code == 6, ran.err
    dest = tmp_path / "home" / "dest"
    assert sorted(os.listdir(dest)) == sorted(ODD)
    for name in ODD:
        assert (dest / name).read_bytes() == os.fsencode(name)
    assert sorted(os.listdir(tmp_path)) == ["home"]
    assert sorted(os.listdir(tmp_path / "home")) == ["cache", "dest"]
    assert sorted(os.listdir("/")) == before
    assert_plain(ran.err)
    assert len(ran.err) < 20_000


@pytest.mark.parametrize("segment", ["..%2Fup", "..%2F..%2Ftop", "%2F{top}", "a%00b", "n" * 256])
def test_a_url_names_no_file_outside_the_folder(tmp_path: Path, segment: str) -> None:
    """Its last segment may decode to a path: exit 2 alone, and of several the others arrive."""
    run = Commands(tmp_path / "home")
    dest = run.home / "dest"
    dest.mkdir(parents=True)
    segment = segment.format(top=str(tmp_path / "top").replace("/", "%2F"))
    with listing() as url:
        bad, good = url + segment, url + "good"
        # The second time it is cached, and would be copied without a loop.
        for ready in ((), ("warm", bad)):
            assert not ready or run(*ready).code == 0
            for args in ((), (dest,), ("-r",), ("-r", dest)):
                ran = run("get", bad, *args, cwd=dest)
                assert (ran.code, ran.out) == (2, b""), ran.err
                assert ran.error.startswith(f"netcache: {bad} has no name ")
        ran = run("get", bad, good, dest)
        assert (ran.code, ran.error.startswith(f"netcache: {bad}: ")) == (6, True)
    assert os.listdir(dest) == ["good"]
    assert os.listdir(tmp_path) == ["home"]
    assert sorted(os.listdir(run.home)) == ["cache", "dest"]


@pytest.mark.parametrize("flags", [("-l",), (), ("-r",), ("-v",), ("-vv",), ("--json",)])
def test_names_are_harmless_on_a_terminal(run: Commands, flags: tuple[str, ...]) -> None:
    """Neither results nor logs nor errors bear what a name would do to a terminal."""
    with listing(*TRAPS, *ODD) as url:
        ran = run.on_terminal("ls", url, *flags)
        assert ran.code == 0
        assert b"CON" in ran.out
        # A terminal makes CR LF of each end of a line.
        assert_plain(ran.out.replace(b"\r\n", b"\n").decode())


def test_names_are_harmless_in_bars_and_summaries(run: Commands) -> None:
    """The bars move the cursor themselves, but never as a name says."""
    with listing(TITLE, RED + "red", LONG + TITLE) as url:
        ran = run.on_terminal("get", "-r", url, "dest")
        assert ran.code == 6
    assert TITLE.encode() not in ran.out
    assert (RED + "red").encode() not in ran.out
    assert b"\\x1b]0;owned\\x07" in ran.out


@pytest.mark.parametrize("name", [TITLE, "a\nb", "\u202ex"])
def test_names_in_urls_are_harmless(run: Commands, name: str) -> None:
    """What is named in lists of the cache and in errors is spelled as a URL."""
    with listing(name) as url:
        run("get", "-r", url, "dest")
        shown = run("cache", "ls")
        assert shown.code == 0
        assert len(shown.lines) >= 1
        assert_plain(shown.text)
        failed = run("get", "-r", url, "cache/CACHEDIR.TAG")
        assert failed.code != 0
        assert_plain(failed.err)
