"""Indexes of folders."""

from __future__ import annotations

import errno
import json
import os
import resource
import threading
import time
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from netcache_server import ServerThread
from netcache_server.conditionals import http_date
from netcache_server.listing import json_index
from netcache_server.paths import RequestPath
from netcache_server.tree import Tree
from tests.server.conftest import Serve
from tests.server.wire import ask, request_line, send_raw, split_answer

JSON = {"Accept": "application/json"}


class Links(HTMLParser):
    """Collects the links of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the target of each link."""
        self.found += [value or "" for name, value in attrs if name == "href"]


def test_json_index(server: ServerThread, root: Path) -> None:
    """The shape of nginx's index, with the tags of the files, sorted."""
    etag = ask(server, "PUT", "/b.txt", b"12345").header("ETag")
    (root / "a").mkdir()
    (root / "c").write_bytes(b"")
    os.utime(root / "a", (1e9, 1e9))
    os.utime(root / "b.txt", (1e9, 1e9))
    answer = ask(server, "GET", "/", headers=JSON)
    assert answer.header("Content-Type") == "application/json"
    entries = json.loads(answer.body)
    assert [entry["name"] for entry in entries] == ["a", "b.txt", "c"]
    assert entries[0] == {"name": "a", "type": "directory", "mtime": http_date(1e9)}
    assert entries[1]["mtime"] == "Sun, 09 Sep 2001 01:46:40 GMT"
    assert (entries[1]["type"], entries[1]["size"]) == ("file", 5)
    assert entries[1]["etag"] != etag  # its time was changed from outside
    assert entries[2]["etag"] == ask(server, "HEAD", "/c").header("ETag")


def test_tags_in_the_index_are_those_of_the_files(server: ServerThread) -> None:
    """What the index says is what HEAD says."""
    etag = ask(server, "PUT", "/d/x", b"1").header("ETag")
    (entry,) = json.loads(ask(server, "GET", "/d/", headers=JSON).body)
    assert entry["etag"] == etag == ask(server, "HEAD", "/d/x").header("ETag")


def test_html_index(server: ServerThread, root: Path) -> None:
    """Links that lead to the names, whatever is in them, and nothing that a page could run."""
    names = ["a b", "<script>alert(1)</script>".replace("/", "\u2215"), "q?#%", "x:y", "ä", "'\""]
    for name in names:
        (root / name).write_bytes(b"")
    (root / "sub").mkdir()
    answer = ask(server, "GET", "/")
    assert answer.header("Content-Type").startswith("text/html")
    page = answer.body.decode()
    assert "<script>" not in page
    links = [unquote(link.removeprefix("./")) for link in Links(page).found]
    assert sorted(links) == sorted(["../", *names, "sub/"])


def test_choice_of_the_form(server: ServerThread) -> None:
    """JSON for who prefers it, HTML for everybody else."""

    def kind(accept: str) -> str:
        return ask(server, "GET", "/", headers={"Accept": accept}).header("Content-Type")

    assert kind("application/json").endswith("json")
    assert kind("text/html;q=0.5, application/json") == "application/json"
    assert kind("*/*").startswith("text/html")
    assert kind("application/json;q=0").startswith("text/html")
    assert kind("text/html, application/json;q=0.9").startswith("text/html")


def test_empty_folder(server: ServerThread) -> None:
    """An empty list, and a page without names."""
    assert json.loads(ask(server, "GET", "/", headers=JSON).body) == []
    assert Links(ask(server, "GET", "/").body.decode()).found == ["../"]


def test_names_that_are_not_utf8(server: ServerThread, root: Path) -> None:
    """Any name can be found in the index and asked for."""
    name = os.fsdecode(b"\xff\xfe.bin")
    (root / name).write_bytes(b"x")
    (entry,) = json.loads(ask(server, "GET", "/", headers=JSON).body)
    assert os.fsencode(entry["name"]) == b"\xff\xfe.bin"
    assert "%FF%FE.bin" in Links(ask(server, "GET", "/").body.decode()).found
    assert ask(server, "GET", "/%FF%FE.bin").body == b"x"


