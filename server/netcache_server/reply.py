"""Answers as values: what a request comes to, before anything of it is on the wire."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus

from netcache_server.ranges import Span
from netcache_server.tree import OpenFile


@dataclass(slots=True)
class FileBody:
    """Bytes of one open file, with other bytes between them where there are several ranges."""

    file: OpenFile
    parts: tuple[bytes | Span, ...]

    @property
    def length(self) -> int:
        """How many bytes it has."""
        return sum(part.length if isinstance(part, Span) else len(part) for part in self.parts)


@dataclass(slots=True)
class Stream:
    """A body of unknown length.  Taking the next chunk may block, so it is done in a thread."""

    chunks: Iterator[bytes]


Body = bytes | FileBody | Stream


@dataclass(slots=True)
class Reply:
    """Status, headers and body.  ``Content-Length`` and the connection's headers are added later.

    ``head_length`` is the length that a HEAD answer announces, whose body is empty.
    """

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: Body = b""
    close: bool = False
    head_length: int | None = None

    def release(self) -> None:
        """Close what the body holds open."""
        if isinstance(self.body, FileBody):
            self.body.file.close()


class HttpProblem(Exception):
    """A request that cannot be fulfilled: the status, a line of text for people, headers."""

    def __init__(
        self,
        status: int,
        text: str = "",
        headers: dict[str, str] | None = None,
        *,
        close: bool = False,
    ) -> None:
        super().__init__(status, text)
        self.status = status
        self.text = text or reason(status)
        self.headers = headers or {}
        self.close = close

    def reply(self) -> Reply:
        """The answer that says so."""
        headers = {"Content-Type": "text/plain; charset=utf-8"} | self.headers
        text = f"{self.status} {self.text}\n"
        return Reply(self.status, headers, text.encode("utf-8", "replace"), self.close)


def reason(status: int) -> str:
    """The reason phrase of a status, or a plain word for one that has none."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Status"


def forbids_body(method: str, status: int) -> bool:
    """Whether an answer has no body whatever its headers say (RFC 9112 6.3)."""
    return method == "HEAD" or status in (204, 304) or 100 <= status < 200
