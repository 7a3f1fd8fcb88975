"""Preconditions of RFC 9110 section 13, as functions from values to values.

Rules:

1. The order is that of 13.2.2: ``If-Match``, else ``If-Unmodified-Since``; then ``If-None-Match``,
   else ``If-Modified-Since`` (for GET and HEAD only); ``If-Range`` is asked last and apart.
2. ``If-Match`` and ``If-Range`` compare strongly, ``If-None-Match`` weakly (8.8.3.2).
3. A date in ``If-Range`` counts only if it is exactly ``Last-Modified`` and old enough that the
   file cannot have changed twice within that second (8.8.2.2).
4. A date that cannot be read is no condition at all (13.1.3).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import formatdate, parsedate_to_datetime
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

_ENTITY_TAG = re.compile(r'[ \t]*((?:W/)?"[\x21\x23-\x7e\x80-\U0010ffff]*")[ \t]*(?:,|\Z)')


class Outcome(Enum):
    """What the preconditions say about a request."""

    PROCEED = "proceed"
    NOT_MODIFIED = "not modified"
    FAILED = "failed"


class Validators(NamedTuple):
    """The validators of the selected representation; ``None`` for one that it does not have."""

    etag: str | None
    last_modified: int | None


class Conditions(NamedTuple):
    """The conditional headers of one request, unparsed; ``None`` for one that is absent."""

    if_match: str | None = None
    if_none_match: str | None = None
    if_modified_since: str | None = None
    if_unmodified_since: str | None = None
    if_range: str | None = None

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> Conditions:
        """The conditions among a request's headers (a case-insensitive mapping)."""
        return cls(
            headers.get("If-Match"),
            headers.get("If-None-Match"),
            headers.get("If-Modified-Since"),
            headers.get("If-Unmodified-Since"),
            headers.get("If-Range"),
        )


def http_date(seconds: float) -> str:
    """A time as an IMF-fixdate (RFC 9110 5.6.7), rounded down."""
    return _http_date(int(seconds))


@lru_cache(maxsize=1024)  # a folder's files often share a few times; "now" is asked all the time
def _http_date(seconds: int) -> str:
    return formatdate(seconds, usegmt=True)


def parse_http_date(text: str | None) -> int | None:
    """Seconds since the epoch, or ``None`` for what is absent or cannot be read."""
    if text is None:
        return None
    try:
        return int(parsedate_to_datetime(text).timestamp())
    except (TypeError, ValueError, OverflowError):
        return None


def entity_tags(header: str) -> tuple[str, ...]:
    """The entity tags of a list; reading stops at what is not an entity tag."""
    tags: list[str] = []
    position = 0
    while match := _ENTITY_TAG.match(header, position):
        tags.append(match[1])
        position = match.end()
        if position == len(header):
            break
    return tuple(tags)


def evaluate(method: str, conditions: Conditions, current: Validators | None) -> Outcome:
    """Evaluate all conditions but ``If-Range`` against the current representation.

    ``current`` is ``None`` where the resource does not exist.
    """
    if conditions.if_match is not None:
        if not _matches(conditions.if_match, current, strong=True):
            return Outcome.FAILED
    elif (since := parse_http_date(conditions.if_unmodified_since)) is not None and (
        current is None or current.last_modified is None or current.last_modified > since
    ):
        return Outcome.FAILED
    safe = method in ("GET", "HEAD")
    if conditions.if_none_match is not None:
        if _matches(conditions.if_none_match, current, strong=False):
            return Outcome.NOT_MODIFIED if safe else Outcome.FAILED
    elif safe and current is not None and current.last_modified is not None:
        since = parse_http_date(conditions.if_modified_since)
        if since is not None and current.last_modified <= since:
            return Outcome.NOT_MODIFIED
    return Outcome.PROCEED


def range_applies(conditions: Conditions, current: Validators, now: float) -> bool:
    """Whether ``If-Range`` lets the ``Range`` header count (RFC 9110 13.1.5)."""
    wanted = conditions.if_range
    if wanted is None:
        return True
    wanted = wanted.strip()
    if wanted.startswith(('"', "W/")):
        return (
            current.etag is not None
            and not current.etag.startswith("W/")
            and wanted == current.etag
        )
    date = parse_http_date(wanted)
    if date is None or current.last_modified is None:
        return False
    return date == current.last_modified and current.last_modified + 1 <= now


def _matches(header: str, current: Validators | None, *, strong: bool) -> bool:
    if header.strip() == "*":
        return current is not None
    if current is None or current.etag is None:
        return False
    tags = entity_tags(header)
    if strong:
        return not current.etag.startswith("W/") and current.etag in tags
    return current.etag.removeprefix("W/") in {tag.removeprefix("W/") for tag in tags}
