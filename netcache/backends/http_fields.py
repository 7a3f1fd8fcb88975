"""HTTP field values: parsing and spelling of the few that netcache lives by.  Pure.

Each parser returns None for what is missing or malformed: a field that cannot be read is treated
as one that was not sent.  (``Content-Range`` is the exception that callers make: there a malformed
one is an error of the server.)
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from datetime import date
from functools import lru_cache
from typing import NamedTuple

from netcache._core.coherency import NO_VALIDATOR, Validator, ValidatorKind

__all__ = [
    "DIGEST_FIELDS",
    "ContentRange",
    "Fields",
    "all_of",
    "content_length",
    "content_range",
    "encoding_of",
    "entity_tag",
    "http_date",
    "http_date_s",
    "is_time",
    "mtime_of",
    "retry_after_s",
    "sha256_digest",
    "sha256_field",
    "shown",
    "tells_digests",
    "validator_of",
    "whole_digest",
]

Fields = Mapping[str, str]
"""Header fields; lookups must not mind upper and lower case."""

_ENTITY_TAG = re.compile(r'(W/)?"[\x21\x23-\x7e\x80-\xff]*"')
_CONTENT_RANGE = re.compile(
    r"bytes\s+(?:([0-9]{1,19})-([0-9]{1,19})|(\*))/(?:([0-9]{1,19})|(\*))", re.IGNORECASE
)
_NO_CODINGS = ("", "identity", "chunked")
_SHOWN_MAX = 80
_DATE_CHARACTERS_MAX = 64
_DIGITS = re.compile(r"[0-9]{1,19}")
_MONTHS = "JanFebMarAprMayJunJulAugSepOctNovDec"
_FIXDATE = re.compile(
    r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), ([0-3][0-9]) "
    r"(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) ([12][0-9]{3}) "
    r"([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9]) GMT"
)
_DAY_0 = date(1970, 1, 1).toordinal()
_TIMES_S = ((1 - _DAY_0) * 86400, (date.max.toordinal() + 1 - _DAY_0) * 86400)
# Compiled by the first that meets such a field: each takes as long as importing a module.
_SHA256 = r"(?:^|,)\s*sha-256\s*=\s*:([A-Za-z0-9+/=]*):\s*(?:;[^,]*)?(?=,|$)"
_SHA256_1 = r"(?i)(?:^|,)\s*sha-256=([A-Za-z0-9+/]{43}=)\s*(?=,|$)"
DIGEST_FIELDS = ("Want-Repr-Digest", "Want-Content-Digest", "Repr-Digest", "Content-Digest")
_STRONG_DATE_AGE_S = 1
_SIZE_END = 1 << 62
"""No size reaches it: beyond it, files and rounding to blocks would fail."""


def all_of(fields: Fields, name: str) -> str:
    """A list field, all its lines joined (RFC 9110 5.3); empty when there is none."""
    lines = getattr(fields, "getall", None)
    return ", ".join(lines(name, ())) if lines is not None else fields.get(name, "")


class ContentRange(NamedTuple):
    """A ``Content-Range``: ``start`` and ``end`` (exclusive) are None in ``bytes */N``;
    ``total`` is None in ``bytes A-B/*``."""

    start: int | None
    end: int | None
    total: int | None


def content_range(text: str | None) -> ContentRange | None:
    """Parse a ``Content-Range`` field; None for anything that is not sound by itself."""
    found = _CONTENT_RANGE.fullmatch((text or "").strip())
    if found is None:
        return None
    first, last, unsatisfied, total_text, _ = found.groups()
    total = int(total_text) if total_text is not None else None
    if (total or 0) >= _SIZE_END:
        return None
    if unsatisfied:
        return ContentRange(None, None, total) if total is not None else None
    start, end = int(first), int(last) + 1
    if start >= end or end > _SIZE_END or (total is not None and end > total):
        return None
    return ContentRange(start, end, total)


def shown(text: str) -> str:
    """A server's words as they may stand in a message: short, on one line, without controls."""
    plain = ascii(text)[1:-1]
    return plain if len(plain) <= _SHOWN_MAX else plain[:_SHOWN_MAX] + "..."


def content_length(fields: Fields) -> int | None:
    """The number of body bytes that the head promises; None when it promises none."""
    if fields.get("Transfer-Encoding"):
        return None
    text = (fields.get("Content-Length") or "").strip()
    return int(text) if _DIGITS.fullmatch(text) and int(text) < _SIZE_END else None


def encoding_of(fields: Fields) -> str | None:
    """The content or transfer coding in the way of the bytes, or None when there is none."""
    for name in ("Content-Encoding", "Transfer-Encoding"):
        for coding in all_of(fields, name).split(","):
            if coding.strip().lower() not in _NO_CODINGS:
                return shown(coding.strip())
    return None


def entity_tag(text: str | None) -> Validator | None:
    """The validator that an ``ETag`` field is; None when it is missing or malformed."""
    tag = (text or "").strip()
    found = _ENTITY_TAG.fullmatch(tag)
    if found is None:
        return None
    return Validator(ValidatorKind.WEAK_ETAG if found[1] else ValidatorKind.STRONG_ETAG, tag)


@lru_cache(maxsize=256)
def http_date_s(text: str | None) -> int | None:
    """Seconds since 1970 of an HTTP date in any of its three spellings (RFC 9110 5.6.7)."""
    if not text or len(text) > _DATE_CHARACTERS_MAX or not (text.isascii() and text.isprintable()):
        return None
    if (seconds := _fixdate_s(text)) is not None:
        return seconds
    # Not at the top: it takes longer to import than a question takes, and few write other dates.
    from email.utils import mktime_tz, parsedate_tz

    parsed = parsedate_tz(text)
    if parsed is None:
        return None
    try:
        seconds = int(mktime_tz(parsed))
    except (ValueError, OverflowError):
        return None
    return seconds if is_time(seconds) else None


def _fixdate_s(text: str) -> int | None:
    """A date as all servers of today write it (IMF-fixdate, RFC 9110 5.6.7); None for others."""
    found = _FIXDATE.fullmatch(text)
    if found is None:
        return None
    day, month, year, hour, minute, second = found.groups()
    try:
        days = date(int(year), _MONTHS.index(month) // 3 + 1, int(day)).toordinal() - _DAY_0
    except ValueError:
        return None
    return ((days * 24 + int(hour)) * 60 + int(minute)) * 60 + int(second)


def is_time(seconds: float) -> bool:
    """Whether it lies in the years 1 to 9999: no other time has a spelling as a date."""
    return _TIMES_S[0] <= seconds < _TIMES_S[1]


def http_date(seconds: float) -> str:
    """``seconds`` since 1970 as an HTTP date."""
    from email.utils import formatdate

    return formatdate(int(seconds), usegmt=True)


def mtime_of(fields: Fields) -> int | None:
    """The ``Last-Modified`` of a reply, in seconds."""
    return http_date_s(fields.get("Last-Modified"))


def validator_of(fields: Fields) -> Validator:
    """The best validator of a reply.

    A strong ETag; else a ``Last-Modified`` that is strong because the reply's ``Date`` is at least
    one second later (RFC 9110 8.8.2.2); else a weak ETag; else a weak date.
    """
    tag = entity_tag(fields.get("ETag"))
    if tag is not None and tag.kind is ValidatorKind.STRONG_ETAG:
        return tag
    date_text = (fields.get("Last-Modified") or "").strip()
    modified_s = http_date_s(date_text)
    sent_s = http_date_s(fields.get("Date"))
    if modified_s is None:
        return tag or NO_VALIDATOR
    if sent_s is not None and sent_s - modified_s >= _STRONG_DATE_AGE_S:
        return Validator(ValidatorKind.STRONG_DATE, date_text)
    return tag or Validator(ValidatorKind.WEAK_DATE, date_text)


def retry_after_s(text: str | None, now_s: float) -> float | None:
    """What a ``Retry-After`` asks for: seconds, or a date counted from ``now_s``."""
    value = (text or "").strip()
    if _DIGITS.fullmatch(value):
        return float(value)
    moment_s = http_date_s(value)
    return None if moment_s is None else max(0.0, moment_s - now_s)


def sha256_digest(text: str | None) -> bytes | None:
    """The SHA-256 in a ``Repr-Digest`` or ``Content-Digest`` field (RFC 9530)."""
    found = re.search(_SHA256, text) if text else None
    if found is None:
        return None
    try:
        digest = base64.b64decode(found[1], validate=True)
    except binascii.Error:
        return None
    return digest if len(digest) == 32 else None


def whole_digest(fields: Fields) -> bytes | None:
    """The SHA-256 of the whole resource that a reply tells, whatever part of it the reply bears.

    From ``Repr-Digest`` (RFC 9530), else from ``Digest`` (RFC 3230), which it replaces.
    """
    found = sha256_digest(fields.get("Repr-Digest"))
    if found is None and (older := fields.get("Digest")):
        matched = re.search(_SHA256_1, older)
        found = None if matched is None else base64.b64decode(matched[1])
    return found


def sha256_field(digest: bytes) -> str:
    """A SHA-256 as the value of ``Repr-Digest`` or ``Content-Digest``."""
    return f"sha-256=:{base64.b64encode(digest).decode('ascii')}:"


def tells_digests(fields: Fields) -> bool:
    """Whether a reply shows that its server knows digest fields."""
    return any(fields.get(name) for name in DIGEST_FIELDS)
