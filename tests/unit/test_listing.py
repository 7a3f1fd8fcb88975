"""Folder listings in the styles of the common servers, and what must not be taken for one."""

from __future__ import annotations

import functools
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netcache._core.coherency import ValidatorKind
from netcache.backends.http import HttpBackend
from netcache.backends.http_listing import is_plain_name, parse_listing
from netcache.errors import RemoteProtocolError
from netcache.spi import ResourceInfo

URL = "http://host.invalid/pub/files/"
HTML = "text/html; charset=utf-8"
JSON = "application/json"


def parse(page: str, content_type: str = HTML, url: str = URL) -> list[ResourceInfo]:
    """The entries of a page."""
    return parse_listing(url, content_type, page.encode())


def shown(entries: list[ResourceInfo]) -> list[tuple[str, str, int | None]]:
    """Name, type and size of each."""
    return [(entry.name, entry.type, entry.size) for entry in entries]


NGINX = """<html>
<head><title>Index of /pub/files/</title></head>
<body>
<h1>Index of /pub/files/</h1><hr><pre><a href="../">../</a>
<a href="sub/">sub/</a>                              20-Nov-2026 10:15                   -
<a href="a%20b%26c%3F.txt">a b&amp;c?.txt</a>        20-Nov-2026 10:15                1234
<a href="a%20very%20long%20name%20that%20is%20cut%20in%20what%20is%20shown%20of%20it.iso"
>a very long name that is cut in what is shown o..&gt;</a> 01-Jan-2026 00:00 5368709120
<a href="rounded.bin">rounded.bin</a>                20-Nov-2026 10:15                 12K
<a href="%D1%84%D0%B0%D0%B9%D0%BB">файл</a>          20-Nov-2026 10:15                   0
</pre><hr></body>
</html>
"""

APACHE_FANCY = """<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 3.2 Final//EN">
<html><head><title>Index of /pub/files</title></head><body>
<h1>Index of /pub/files</h1>
<pre><img src="/icons/blank.gif" alt="Icon "> <a href="?C=N;O=D">Name</a>
<a href="?C=M;O=A">Last modified</a>      <a href="?C=S;O=A">Size</a>  <hr>
<img src="/icons/back.gif" alt="[PARENTDIR]"> <a href="/pub/">Parent Directory</a>       -
<a href="sub/"><img src="/icons/folder.gif"></a> <a href="sub/">sub/</a>  2026-11-20 10:15    -
<a href="data.bin"><img></a> <a href="data.bin">data.bin</a> 2026-11-20 10:15  1.2K
<img src="/icons/text.gif"> <a href="tiny.txt">tiny.txt</a>   2026-11-20 10:15  512  a tiny one
<hr></pre></body></html>
"""

APACHE_TABLE = """<html><head><title>Index of /pub/files</title></head><body>
<h1>Index of /pub/files</h1>
<table>
<tr><th valign="top"><img src="/icons/blank.gif"></th><th><a href="?C=N;O=D">Name</a></th>
<th><a href="?C=M;O=A">Last modified</a></th><th><a href="?C=S;O=A">Size</a></th></tr>
<tr><td><img src="/icons/back.gif"></td><td><a href="/pub/">Parent Directory</a></td>
<td>&nbsp;</td><td align="right">  - </td><td>&nbsp;</td></tr>
<tr><td valign="top"><img src="/icons/folder.gif"></td><td><a href="sub/">sub/</a></td>
<td align="right">2026-11-20 10:15  </td><td align="right">  - </td><td>&nbsp;</td></tr>
<tr><td valign="top"><img src="/icons/text.gif"></td><td><a href="tiny.txt">tiny.txt</a></td>
<td align="right">2026-11-20 10:15  </td><td align="right">512 </td><td>&nbsp;</td></tr>
<tr><td valign="top"><img src="/icons/text.gif"></td><td><a href="big.bin">big.bin</a></td>
<td align="right">2026-11-20 10:15  </td><td align="right">4.0M</td><td>&nbsp;</td></tr>
</table><address>Apache/2.4 Server at host.invalid Port 80</address></body></html>
"""

