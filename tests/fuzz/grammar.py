# ruff: noqa: E501
"""Requests as bytes, from a seed: mostly almost right, so that they get far before they fail."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

METHODS = ("GET", "HEAD", "PUT", "PATCH", "DELETE", "MOVE", "MKCOL", "OPTIONS")
ODD_METHODS = ("POST", "TRACE", "CONNECT", "PROPFIND", "get", "G\0T", "", "A" * 9000, "PRI", "\xff")
NAMES = ("a", "b.bin", "d", "d/c", "new", "new/deep/er", "inner", "out", "outdir", "outdir/secret",
         "pipe", "circle", ".netcache/faults", ".netcache/uploads/" + "0" * 32, ".netcache/uploads/..", ".netcache-part-uploads/x", ".netcache-part-x", "x" * 255, "y" * 256, "p/" * 200)  # fmt: skip
SEGMENTS = ("..", ".", "%2e%2e", "%2E.", "..%2f", "%2f", "%5c..", "\\", "%00", "%0d%0aX:%20y", "%",
            "%zz", "%c0%ae", "\xff\xfe", "%ff", "a;b", "a:b", "~", "*", "//", " ", "\t", "%252e%252e")  # fmt: skip
LENGTHS = (
    "0",
    "1",
    "5",
    "64",
    "-1",
    "+5",
    "5, 5",
    "5;",
    "0x5",
    "9" * 19,
    "9" * 40,
    "",
    "5 5",
    "1e3",
)
RANGES = ("bytes=0-0", "bytes=0-", "bytes=-1", "bytes=-0", "bytes=5-1", "bytes=1-2,4-5", "bytes=", "0-1",
          "bytes=0-" + "9" * 30, "bytes=" + "9" * 30 + "-", "bytes=" + "0-0," * 3000, "bytes=" + "1-,2-," * 900,
          "bytes=" + ",".join(f"{2 * n}-{2 * n}" for n in range(1200)), "bytes=a-b", "none", "bytes = 0 - 5",
          "bytes=--1", "bytes=0-1,\x0b2-3")  # fmt: skip
TAGS = (
    "*",
    '"x"',
    'W/"x"',
    '"',
    '"\xff"',
    "x",
    '"a", "b"',
    '"' + "t" * 5000 + '"',
    ",,,",
    '"a" "b"',
)
DATES = (
    "Sat, 21 Nov 2026 10:00:00 GMT",
    "0",
    "Sat, 99 Nov 99999 99:99:99 GMT",
    "\xff",
    "-1",
    "x" * 900,
)
FIELDS: dict[str, Sequence[str]] = {
    "Host": ("localhost", "127.0.0.1", "[::1]", "evil.example", "", "a@b", "\xff", "localhost:99999999", "[", "x" * 300),
    "Range": RANGES,
    "Content-Range": ("bytes 0-4/5", "bytes 0-4/*", "bytes 4-0/5", "bytes */5", "bytes 0-4/2", "x",
                      "bytes 99999999999999999-99999999999999999/*", "bytes 0-" + "9" * 40 + "/" + "9" * 40),
    "X-Update-Range": ("append", "bytes=0-4", "bytes=2-", "bytes=-3", "bytes=4-0", "bytes=" + "9" * 18 + "-", "bytes=" + "9" * 60 + "-"),
    "Upload-Complete": ("?0", "?1", "?2", "1", ""),
    "Upload-Length": ("0", "5", "64", "-1", "x", "9" * 15, "9" * 40),
    "Upload-Offset": ("0", "5", "-1", "x", "9" * 15, "9" * 40),
    "X-Upload-Repr-Digest": ("sha-256=:AAAA:", "sha-512=:" + "A" * 86 + "==:", "x"),
    "Content-Type": ("application/x-sabredav-partialupdate", "application/partial-upload", "text/plain", "\xff", "multipart/byteranges; boundary=x"),
    "Content-Encoding": ("gzip", "identity", "br", "deflate"),
    "Expect": ("100-continue", "200-ok", ""),
    "If-Match": TAGS,
    "If-None-Match": TAGS,
    "If-Range": (*TAGS, *DATES),
    "If-Modified-Since": DATES,
    "If-Unmodified-Since": DATES,
    "Destination": ("/moved", "/a", "http://localhost/moved", "http://evil.example/x", "/../../outside/stolen",
                    "/%2e%2e/stolen", "/outdir/stolen", "/outdir", "file:///etc/passwd", "", "/", "//", "http://[", "/" + "z" * 300, "/d/moved", "/.netcache-part-y"),
    "Depth": ("0", "1", "infinity", "x"),
    "Overwrite": ("T", "F", "x"),
    "Want-Repr-Digest": ("sha-256=5", "sha-256=0", "md5=10", "sha-256=99999", "=,=,="),
    "Content-Digest": ("sha-256=:AAAA:", "sha-256=::", "x", "sha-256=:" + "A" * 43 + "=:", "md5=:AAAA:, " * 500),
    "Repr-Digest": ("sha-256=:AAAA:", "sha-512=:" + "A" * 86 + "==:"),
    "X-OC-Mtime": ("0", "1700000000", "-1", "nan", "inf", "9" * 30, "-" + "9" * 30, "1e308", "1.5", "x", "٣"),
    "Authorization": ("Basic eDp5", "Bearer x", "Basic " + "A" * 4000, "\xff", "Basic ====", ""),
    "Accept": ("application/json", "*/*", "application/json;q=nan", "application/json;q=", ",;,;", "text/html;q=1e999"),
    "Accept-Encoding": ("gzip", "identity;q=0", "*"),
    "Connection": ("close", "keep-alive", "upgrade", "TE, close", "x" * 200),
    "Upgrade": ("websocket", "h2c"),
    "Cookie": ("a=b",),
}  # fmt: skip
ODD_FIELDS: dict[str, Sequence[str]] = {
    "X-Odd": ("", "\x01", "\0", "a\rb", "y" * 20_000, "\xff" * 50),
    "\xff": ("x",),
    "Bad Name": ("x",),
    "": ("x",),
    "Transfer-Encoding": ("chunked", "gzip, chunked", "chunked, chunked", "identity", "Chunked", " chunked", "x", "chunked\x0b"),
    "Content-Length": LENGTHS,
}  # fmt: skip


class Case(NamedTuple):
    """Bytes to send, and where to cut them into sends of their own."""

    data: bytes
    cuts: tuple[int, ...]


class Grammar:
    """Cases from a seed: the same seed, the same cases."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def case(self) -> Case:
        """The next case: one to three requests in a row, sometimes damaged."""
        chance = self._random
        data = b"".join(self._request() for _ in range(chance.choice((1, 1, 1, 2, 3))))
        if chance.random() < 0.12:
            data = self._damaged(data)
        cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.choice((0, 0, 1, 4))))
        return Case(data, tuple(cuts))

    def _request(self) -> bytes:
        chance = self._random
        method = chance.choice(METHODS if chance.random() < 0.97 else ODD_METHODS)
        version = chance.choice(("HTTP/1.1",) * 90 + ("HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "X", ""))
        end = chance.choice(("\r\n",) * 90 + ("\n", "\r"))
        fields = self._fields(method)
        body = b""
        if ("Upload-Complete", "?0") in fields and chance.random() < 0.7:
            pass  # a beginning has none
        elif method in ("PUT", "PATCH", "POST", "MKCOL") or chance.random() < 0.1:
            body = self._body(fields)
        lines = [f"{method} {self._target()} {version}", *(f"{n}: {v}" for n, v in fields), "", ""]
        return end.join(lines).encode("latin-1", "replace") + body

    def _target(self) -> str:
        chance = self._random
        path = chance.choice(NAMES)
        while chance.random() < 0.2:
            piece = chance.choice((*NAMES * 2, *SEGMENTS))
            path = chance.choice((f"{path}/{piece}", f"{piece}/{path}", path + piece))
        start = chance.choice(
            ("/",) * 60 + ("", "//", "http://localhost/", "http://evil.example/", "*")
        )
        end = chance.choice(("",) * 8 + ("/", "?x=1", "#f", "?" + "q" * 500, "?\xff"))
        return start + path + end

    def _fields(self, method: str) -> list[tuple[str, str]]:
        chance = self._random
        fields = [("Host", "localhost")] if chance.random() < 0.95 else []
        if method == "MOVE" and chance.random() < 0.9:
            fields.append(("Destination", chance.choice(FIELDS["Destination"])))
        if method == "PUT" and chance.random() < 0.1:
            fields += [
                ("Upload-Complete", "?0"),
                ("Upload-Length", chance.choice(("0", "5", "64", "x"))),
            ]
        if method == "PATCH" and chance.random() < 0.9:
            fields.append(("X-Update-Range", chance.choice(FIELDS["X-Update-Range"])))
            fields.append(("Content-Type", "application/x-sabredav-partialupdate"))
        for _ in range(chance.choice((0, 0, 1, 2, 3, 8))):
            known = FIELDS if chance.random() < 0.97 else ODD_FIELDS
            name = chance.choice(list(known))
            if chance.random() < 0.97:
                fields = [(other, value) for other, value in fields if other != name]
            fields.append((name, chance.choice(known[name])))
        if chance.random() < 0.01:
            fields += [("X-Many", "y")] * 500
        return fields

    def _body(self, fields: list[tuple[str, str]]) -> bytes:
        """A body, and mostly the fields that announce it."""
        chance = self._random
        data = chance.randbytes(chance.choice((0, 1, 5, 64, 5000, 70_000)))
        match chance.choice(("length",) * 8 + ("chunks",) * 4 + ("wrong", "none")):
            case "length":
                fields.append(("Content-Length", str(len(data))))
            case "wrong":
                fields.append(("Content-Length", chance.choice(LENGTHS)))
            case "chunks":
                fields.append(("Transfer-Encoding", "chunked"))
                sizes = (f"{len(data):x}",) * 8 + ("zz", "-1", "f" * 17, f"{len(data):x};x=y", "")
                end = chance.choice(
                    (b"\r\n0\r\n\r\n",) * 8 + (b"\r\n0\r\nX: y\r\n\r\n", b"0\r\n", b"")
                )
                return chance.choice(sizes).encode() + b"\r\n" + data + end
        return data

    def _damaged(self, data: bytes) -> bytes:
        chance, result = self._random, bytearray(data)
        for _ in range(chance.randint(1, 5)):
            place = chance.randrange(len(result) + 1)
            match chance.choice(("flip", "insert", "delete", "double", "cut")):
                case "flip" if place < len(result):
                    result[place] = chance.randrange(256)
                case "insert":
                    result[place:place] = chance.choice(
                        (b"\r\n", b"\0", b"\n", b" ", b"\xff", b":")
                    )
                case "delete":
                    del result[place : place + chance.randint(1, 20)]
                case "double":
                    result[place:place] = result[place : place + chance.randint(1, 200)]
                case "cut" if chance.random() < 0.3:
                    del result[place:]
        return bytes(result)
