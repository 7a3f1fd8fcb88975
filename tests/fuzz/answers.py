"""What came back, held against RFC 9112: a row of responses and nothing else."""

from __future__ import annotations

import re

_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5]\d\d) [\x20-\x7e]*\r\n")
_FIELD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+: ?[\x20-\x7e\x80-\xff\t]*\r\n")
_CHUNK = re.compile(rb"([0-9a-fA-F]{1,8})\r\n")


class NotHttpError(AssertionError):
    """Bytes that are no response."""


def statuses(data: bytes) -> list[int]:
    """The statuses of the responses in ``data``, the last of which may be cut off in its body.

    A response to HEAD bears a length and no body; which of the requests was one cannot always be
    known, so both readings are tried.  Raises ``NotHttpError``.
    """
    found: list[int] = []
    start = 0
    while start < len(data):
        status, fields, begin = _head(data, start)
        found.append(status)
        start = begin
        if status < 200 or status in (204, 304) or _starts_response(data, begin):
            continue
        if b"content-length" in fields:
            start = min(begin + int(fields[b"content-length"]), len(data))
        elif fields.get(b"transfer-encoding") == b"chunked":
            start = _chunks_end(data, begin)
        elif b"close" in fields.get(b"connection", b""):
            return found
        else:
            raise NotHttpError(f"a response without a length: {data[start : start + 300]!r}")
    return found


def _starts_response(data: bytes, start: int) -> bool:
    return start == len(data) or _STATUS.match(data, start) is not None


def _head(data: bytes, start: int) -> tuple[int, dict[bytes, bytes], int]:
    line = _STATUS.match(data, start)
    if line is None:
        raise NotHttpError(f"no status line: {data[start : start + 100]!r}")
    fields: dict[bytes, bytes] = {}
    place = line.end()
    while not data.startswith(b"\r\n", place):
        field = _FIELD.match(data, place)
        if field is None:
            raise NotHttpError(f"no field: {data[place : place + 100]!r}")
        name, _, value = field[0].partition(b":")
        if name.lower() in fields and name.lower() in (b"content-length", b"transfer-encoding"):
            raise NotHttpError(f"{name!r} stands twice")
        fields[name.lower()] = value.strip()
        place = field.end()
    if b"content-length" in fields and b"transfer-encoding" in fields:
        raise NotHttpError("a length and chunks")
    return int(line[1]), fields, place + 2


def _chunks_end(data: bytes, start: int) -> int:
    while start < len(data):
        size = _CHUNK.match(data, start)
        if size is None:
            raise NotHttpError(f"no chunk: {data[start : start + 100]!r}")
        end = size.end() + int(size[1], 16) + 2
        if end <= len(data) and data[end - 2 : end] != b"\r\n":
            raise NotHttpError("a chunk without its end")
        start = end
        if int(size[1], 16) == 0:
            break
    return min(start, len(data))