APACHE_PLAIN = """<html><head><title>Index of /pub/files</title></head><body>
<h1>Index of /pub/files</h1>
<ul><li><a href="/pub/"> Parent Directory</a></li>
<li><a href="sub/"> sub/</a></li>
<li><a href="tiny.txt"> tiny.txt</a></li>
</ul></body></html>
"""

PYTHON = """<!DOCTYPE HTML><html lang="en"><head><meta charset="utf-8">
<title>Directory listing for /pub/files/</title></head><body>
<h1>Directory listing for /pub/files/</h1><hr><ul>
<li><a href="sub/">sub/</a></li>
<li><a href="link">link@</a></li>
<li><a href="tiny.txt">tiny.txt</a></li>
</ul><hr></body></html>
"""


class TestHtml:
    """Indexes for people."""

    def test_nginx(self) -> None:
        """Exact sizes; names from the links, not from what is shown."""
        long = "a very long name that is cut in what is shown of it.iso"
        assert shown(parse(NGINX)) == [
            ("a b&c?.txt", "file", 1234),
            (long, "file", 5_368_709_120),
            ("rounded.bin", "file", None),
            ("sub", "directory", None),
            ("файл", "file", 0),
        ]

    @pytest.mark.parametrize(
        ("page", "expected"),
        [
            (APACHE_FANCY, [("data.bin", None), ("sub", None), ("tiny.txt", 512)]),
            (APACHE_TABLE, [("big.bin", None), ("sub", None), ("tiny.txt", 512)]),
            (APACHE_PLAIN, [("sub", None), ("tiny.txt", None)]),
            (PYTHON, [("link", None), ("sub", None), ("tiny.txt", None)]),
        ],
    )
    def test_other_servers(self, page: str, expected: list[tuple[str, int | None]]) -> None:
        """Parents and sort links are passed over; rounded sizes are none."""
        entries = parse(page)
        assert [(entry.name, entry.size) for entry in entries] == expected
        assert [e.name for e in entries if e.type == "directory"] == ["sub"]

    def test_times_of_minutes_are_no_times(self) -> None:
        """Nobody knows the seconds, nor the time zone."""
        assert all(entry.mtime_s is None and entry.version is None for entry in parse(NGINX))

    @pytest.mark.parametrize(
        ("link", "name"),
        [
            ("x.bin", "x.bin"),
            ("./x.bin", "x.bin"),
            ("/pub/files/x.bin", "x.bin"),
            ("//host.invalid/pub/files/x.bin", "x.bin"),
            ("http://host.invalid/pub/files/x.bin", "x.bin"),
            ("HTTP://HOST.invalid:80/pub/files/x.bin", "x.bin"),
            ("http://host.invalid/pub/%66iles/x.bin#part", "x.bin"),
            ("../files/x.bin", "x.bin"),
            ("%78.bin", "x.bin"),
            ("x&amp;y.bin", "x&y.bin"),
            ("x%2520y", "x%20y"),
            ("x y", "x y"),
            ("ä", "ä"),
            (" x.bin ", "x.bin"),
            ("./a:b", "a:b"),
            ("%FF", "\udcff"),
        ],
    )
    def test_links_to_children(self, link: str, name: str) -> None:
        """However a direct child is spelled, it is found once."""
        page = f'<title>Index of /</title><a href="{link}">x</a><a href="{link}">y</a>'
        (entry,) = parse(page)
        assert entry.name == name
        assert parse_listing(
            URL, JSON, json.dumps([{"name": name}]).encode("utf-8", "surrogateescape")
        )[0].url == entry.url  # fmt: skip

    @pytest.mark.parametrize(
        "link",
        [
            "../",
            "..",
            "/",
            "/pub/",
            "/pub/files",
            "/pub/files/",
            "/pub/other/x",
            "/pub/filesystem/x",
            "",
            ".",
            "./",
            "#top",
            "?C=N;O=D",
            "?",
            "x.bin?download",
            "sub/x.bin",
            "%2e%2e/",
            "%2e",
            "a%2Fb",
            "..%2F..%2Fetc%2Fpasswd",
            "a%00b",
            "http://other.invalid/pub/files/x.bin",
            "https://host.invalid/pub/files/x.bin",
            "http://host.invalid:81/pub/files/x.bin",
            "ftp://host.invalid/pub/files/x.bin",
            "javascript:alert(1)",
            "mailto:me@host.invalid",
            "http://[",
            "//",
        ],
    )
    def test_links_to_other_places(self, link: str) -> None:
        """What is not a direct child, or no plain name, is no entry."""
        assert parse(f'<title>Index of /</title><a href="{link}">x</a>') == []

    @pytest.mark.parametrize(
        ("page", "content_type"),
        [
            ("<title>Welcome</title><a href='x'>x</a>", HTML),
            ("", HTML),
            ("plain words", "text/plain"),
            ("\x89PNG", "image/png"),
            ("{}", JSON),
            ('{"name": "x"}', JSON),
            ("[1, 2]", JSON),
            ('[{"size": 1}]', JSON),
            ('[{"name": 5}]', JSON),
            ("[", JSON),
            ("[" * 100_000, JSON),
        ],
    )
    def test_what_is_no_listing(self, page: str, content_type: str) -> None:
        """Something else at the place of a folder is an error, not an empty folder."""
        with pytest.raises(RemoteProtocolError, match="listing of"):
            parse(page, content_type)

    def test_charset_of_the_page(self) -> None:
        """Links may bear raw characters in the charset that the head names."""
        page = '<title>Index of /</title><a href="ä">ä</a>'.encode("latin-1")
        (entry,) = parse_listing(URL, "text/html; charset=ISO-8859-1", page)
        assert entry.name == "ä"
        parse_listing(URL, "text/html; charset=nonsense", page)

    @given(st.binary(max_size=300))
    def test_no_bytes_make_it_fail_otherwise(self, body: bytes) -> None:
        """Entries or the one error, whatever comes."""
        for kind in (HTML, JSON, ""):
            try:
                entries = parse_listing(URL, kind, body)
            except RemoteProtocolError:
                continue
            assert all(is_plain_name(entry.name) for entry in entries)


