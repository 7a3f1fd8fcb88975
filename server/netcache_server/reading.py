"""GET and HEAD: files, ranges of files, indexes of folders.

Everything here blocks on the disk, most of it for microseconds; whether it runs in a thread is for
the caller to decide.  What comes out is a ``Reply``.

Rules:

1. One descriptor is opened; validators, size and bytes all come from it (one version per answer).
2. Preconditions come first, then ``If-Range`` decides whether ``Range`` counts, then the range
   (RFC 9110 13.2.2 and 14.2).  ``Range`` means something for GET only.
3. Small bodies are read here, so that they leave in one write.
"""

from __future__ import annotations

import mimetypes
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from netcache_server.conditionals import (
    Conditions,
    Outcome,
    Validators,
    evaluate,
    http_date,
    range_applies,
)
from netcache_server.digest import format_sha256, hash_file, wants_sha256
from netcache_server.distortion import judged_validators
from netcache_server.etag import read_sha256, remember_sha256
from netcache_server.exchange import Exchange
from netcache_server.listing import html_index, json_index, wants_json
from netcache_server.options import ServerOptions
from netcache_server.ranges import Span, UnsatisfiableRangeError, content_range, parse_range
from netcache_server.reply import FileBody, HttpProblem, Reply, Stream
from netcache_server.tree import OpenFile, Place, Tree

SMALL_BYTES = 64 * 1024
_OCTETS = "application/octet-stream"
# The table that comes with Python, not the machine's: the same file has the same type everywhere.
_TYPES = mimetypes.MimeTypes()


@dataclass(frozen=True, slots=True)
class Reader:
    """Answers GET and HEAD from a tree."""

    options: ServerOptions
    tree: Tree

    def reply(self, exchange: Exchange) -> Reply:
        """The answer to a GET or HEAD.  Blocks.  Raises ``HttpProblem`` and ``OSError``."""
        path = exchange.path
        with self.tree.locate(path.segments) as place:
            if place.status is None or (place.is_file and path.trailing_slash):
                raise HttpProblem(404)
            place.require_known_kind()
            if place.is_folder:
                return self._folder(exchange, place)
            file = place.open_file()
        try:
            reply = self._file(exchange, file)
        except BaseException:
            file.close()
            raise
        if not isinstance(reply.body, FileBody):
            file.close()
        return reply

    def _folder(self, exchange: Exchange, place: Place) -> Reply:
        path = exchange.path
        if not path.trailing_slash:
            location = path.encoded + "/" + (f"?{path.query}" if path.query else "")
            problem = HttpProblem(301, "it is a folder", {"Location": _header_text(location)})
            return problem.reply()
        if not self.options.autoindex:
            raise HttpProblem(403, "folders are not listed")
        as_json = wants_json(exchange.headers.get("Accept"))
        headers = {
            "Content-Type": "application/json" if as_json else "text/html; charset=utf-8",
            "Cache-Control": "no-cache",
            "Vary": "Accept",
            "X-Content-Type-Options": "nosniff",
        }
        if not as_json:
            headers["Content-Security-Policy"] = "default-src 'none'"
        if exchange.method == "HEAD":
            return Reply(200, headers, Stream(iter(())))  # of a length that nobody has counted
        index = json_index if as_json else html_index
        chunks = index(self.tree, path, place.open_folder())
        return Reply(200, headers, _short_or_stream(chunks))

    def _file(self, exchange: Exchange, file: OpenFile) -> Reply:
        effects = exchange.effects
        true = Validators(file.etag, file.last_modified)
        judged = judged_validators(true, effects)
        conditions = Conditions.of(exchange.headers)
        headers = {
            "ETag": file.etag,
            "Last-Modified": http_date(file.last_modified),
            "Accept-Ranges": "bytes",
        }
        outcome = evaluate(exchange.method, conditions, judged)
        if outcome is Outcome.NOT_MODIFIED:
            return Reply(304, headers)
        if outcome is Outcome.FAILED:
            raise HttpProblem(412, headers=headers)
        if wants_sha256(exchange.headers.get("Want-Repr-Digest")):
            digest = self._sha256(file)
            if digest is not None:
                headers["Repr-Digest"] = format_sha256(digest)
        headers["Content-Type"] = content_type(exchange.path.segments[-1])
        headers["X-Content-Type-Options"] = "nosniff"
        if exchange.method == "HEAD":
            return Reply(200, headers, head_length=file.size)
        spans = None
        header = exchange.headers.get("Range")
        counts = header is not None and not effects.ignore_range
        if counts and range_applies(conditions, judged, time.time()):
            spans = _spans(header or "", file.size, headers)
        return _body(file, spans, headers)

    def _sha256(self, file: OpenFile) -> bytes | None:
        """The digest; None of a file that is being changed: of a log there may never be one."""
        digest = read_sha256(file.fd, file.status)
        if digest is None:
            digest = hash_file(file.fd, {"sha256"}).digest("sha256")
            assert digest is not None
            if not file.unchanged():
                return None
            if not self.options.read_only:
                remember_sha256(file.fd, digest, file.status)
        return digest


