"""Several ranges in one exchange: the question, the judgement of the head, the shares of the body.

Rules:

1. The question pins a version; the head's validator, and the place, total and validator of every
   part are compared with it.
2. Only bytes that were asked for reach the sink, each at most once; a server may join ranges, put
   parts in another order, or leave some out (RFC 9110 14.6 and 15.3.7).
3. What was not asked for is received only as far as that costs less than another exchange.
4. There are at most as many parts as ranges, so what is kept about them is bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from netcache._core.coherency import Version
from netcache._core.extent import Extent, ExtentSet
from netcache.backends.http_fields import content_length, content_range
from netcache.backends.http_multipart import boundary_of
from netcache.backends.http_pieces import Pieces
from netcache.backends.http_pinning import Pin, pin_headers
from netcache.backends.http_wire import (
    Head,
    ReadQuestion,
    check_coding,
    check_expected,
    stale_answer,
    wrong_answer,
)
from netcache.errors import NotOfferedError, RemoteProtocolError

__all__ = [
    "RangesHead",
    "RangesQuestion",
    "Shares",
    "part_extent",
    "ranges_head",
    "ranges_headers",
    "ranges_question",
]

RANGES_MAX = 64
"""How many ranges are asked for at once: more make some servers ignore all of them."""
UNASKED_BYTES_MAX = 1 << 20
"""How much that was not asked for is received: about what a round trip is worth."""


class RangesQuestion(NamedTuple):
    """What an ``open_ranges`` asks; ``extents`` are ascending and apart."""

    url: str
    extents: tuple[Extent, ...]
    expected: Version
    pin: Pin = Pin.IF_MATCH

    @property
    def hull(self) -> Extent:
        """From the first byte that is asked for to the last."""
        return Extent(self.extents[0].start, self.extents[-1].end)

    @property
    def asked_bytes(self) -> int:
        """How many bytes are asked for."""
        return sum(extent.length for extent in self.extents)

    @property
    def as_one(self) -> ReadQuestion:
        """The question for all of the hull: what is compared and said is the same."""
        return ReadQuestion(self.url, self.hull, self.expected, None)


class RangesHead(NamedTuple):
    """What the head of a reply says: the ``boundary`` of its parts, or the one ``extent``."""

    boundary: bytes | None
    extent: Extent | None

    def bears_all_of(self, question: RangesQuestion) -> bool:
        """Whether several ranges came at once, as parts or joined, rather than one of them."""
        return self.extent is None or self.extent == question.hull


def ranges_question(url: str, extents: ExtentSet, expected: Version) -> RangesQuestion:
    """The question for the first of ``extents``."""
    return RangesQuestion(url, tuple(extents)[:RANGES_MAX], expected)


def ranges_headers(question: RangesQuestion) -> dict[str, str]:
    """The request header fields."""
    specs = ", ".join(f"{start}-{end - 1}" for start, end in question.extents)
    pin = pin_headers(question.expected.validator, question.pin, ranged=True)
    return {"Range": f"bytes={specs}"} | pin


def ranges_head(question: RangesQuestion, head: Head) -> RangesHead:
    """Judge the head of a reply that is 200, 206, 412 or 416.

    Raises ``StaleError``, ``RemoteProtocolError``, and ``NotOfferedError`` when the reply bears
    too much that was not asked for.
    """
    one = question.as_one
    if head.status in (412, 416):
        # The ranges lie within the version that is expected, so another one is there.
        raise stale_answer(one, "the server has another version now")
    check_coding(one, head)
    length = content_length(head.fields)
    if head.status == 200:
        check_expected(one, head, length)
        whole = Extent(0, question.expected.size)
        _check_unasked(question, whole.length - question.asked_bytes)
        return RangesHead(None, whole)
    check_expected(one, head, None)
    boundary = boundary_of(head.fields.get("Content-Type"))
    if boundary is not None and head.fields.get("Content-Range") is None:
        return RangesHead(boundary, None)
    extent = _place(question, head.fields.get("Content-Range"))
    if length is not None and length != extent.length:
        raise wrong_answer(one, f"a part {extent} with a body of {length} bytes")
    return RangesHead(None, extent)


def part_extent(question: RangesQuestion, fields: Mapping[str, str]) -> Extent:
    """Which bytes a part of several bears, from the fields of its head (names in lower case)."""
    titled = {"ETag": fields.get("etag"), "Last-Modified": fields.get("last-modified")}
    validator = question.expected.validator
    told = titled["ETag" if validator.is_etag else "Last-Modified"]
    if told is not None and told != validator.value:
        raise stale_answer(question.as_one, f"a part is of {told}, not {validator.value}")
    return _place(question, fields.get("content-range"))


def _place(question: RangesQuestion, text: str | None) -> Extent:
    """The extent that a ``Content-Range`` names, when it can be a part of the answer."""
    one = question.as_one
    found = content_range(text)
    if found is None or found.start is None or found.end is None:
        raise wrong_answer(one, f"a part with Content-Range {text!r}")
    if found.total is not None and found.total != question.expected.size:
        raise stale_answer(one, f"its size is {found.total} now, not {question.expected.size}")
    low, high = question.hull
    if found.start < low or found.end > high:
        raise wrong_answer(one, f"the server sent the bytes [{found.start}, {found.end})")
    return Extent(found.start, found.end)


def _check_unasked(question: RangesQuestion, count: int) -> None:
    if count > UNASKED_BYTES_MAX:
        raise NotOfferedError(
            f"read of {question.url} in several ranges failed: the server sends {count} bytes "
            "that were not asked for",
            url=question.url,
        )


class Shares:
    """Hands the bytes of parts on, as far as they were asked for: ``pieces`` takes an extent.

    For each part ``begin``, then its bytes by ``take``; ``release`` in the end.
    """

    def __init__(self, question: RangesQuestion, pieces: Callable[[Extent], Pieces]) -> None:
        self._question = question
        self._asked = ExtentSet(question.extents)
        self._make_pieces = pieces
        self._begun = ExtentSet()
        self._taken = ExtentSet()
        self._parts = 0
        self._unasked_bytes = 0
        self._position = 0
        self._end = 0
        self._due: list[Extent] = []
        self._pieces: Pieces | None = None

    @property
    def taken(self) -> list[Extent]:
        """What the sink has taken."""
        return list(self._taken)

    def begin(self, extent: Extent) -> int:
        """A part comes with the bytes ``extent``; returns how many these are."""
        self._parts += 1
        if self._parts > len(self._question.extents):
            raise self._wrong("it has more parts than ranges were asked for")
        due = self._asked.within(*extent)
        if not due:
            raise self._wrong(f"nothing of its part {extent} was asked for")
        if any(self._begun.within(*one) for one in due):
            raise self._wrong(f"bytes of its part {extent} came before")
        for one in due:
            self._begun.add(*one)
        self._unasked_bytes += extent.length - sum(one.length for one in due)
        _check_unasked(self._question, self._unasked_bytes)
        self._position, self._end = extent
        self._due = due[::-1]
        return extent.length

    def take(self, view: memoryview) -> None:
        """The next bytes of the part; not more than are due."""
        if len(view) > self._end - self._position:
            raise self._wrong("it is longer than it said")
        while len(view):
            if not self._due:
                self._position += len(view)
                return
            due = self._due[-1]
            skipped = min(len(view), max(0, due.start - self._position))
            self._position += skipped
            view = view[skipped:]
            count = min(len(view), due.end - self._position)
            if count:
                self._give(due, view[:count])
                view = view[count:]

    def release(self) -> None:
        """Give the memory back; what had come and was not handed over is handed over no more."""
        pieces, self._pieces = self._pieces, None
        if pieces is not None:
            self._taken.add(pieces.start, pieces.start + pieces.taken_bytes)
            pieces.release()

    def finish(self) -> None:
        """The body broke off or is over: hand over what has come."""
        if self._pieces is not None:
            self._pieces.finish()

    def _give(self, due: Extent, view: memoryview) -> None:
        if self._pieces is None:
            self._pieces = self._make_pieces(due)
        self._pieces.put(view)
        self._position += len(view)
        if self._position == due.end:
            self._due.pop()
            self.release()

    def _wrong(self, why: str) -> RemoteProtocolError:
        return wrong_answer(self._question.as_one, why)