class TestJson:
    """nginx's ``autoindex_format json``, and the bundled server's."""

    def test_nginx(self) -> None:
        """Folders have no size; the time is an HTTP date, and makes a weak version."""
        page = """[
        { "name":"sub", "type":"directory", "mtime":"Fri, 20 Nov 2026 10:15:30 GMT" },
        { "name":"a b", "type":"file", "mtime":"Fri, 20 Nov 2026 10:15:30 GMT", "size":1234 },
        { "name":"pipe", "type":"other", "mtime":"Fri, 20 Nov 2026 10:15:30 GMT" }
        ]"""
        listing = parse_listing(URL, JSON, page.encode())
        assert listing.left_out == ["pipe"]
        file, folder = listing
        assert (file.name, file.size, file.mtime_s) == ("a b", 1234, 1_795_169_730)
        assert file.version is not None
        assert file.version.validator.kind is ValidatorKind.WEAK_DATE
        assert file.version.validator.value == "Fri, 20 Nov 2026 10:15:30 GMT"
        assert (folder.type, folder.size, folder.version) == ("directory", None, None)
        assert folder.url == URL + "sub/"

    def test_bundled_server(self) -> None:
        """An etag makes a version that can be compared with those of replies."""
        page = json.dumps(
            [
                {"name": "x", "type": "file", "size": 5, "etag": '"v1"', "mtime": None},
                {"name": "y", "type": "file", "size": 5, "etag": "unquoted"},
                {"name": "z", "type": "file", "etag": '"v1"'},
            ]
        )
        x, y, z = parse(page, JSON)
        assert x.etag == '"v1"'
        assert x.version is not None
        assert x.version.validator.joins_ranges
        assert (y.etag, y.version) == (None, None)
        assert (z.size, z.version) == (None, None)

    @pytest.mark.parametrize("size", [-1, 1.5, "7", True, None, 1 << 70])
    def test_sizes_that_are_none(self, size: object) -> None:
        """A size is a number of bytes or it is not there."""
        (entry,) = parse(json.dumps([{"name": "x", "type": "file", "size": size}]), JSON)
        assert entry.size is None

    @pytest.mark.parametrize(
        "mtime",
        [
            *(1 << 39, 900_000_000_000, -(1 << 39), 253_402_300_800, -62_135_596_801, 1e300),
            "Fri, 31 Dec 9999 23:59:59 -0100",
        ],
    )
    def test_times_that_are_none(self, mtime: object) -> None:
        """What no date can spell, milliseconds for one, is no time; the rest of the entry stays."""
        page = json.dumps([{"name": "x", "type": "file", "size": 1, "mtime": mtime}])
        (entry,) = parse(page, JSON)
        assert (entry.size, entry.mtime_s, entry.version) == (1, None, None)

    @pytest.mark.parametrize("mtime", [253_402_300_799, -62_135_596_800, 0, 0.5])
    def test_times_at_the_borders(self, mtime: float) -> None:
        """The first and the last that have a date, and that of nothing."""
        page = json.dumps([{"name": "x", "type": "file", "size": 1, "mtime": mtime}])
        (entry,) = parse(page, JSON)
        assert entry.mtime_s == mtime
        assert entry.version is not None

    @pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/", "a\0b", "../x", "\ud800"])
    def test_names_that_are_dropped(self, name: str, caplog: pytest.LogCaptureFixture) -> None:
        """They cannot be local names; the others stay, and the log says so."""
        page = json.dumps([{"name": name, "type": "file"}, {"name": "good", "type": "file"}])
        assert [entry.name for entry in parse(page, JSON)] == ["good"]
        assert "is dropped" in caplog.text

    def test_names_that_stay(self) -> None:
        """Odd is not bad."""
        names = ["-rf", "a b", "a\nb", "C:\\x", "...", "~", "%2F", "ä", "\udcff"]
        page = json.dumps([{"name": name, "type": "file"} for name in names])
        assert [entry.name for entry in parse(page, JSON)] == sorted(names)

    def test_base_without_slash(self) -> None:
        """Entries lie inside the folder, also when its URL was spelled without the slash."""
        (entry,) = parse('[{"name": "x"}]', JSON, URL.rstrip("/"))
        assert entry.url == URL + "x"


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Nothing on stderr."""


@pytest.fixture
def python_server(tmp_path: Path) -> Iterator[str]:
    """Python's own http.server, really running."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "a b&c<d>#?.txt").write_bytes(b"x" * 10)
    (tmp_path / "ämter").write_bytes(b"")
    handler = functools.partial(_Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


async def test_pythons_own_server(python_server: str) -> None:
    """Its listing is understood, and the URLs lead to the files; it knows no ranges."""
    backend = HttpBackend()
    try:
        entries = await backend.list(python_server)
        assert [(e.name, e.type) for e in entries] == [
            ("a b&c<d>#?.txt", "file"),
            ("sub", "directory"),
            ("ämter", "file"),
        ]
        info = await backend.stat(entries[0].url)
        assert info is not None
        assert info.size == 10
        folder = await backend.stat(entries[1].url.rstrip("/"))
        assert folder is not None
        assert folder.type == "directory"
    finally:
        await backend.close()
