"""Request targets as paths, without touching the disk.

Rules:

1. A segment is decoded once, and only then judged: what is checked is what is used.
2. ``.`` and ``..`` are refused however they are written; so are encoded separators, NUL, and a
   backslash, which some system might take for a separator.
3. Empty segments are dropped, as nginx merges slashes; a path that is sent back (a redirect, an
   index) is built from the decoded segments, so it can never start with two slashes.
4. Bytes that are not UTF-8 are kept by ``surrogateescape``, as ``os.fsdecode`` keeps them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

PART_PREFIX = ".netcache-part-"
"""Names of files in progress, in the folder of their target.  Never listed, served or accepted."""

CONTROL_NAME = ".netcache"
"""The folder at the root under which the server's own resources lie."""

_BAD_ESCAPE = re.compile("%(?![0-9a-fA-F]{2})")
_MAX_SEGMENTS = 512


class BadPathError(ValueError):
    """The target is not one that this server can ever serve (400)."""


@dataclass(frozen=True, slots=True)
class RequestPath:
    """The decoded path of a request: its segments, and whether it names a folder by its slash."""

    segments: tuple[str, ...]
    trailing_slash: bool
    query: str = ""

    @property
    def text(self) -> str:
        """The decoded path, beginning with ``/``; for logs and for matching."""
        path = "/" + "/".join(self.segments)
        return path + "/" if self.trailing_slash and self.segments else path

    @property
    def encoded(self) -> str:
        """The path as it may stand in a ``Location`` header."""
        path = "/" + "/".join(quote_segment(segment) for segment in self.segments)
        return path + "/" if self.trailing_slash and self.segments else path

    @property
    def reserved(self) -> bool:
        """Whether the path names what belongs to the server itself."""
        return bool(self.segments) and (
            self.segments[0] == CONTROL_NAME or any(map(is_hidden, self.segments))
        )


def is_hidden(name: str) -> bool:
    """Whether a file's name is one that is never listed or served."""
    return name.startswith(PART_PREFIX)


def quote_segment(segment: str) -> str:
    """A file name as one segment of a URL path."""
    return quote(segment.encode("utf-8", "surrogateescape"), safe="!$&'()*+,=@~")


def parse_target(target: str) -> RequestPath:
    """The path of a request target in origin form or absolute form (RFC 9112 3.2).

    Raises ``BadPathError``.
    """
    target, _, _fragment = target.partition("#")
    path, _, query = target.partition("?")
    lowered = path[:8].lower()
    if lowered.startswith(("http://", "https://")):
        _authority, slash, rest = path.split("//", 1)[1].partition("/")
        path = slash + rest or "/"
    if not path.startswith("/"):
        raise BadPathError("the request target is not a path")
    if _BAD_ESCAPE.search(path):
        raise BadPathError("a percent sign without two hexadecimal digits")
    raw = path.split("/")
    if len(raw) > _MAX_SEGMENTS:
        raise BadPathError("too many path segments")
    segments = tuple(_decode(segment) for segment in raw if segment)
    return RequestPath(segments, raw[-1] == "", query)


def _decode(segment: str) -> str:
    decoded = unquote_to_bytes(segment.encode("utf-8", "surrogateescape"))
    if decoded in (b".", b".."):
        raise BadPathError("dot segments are not followed")
    if b"/" in decoded or b"\\" in decoded:
        raise BadPathError("a separator inside a path segment")
    if b"\0" in decoded:
        raise BadPathError("NUL inside a path segment")
    return decoded.decode("utf-8", "surrogateescape")