def test_redirect_to_the_slash(server: ServerThread, root: Path) -> None:
    """A folder without its slash is 301, as nginx does it; never to another host."""
    (root / "a b").mkdir()
    (root / "evil.example").mkdir()
    answer = ask(server, "GET", "/a%20b?x=1")
    assert (answer.status, answer.header("Location")) == (301, "/a%20b/?x=1")
    assert ask(server, "GET", "//evil.example").header("Location") == "/evil.example/"
    assert ask(server, "GET", "/a%20b/").status == 200


def test_what_is_neither_file_nor_folder_is_named_as_such(server: ServerThread, root: Path) -> None:
    """Special files and links that lead nowhere or out; only files in progress are not there."""
    (root / "ok").write_bytes(b"x")
    (root / ".hidden").write_bytes(b"x")
    (root / "link").symlink_to("ok")
    (root / "out").symlink_to("/etc/hostname")
    (root / "broken").symlink_to("nowhere")
    (root / ".netcache-part-1").write_bytes(b"x")
    (root / ".netcache").mkdir()
    (root / "endless").symlink_to("endless")
    (root / "long").symlink_to("x" * 300)
    (root / "through").symlink_to("ok/x")
    os.mkfifo(root / "fifo")
    entries = json.loads(ask(server, "GET", "/", headers=JSON).body)
    types = {entry["name"]: entry["type"] for entry in entries}
    others = ["broken", "endless", "fifo", "long", "out", "through"]
    assert types == dict.fromkeys(others, "other") | dict.fromkeys(
        [".hidden", "link", "ok"], "file"
    )
    assert {"name": "out", "type": "other"} in entries
    # A page tells no types: what it links to can be fetched.
    page = ask(server, "GET", "/").body.decode()
    assert Links(page).found == ["../", ".hidden", "link", "ok"]


def test_a_name_that_cannot_be_looked_at_is_not_left_out(root: Path) -> None:
    """With one descriptor left the folder can be read, and not what the link leads to."""
    root.mkdir(exist_ok=True)
    (root / "ok").write_bytes(b"x")
    (root / "link").symlink_to("ok")
    tree = Tree(root)
    folder = os.open(root, os.O_RDONLY)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(folder)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + 1, limits[1]))
    try:
        with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
            list(json_index(tree, RequestPath((), True), folder))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        tree.close()


def test_head_of_a_folder(server: ServerThread) -> None:
    """HEAD names the form and claims no length."""
    answer = ask(server, "HEAD", "/", headers=JSON)
    assert (answer.status, answer.header("Content-Type")) == (200, "application/json")
    assert answer.headers["Content-Length"] is None
    assert answer.body == b""


def test_without_autoindex(serve: Serve, root: Path) -> None:
    """Folders are not listed, files are served."""
    (root / "a").write_bytes(b"x")
    server = serve(autoindex=False)
    assert ask(server, "GET", "/").status == 403
    assert ask(server, "GET", "/a").status == 200


def test_large_folder_is_streamed(server: ServerThread, root: Path) -> None:
    """A folder of many names arrives whole while other requests are answered."""
    count = 20_000
    for number in range(count):
        os.close(os.open(root / f"{number:06}", os.O_CREAT | os.O_WRONLY))
    longest = 0.0
    done = threading.Event()

    def others() -> None:
        nonlocal longest
        while not done.is_set():
            started = time.monotonic()
            assert ask(server, "HEAD", "/000000").status == 200
            longest = max(longest, time.monotonic() - started)

    thread = threading.Thread(target=others)
    thread.start()
    answer = ask(server, "GET", "/", headers=JSON)
    done.set()
    thread.join()
    entries = json.loads(answer.body)
    assert [entry["name"] for entry in entries] == [f"{number:06}" for number in range(count)]
    assert answer.header("Transfer-Encoding") == "chunked"
    assert longest < 2.0
    old = send_raw(server, b"GET / HTTP/1.0\r\nAccept: application/json\r\n\r\n")
    assert len(json.loads(split_answer(old)[1])) == count
    head = send_raw(server, request_line("HEAD", "/", "Accept: application/json"))
    assert split_answer(head)[1] == b""
