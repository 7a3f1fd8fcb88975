"""Plain answers: the replies to reads, as nearly all servers send them.  Pure.

A head of a few fields and a body of known length.  Whatever is not exactly that (an interim answer,
a body in chunks, a field that is spelled in an odd way) is ``UnusualError``, and so is an answer to
a small read that is neither the file nor a refusal: aiohttp, which knows all of HTTP, is to ask
again and to judge.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

__all__ = [
    "PlainAnswer",
    "PlainFields",
    "PlainHead",
    "UnusualError",
    "after_continue",
    "field_lines",
    "head_is_whole",
    "is_plain_name",
    "is_plain_value",
    "next_answer",
    "next_head",
    "plain_request",
]

HEAD_BYTES_MAX = 16 << 10

_TEXT = rb"[\t\x20-\x7e\x80-\xff]*"
_FIELD = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:" + _TEXT + rb"\r\n"
_HEAD = re.compile(rb"HTTP/1\.1 ([0-9]{3})(?: " + _TEXT + rb")?\r\n((?:" + _FIELD + rb")*)\r\n")
_CONTINUE = re.compile(rb"HTTP/1\.1 100(?: " + _TEXT + rb")?\r\n(?:" + _FIELD + rb")*\r\n")
# Also where lines end as they should not (RFC 9112 2.2): no more of that head will come.
_EMPTY_LINE = re.compile(rb"\n\r?\n")
_NAME_AND_VALUE = re.compile(r"([^:]+):[ \t]*([^\r]*)\r\n")
_DIGITS = re.compile(r"[0-9]{1,15}")
_TARGET = re.compile(r"/[\x21-\x22\x24-\x7e]*")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_ABOUT_A_CONDITION = (412, 416)
_WITHOUT_BODY = (204, 304)


class UnusualError(Exception):
    """What came is no plain answer."""


class PlainFields(Mapping[str, str]):
    """The fields of a head by name, in any case; of several lines with a name the first."""

    __slots__ = ("_lines",)

    def __init__(self, fields: Iterable[tuple[str, str]]) -> None:
        self._lines: dict[str, list[str]] = {}
        for name, text in fields:
            self._lines.setdefault(name.lower(), []).append(text)

    def __getitem__(self, name: str) -> str:
        return self._lines[name.lower()][0]

    def __iter__(self) -> Iterator[str]:
        return iter(self._lines)

    def __len__(self) -> int:
        return len(self._lines)

    def getall(self, name: str, default: Sequence[str]) -> Sequence[str]:
        """All lines with this name."""
        return self._lines.get(name.lower(), default)


class PlainHead(NamedTuple):
    """The head of an answer: its status, its fields in order, where it ends, how long its body is.

    ``is_last``: the server says that it closes the connection behind the answer.
    """

    status: int
    fields: list[tuple[str, str]]
    end: int
    body_bytes: int
    is_last: bool


class PlainAnswer(NamedTuple):
    """An answer: its status, its fields in order, its body; ``length`` is that of all of it.

    ``is_last``: the server says that it closes the connection behind it.
    """

    status: int
    fields: list[tuple[str, str]]
    body: bytes
    length: int
    is_last: bool


def plain_request(target: str, fields: bytes, method: bytes = b"GET") -> bytes | None:
    """The request of ``target`` (path and query); None when it cannot be one line.

    ``fields`` are complete lines.
    """
    if not _TARGET.fullmatch(target):
        return None
    return b"%b %b HTTP/1.1\r\n%b\r\n" % (method, target.encode(), fields)


def is_plain_value(text: str) -> bool:
    """Whether a field can have this value, and every server takes it for the same."""
    return _VALUE.fullmatch(text) is not None


def is_plain_name(name: str) -> bool:
    """Whether this is the name of a field (RFC 9110 5.6.2)."""
    return _NAME.fullmatch(name) is not None


def field_lines(fields: Mapping[str, str]) -> bytes:
    """Fields as they are sent."""
    return "".join(f"{name}: {text}\r\n" for name, text in fields.items()).encode()


def next_head(
    data: bytes, *, to_head: bool = False, ends_with_head: bool = False
) -> PlainHead | None:
    """The head that ``data`` begins with; None while it is not all there.

    ``to_head``: the request was a ``HEAD``, whose answer has no body, whatever length it tells.
    ``ends_with_head``: where nobody can tell how long the body is, it is passed over, and the
    connection ends.  Raises ``UnusualError``, otherwise also for such a body.
    """
    found = _HEAD.match(data)
    if found is None:
        if head_is_whole(data) or len(data) > HEAD_BYTES_MAX:
            raise UnusualError("no plain head")
        return None
    status = int(found[1])
    if status < 200:
        raise UnusualError(f"status {status}")
    pairs = _NAME_AND_VALUE.findall(found[2].decode("utf-8", "surrogateescape"))
    length, is_last, fields = -1, False, []
    for name, value in pairs:
        value = value.rstrip(" \t")
        match name.lower():
            case "content-length":
                length = _length(value) if length < 0 else -2
                if length < 0:
                    raise UnusualError(f"Content-Length: {value}")
            case "connection":
                is_last = is_last or value.lower() != "keep-alive"
            case "transfer-encoding" if not ends_with_head:
                raise UnusualError(f"Transfer-Encoding: {value}")
            case "transfer-encoding":
                is_last, length = True, 0
        fields.append((name, value))
    if to_head or status in _WITHOUT_BODY:
        length = 0
    if length < 0 and ends_with_head:
        is_last, length = True, 0
    if length < 0:
        raise UnusualError("no length")
    return PlainHead(status, fields, found.end(), length, is_last)


def after_continue(data: bytes) -> bytes | None:
    """What is behind the ``100 Continue`` that ``data`` begins with; None when it does not."""
    found = _CONTINUE.match(data)
    return data[found.end() :] if found is not None else None


def next_answer(data: bytes, body_max: int, *, to_head: bool = False) -> PlainAnswer | None:
    """The answer that ``data`` begins with; None while it is not all there.

    ``to_head`` is as for ``next_head``.  Raises ``UnusualError``, also when its status is not one
    of a small read, or its body has more than ``body_max`` bytes.
    """
    head = next_head(data, to_head=to_head)
    if head is None:
        return None
    if not _is_usual(head.status, to_head=to_head):
        raise UnusualError(f"status {head.status}")
    if head.body_bytes > body_max:
        raise UnusualError(f"a body of {head.body_bytes} bytes")
    end = head.end + head.body_bytes
    if len(data) < end:
        return None
    return PlainAnswer(head.status, head.fields, data[head.end : end], end, head.is_last)


def head_is_whole(data: bytes) -> bool:
    """Whether of the answer that ``data`` begins with only the body is missing."""
    return _EMPTY_LINE.search(data) is not None


def _is_usual(status: int, *, to_head: bool) -> bool:
    """Whether an answer with this status has nothing but its body to be looked at."""
    if status == 200 or (status == 304 and to_head):
        return True
    return 400 <= status < 600 and status not in _ABOUT_A_CONDITION


def _length(text: str) -> int:
    return int(text) if _DIGITS.fullmatch(text) else -2
