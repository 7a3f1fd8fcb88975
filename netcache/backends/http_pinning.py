"""How a read is pinned to a version: a ladder, from what costs least to what always works.  Pure.

Whatever the rung, the reply is compared with the version.  A rung only says what the server is
asked to do about a change:

1. ``If-Match`` (``If-Unmodified-Since`` for a date): a change is a 412 without a body.
2. ``If-Range``, for servers that ignore the first: a change is a 200 with the whole.
3. Nothing, for servers that ignore both: a change is a 206 of another version, and is thrown away.

A server goes down the ladder when it sends a version that the question excluded.
"""

from __future__ import annotations

from enum import Enum

from netcache._core.coherency import Validator, ValidatorKind

__all__ = ["Pin", "lower", "pin_headers"]


class Pin(Enum):
    """A rung; the values are saved in the cache directory."""

    IF_MATCH = "if-match"
    IF_RANGE = "if-range"
    COMPARE = "compare"


def pin_headers(validator: Validator, pin: Pin, *, ranged: bool) -> dict[str, str]:
    """The fields that ask for the version of ``validator`` and no other."""
    if not validator.joins_ranges or pin is Pin.COMPARE:
        return {}
    if pin is Pin.IF_RANGE:
        return {"If-Range": validator.value} if ranged else {}
    etag = validator.kind is ValidatorKind.STRONG_ETAG
    return {"If-Match" if etag else "If-Unmodified-Since": validator.value}


def lower(pin: Pin, status: int) -> Pin:
    """The rung for a server that answered ``status`` with a version that ``pin`` excluded."""
    if pin is Pin.IF_MATCH and status in (200, 206):
        return Pin.IF_RANGE
    return Pin.COMPARE if status == 206 else pin