def content_type(name: str) -> str:
    """The media type that a name's ending stands for; compressed files are only bytes."""
    kind, encoding = _TYPES.guess_type("x" + os.path.splitext(name)[1])
    return kind if kind is not None and encoding is None else _OCTETS


def _spans(header: str, size: int, headers: dict[str, str]) -> tuple[Span, ...] | None:
    try:
        return parse_range(header, size)
    except UnsatisfiableRangeError:
        refused = {key: headers[key] for key in ("ETag", "Last-Modified", "Accept-Ranges")}
        problem = refused | {"Content-Range": f"bytes */{size}"}
        raise HttpProblem(416, headers=problem) from None


def _body(file: OpenFile, spans: tuple[Span, ...] | None, headers: dict[str, str]) -> Reply:
    if spans is None:
        return Reply(200, headers, _span_body(file, Span(0, file.size)))
    if len(spans) == 1:
        headers["Content-Range"] = content_range(spans[0], file.size)
        return Reply(206, headers, _span_body(file, spans[0]))
    return _multipart(file, spans, headers)


def _span_body(file: OpenFile, span: Span) -> bytes | FileBody:
    if span.length > SMALL_BYTES:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fd, span.start, span.length, os.POSIX_FADV_SEQUENTIAL)
        return FileBody(file, (span,))
    data = os.pread(file.fd, span.length, span.start) if span.length else b""
    if len(data) != span.length or not file.unchanged():
        raise HttpProblem(503, "the file is being changed", {"Retry-After": "1"})
    return data


def _multipart(file: OpenFile, spans: tuple[Span, ...], headers: dict[str, str]) -> Reply:
    """A multipart/byteranges answer (RFC 9110 14.6)."""
    boundary = secrets.token_hex(16)
    parts: list[bytes | Span] = []
    for span in spans:
        head = (
            f"\r\n--{boundary}\r\nContent-Type: {headers['Content-Type']}\r\n"
            f"Content-Range: {content_range(span, file.size)}\r\n\r\n"
        )
        parts += [head.encode("ascii"), span]
    parts.append(f"\r\n--{boundary}--\r\n".encode("ascii"))
    headers["Content-Type"] = f"multipart/byteranges; boundary={boundary}"
    return Reply(206, headers, FileBody(file, tuple(parts)))


def _short_or_stream(chunks: Iterator[bytes]) -> bytes | Stream:
    """A body with a length if it is a short one, so that most indexes have one."""
    start: list[bytes] = []
    for chunk in chunks:
        start.append(chunk)
        if sum(map(len, start)) > SMALL_BYTES:
            return Stream(chain(start, chunks))
    return b"".join(start)


def _header_text(text: str) -> str:
    return "".join(character for character in text if character.isprintable())
