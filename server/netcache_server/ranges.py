"""Byte ranges: ``Range``, ``Content-Range`` and ``X-Update-Range``, as values.

Positions are ``start``/``end`` with the end exclusive everywhere; only the texts on the wire have
inclusive ends.

Rules of ``Range`` (RFC 9110 14.2):

1. A header that is not understood is ignored, so the answer is the whole representation.
2. A header that is understood and selects nothing is unsatisfiable (416).
3. Overlapping and touching ranges are joined, and more than ``MAX_RANGES`` are ignored, so that no
   header of a few bytes makes the server send more than the representation has.
"""

from __future__ import annotations

import re
from typing import NamedTuple

MAX_RANGES = 64
"""More ranges than this in one header, and the header is ignored (RFC 9110 14.2)."""

_DIGITS = r"[0-9]{1,19}"
_SPEC = re.compile(rf"({_DIGITS})?-({_DIGITS})?\Z")
_CONTENT_RANGE = re.compile(rf"bytes[ \t]+({_DIGITS})-({_DIGITS})/({_DIGITS}|\*)\Z", re.IGNORECASE)


class Span(NamedTuple):
    """The bytes ``[start, end)``."""

    start: int
    end: int

    @property
    def length(self) -> int:
        """How many bytes it covers."""
        return self.end - self.start


class UnsatisfiableRangeError(ValueError):
    """The range was understood, and selects nothing of the representation (416)."""


class BadRangeError(ValueError):
    """The range of a write does not mean anything (400, or 416 where it lies outside)."""


def parse_range(header: str, size: int) -> tuple[Span, ...] | None:
    """The spans that a ``Range`` header selects, or ``None`` if it is to be ignored.

    The result is in the order of the request, without overlaps.  Raises
    ``UnsatisfiableRangeError``.
    """
    unit, equals, specs = header.partition("=")
    if not equals or unit.strip().lower() != "bytes":
        return None
    texts = [text.strip(" \t") for text in specs.split(",")]
    texts = [text for text in texts if text]  # RFC 9110 5.6.1.2: empty elements do not count
    if not texts or len(texts) > MAX_RANGES:
        return None
    spans: list[Span] = []
    for text in texts:
        match = _SPEC.match(text)
        if match is None or text == "-":
            return None
        span = _resolve(match[1], match[2], size)
        if span is None:
            return None
        if span.length > 0:
            spans.append(span)
    if not spans:
        raise UnsatisfiableRangeError
    return _coalesce(spans)


def _resolve(first: str | None, last: str | None, size: int) -> Span | None:
    """One range-spec against a size; empty if it selects nothing, ``None`` if it is invalid."""
    if first is None:
        start = max(0, size - int(last or 0))
        return Span(start, size)
    start = int(first)
    if last is not None and int(last) < start:
        return None
    end = size if last is None else min(int(last) + 1, size)
    return Span(start, max(start, end))


def _coalesce(spans: list[Span]) -> tuple[Span, ...]:
    """Join what overlaps or touches; a joined span stands where its first member stood."""
    joined: list[Span] = []
    for span in spans:
        place = None
        for index in range(len(joined) - 1, -1, -1):
            other = joined[index]
            if span.start <= other.end and other.start <= span.end:
                span = Span(min(span.start, other.start), max(span.end, other.end))
                del joined[index]
                place = index
        joined.insert(len(joined) if place is None else place, span)
    return tuple(joined)


def content_range(span: Span, size: int) -> str:
    """The ``Content-Range`` of a span (RFC 9110 14.4)."""
    return f"bytes {span.start}-{span.end - 1}/{size}"


def parse_content_range(header: str) -> tuple[Span, int | None]:
    """The span and the total of a request's ``Content-Range`` (RFC 9110 14.5).

    A total of ``*`` is ``None``.  Raises ``BadRangeError``.
    """
    match = _CONTENT_RANGE.match(header.strip())
    if match is None:
        raise BadRangeError("Content-Range: expected bytes FIRST-LAST/TOTAL")
    span = Span(int(match[1]), int(match[2]) + 1)
    total = None if match[3] == "*" else int(match[3])
    if span.length <= 0:
        raise BadRangeError("Content-Range: its end lies before its start")
    if total is not None and span.end > total:
        raise BadRangeError("Content-Range: it ends behind its total")
    return span, total


class UpdateRange(NamedTuple):
    """Where a patch goes: ``start`` is ``None`` for append, ``end`` is ``None`` if left open."""

    start: int | None
    end: int | None


def parse_update_range(header: str) -> UpdateRange:
    """The range of a partial update (the sabredav-partialupdate format).

    ``append``, ``bytes=A-B`` and ``bytes=A-``; the form ``bytes=-N`` (the last N bytes) is not
    supported and raises ``BadRangeError`` like everything else.
    """
    text = header.strip()
    if text.lower() == "append":
        return UpdateRange(None, None)
    unit, _, spec = text.partition("=")
    match = _SPEC.match(spec.strip())
    if unit.strip().lower() != "bytes" or match is None or match[1] is None:
        raise BadRangeError("X-Update-Range: expected append, bytes=FIRST-LAST or bytes=FIRST-")
    start = int(match[1])
    end = None if match[2] is None else int(match[2]) + 1
    if end is not None and end <= start:
        raise BadRangeError("X-Update-Range: its end lies before its start")
    return UpdateRange(start, end)
