"""The wire rules of HTTP: requests from questions, answers from reply heads.  Pure.

Rules:

1. A pinned read is sent conditionally *and* its reply is compared: servers that ignore
   ``If-Match`` are common.  ``If-Match`` and ``If-Unmodified-Since`` are used rather than
   ``If-Range``: a change then costs a 412 without a body, and the 206 must bear its validators
   (after ``If-Range`` it need not, RFC 9110 15.3.7).
2. Every 206 is checked: start, end, total, length, validator.  Bytes are never taken from a reply
   that contradicts the question.
3. Bytes are identical to the resource's or they are refused: no content coding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from netcache._core.coherency import NO_VALIDATOR, Validator, Version
from netcache._core.extent import Extent
from netcache.backends.http_fields import (
    ContentRange,
    Fields,
    content_length,
    content_range,
    encoding_of,
    entity_tag,
    mtime_of,
    shown,
    validator_of,
)
from netcache.backends.http_pinning import Pin, pin_headers
from netcache.errors import RemoteProtocolError, StaleError

if TYPE_CHECKING:
    from netcache.spi import UploadCondition

__all__ = [
    "WANT_DIGEST",
    "Head",
    "ReadHead",
    "ReadQuestion",
    "check_coding",
    "check_expected",
    "condition_headers",
    "contradicts",
    "is_folder_page",
    "read_head",
    "read_headers",
    "stale_answer",
    "unless_headers",
    "whole_version",
    "wrong_answer",
]

WANT_DIGEST = {"Want-Repr-Digest": "sha-256=10"}
"""Asks for the digest of the whole (RFC 9530)."""

_FOLDER_PAGE_TYPES = ("text/html", "application/json", "application/xhtml+xml")


class Head(NamedTuple):
    """The head of a reply; ``url`` is what was asked for in the end, after redirects."""

    status: int
    fields: Fields
    url: str


class ReadQuestion(NamedTuple):
    """What an ``open_read`` asks; see the port for the meaning of each."""

    url: str
    extent: Extent | None
    expected: Version | None
    unless: Validator | None
    pin: Pin = Pin.IF_MATCH

    @property
    def ranged(self) -> bool:
        """Whether a ``Range`` is sent: from 0 to the end is the same without."""
        return self.extent is not None and self.extent != (0, -1)

    def __str__(self) -> str:
        if not self.ranged or self.extent is None:
            return self.url
        end = self.extent.end if self.extent.end >= 0 else "end"
        return f"{self.url} [{self.extent.start}, {end})"


class ReadHead(NamedTuple):
    """What the head of a reply to a ``ReadQuestion`` says; the fields are those of the port."""

    not_modified: bool
    version: Version | None
    extent: Extent
    whole: bool
    ranges_supported: bool | None


def read_headers(question: ReadQuestion) -> dict[str, str]:
    """The request header fields of a read."""
    headers: dict[str, str] = {}
    if question.ranged and question.extent is not None:
        start, end = question.extent
        headers["Range"] = f"bytes={start}-{end - 1 if end >= 0 else ''}"
    if question.unless is not None:
        headers |= unless_headers(question.unless)
    if question.expected is not None:
        headers |= pin_headers(question.expected.validator, question.pin, ranged=question.ranged)
    return headers


def unless_headers(validator: Validator) -> dict[str, str]:
    """The fields that ask for nothing while ``validator`` is current."""
    if not validator.value:
        return {}
    return {"If-None-Match" if validator.is_etag else "If-Modified-Since": validator.value}


def condition_headers(condition: UploadCondition) -> dict[str, str]:
    """The fields of an upload's or deletion's condition."""
    headers: dict[str, str] = {}
    if condition.if_match is not None:
        headers["If-Match"] = condition.if_match
    if condition.if_absent:
        headers["If-None-Match"] = "*"
    if condition.unmodified_since is not None:
        headers["If-Unmodified-Since"] = condition.unmodified_since
    return headers


def read_head(question: ReadQuestion, head: Head) -> ReadHead:
    """Judge the head of a reply that is 200, 206, 304, 412 or 416.

    Raises ``StaleError`` when it is of another version than expected, and
    ``RemoteProtocolError`` when it does not answer the question.
    """
    match head.status:
        case 200:
            return _whole(question, head)
        case 206:
            return _partial(question, head)
        case 304 if question.unless is not None:
            return ReadHead(True, None, Extent(0, 0), False, None)
        case 412 if question.expected is not None:
            raise stale_answer(question, "the server has another version now")
        case 416 if question.ranged:
            return _past_the_end(question, head)
    raise wrong_answer(question, f"status {head.status} does not answer the question")


def whole_version(fields: Fields, size: int | None) -> Version | None:
    """The version of a reply that speaks of the whole resource; None without a size."""
    if size is None:
        return None
    return Version(validator_of(fields), size, mtime_of(fields))


def contradicts(validator: Validator, fields: Fields) -> bool:
    """Whether a reply bears another validator of the same kind; one that is missing does not."""
    if validator.is_etag:
        tag = entity_tag(fields.get("ETag"))
        return tag is not None and _opaque(tag.value) != _opaque(validator.value)
    date = (fields.get("Last-Modified") or "").strip()
    return bool(date) and bool(validator.value) and date != validator.value


def is_folder_page(url_path: str, fields: Fields) -> bool:
    """Whether a reply looks like the page of a folder: its path ends with a slash, and it is a
    document that lists rather than data."""
    kind = (fields.get("Content-Type") or "text/html").partition(";")[0].strip().lower()
    return url_path.endswith("/") and kind in _FOLDER_PAGE_TYPES


def _whole(question: ReadQuestion, head: Head) -> ReadHead:
    check_coding(question, head)
    size = content_length(head.fields)
    check_expected(question, head, size)
    version = _version(question, head, size)
    ranges = None
    if question.ranged and question.extent is not None:
        start, end = question.extent
        covers_all = start == 0 and size is not None and end >= size
        # Go's server, among others, answers 200 to a range that covers everything.
        ranges = None if covers_all else False
    elif (head.fields.get("Accept-Ranges") or "").strip().lower() == "none":
        ranges = False
    return ReadHead(False, version, Extent(0, -1 if size is None else size), True, ranges)


def _partial(question: ReadQuestion, head: Head) -> ReadHead:
    if not question.ranged or question.extent is None:
        raise wrong_answer(question, "a partial reply (206) to a question for everything")
    check_coding(question, head)
    text = head.fields.get("Content-Range")
    if text is None and "multipart/" in (head.fields.get("Content-Type") or "").lower():
        raise wrong_answer(question, "a reply of several parts to a question for one range")
    found = content_range(text)
    if found is None or found.start is None or found.end is None:
        raise wrong_answer(question, f"a partial reply (206) with Content-Range {text!r}")
    _check_place(question, question.extent, found)
    length = content_length(head.fields)
    if length is not None and length != found.end - found.start:
        raise wrong_answer(question, f"Content-Range {text!r} with a body of {length} bytes")
    check_expected(question, head, found.total)
    version = _version(question, head, found.total)
    return ReadHead(False, version, Extent(found.start, found.end), False, True)


def _check_place(question: ReadQuestion, asked: Extent, found: ContentRange) -> None:
    """A reply may stop early (a server's own limit); it must not begin or end elsewhere."""
    assert found.end is not None
    if found.start != asked.start:
        raise wrong_answer(question, f"the server sent bytes from {found.start} on")
    if asked.end >= 0 and found.end > asked.end:
        raise wrong_answer(question, f"the server sent bytes up to {found.end}")


def _version(question: ReadQuestion, head: Head, size: int | None) -> Version | None:
    """The version of a reply that has been checked against the expected one."""
    expected = question.expected
    if expected is not None and expected.validator.value and expected.size >= 0:
        return expected
    return whole_version(head.fields, size)


def _past_the_end(question: ReadQuestion, head: Head) -> ReadHead:
    assert question.extent is not None
    start = question.extent.start
    found = content_range(head.fields.get("Content-Range"))
    total = found.total if found is not None and found.start is None else None
    expected = question.expected
    if total is not None and total > start:
        raise wrong_answer(question, f"416 though the resource has {total} bytes")
    if expected is not None:
        if start < expected.size:
            raise stale_answer(question, f"nothing is at {start} any more")
        if total is not None and total != expected.size:
            raise stale_answer(question, f"its size is {total} now, not {expected.size}")
        if contradicts(expected.validator, head.fields):
            raise stale_answer(question, "the server has another version now")
        return ReadHead(False, expected, Extent(start, start), False, None)
    # The validators of a 416 need not be the resource's: the reply may be about itself.
    version = None if total is None else Version(NO_VALIDATOR, total)
    if total is not None and entity_tag(head.fields.get("ETag")) is not None:
        version = whole_version(head.fields, total)
    return ReadHead(False, version, Extent(start, start), False, None)


def check_coding(question: ReadQuestion, head: Head) -> None:
    """Raise ``RemoteProtocolError`` when the bytes are not sent as they are, or as so many that
    nobody can count them."""
    coding = encoding_of(head.fields)
    if coding is not None:
        raise wrong_answer(
            question, f"the server encodes the bytes ({coding}) though identity was asked for"
        )
    length = (head.fields.get("Content-Length") or "").strip()
    if length and content_length(head.fields) is None:
        raise wrong_answer(question, f"its length cannot be ({shown(length)})")


def check_expected(question: ReadQuestion, head: Head, size: int | None) -> None:
    """Compare a reply with the pinned version, whatever the server made of our condition."""
    expected = question.expected
    if expected is None:
        return
    if size is not None and expected.size >= 0 and size != expected.size:
        raise stale_answer(question, f"its size is {size} now, not {expected.size}")
    validator = expected.validator
    if not validator.value:
        return
    name = "ETag" if validator.is_etag else "Last-Modified"
    told = (head.fields.get(name) or "").strip()
    if not told:
        raise wrong_answer(question, f"the reply bears no {name}, so its version cannot be told")
    if told != validator.value:
        raise stale_answer(
            question, f"its {name} is {shown(told)} now, not {shown(validator.value)}"
        )


def _opaque(tag: str) -> str:
    return tag.removeprefix("W/")


def stale_answer(question: ReadQuestion, why: str) -> StaleError:
    """The error for an answer of another version than expected."""
    return StaleError(f"read of {question} failed: it changed: {why}", url=question.url)


def wrong_answer(question: ReadQuestion, why: str) -> RemoteProtocolError:
    """The error for an answer that does not fit the question."""
    return RemoteProtocolError(
        f"read of {question} failed: wrong answer from the server: {why}", url=question.url
    )
