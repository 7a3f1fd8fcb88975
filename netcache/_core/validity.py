"""When a cached version has to be checked at the server: the ``validate`` policy.

``open``: at each open (close-to-open consistency, the default); ``always``: at each read;
``never``: not at all (immutable data); a number of seconds: at an open when the last check is
older than that.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from netcache._core.units import parse_duration
from netcache.errors import UsageError


class Moment(Enum):
    """What asks whether a check is due.

    ``LISTED`` is an open in a tree: a fresh listing has just told what the server has, so what is
    cached is no answer where the server gives none.
    """

    OPEN = "open"
    LISTED = "listed"
    READ = "read"


class ValidityPolicy(NamedTuple):
    """``at_open`` and ``at_read``: whether that moment asks for a check at all;
    ``max_age_s``: a check younger than this still counts."""

    at_open: bool
    at_read: bool
    max_age_s: float

    def asks(self, moment: Moment) -> bool:
        """Whether that moment asks for a check at all."""
        return self.at_read if moment is Moment.READ else self.at_open

    def check_due(self, moment: Moment, *, checked_s: float, now_s: float) -> bool:
        """Whether a version last found current at ``checked_s`` must be checked at ``now_s``.

        A check in the future (the clock was set back) does not count.
        """
        if not self.asks(moment):
            return False
        return not (self.max_age_s and 0 <= now_s - checked_s < self.max_age_s)


_NAMED = {
    "open": ValidityPolicy(True, False, 0.0),
    "always": ValidityPolicy(True, True, 0.0),
    "never": ValidityPolicy(False, False, 0.0),
}


def parse_validity(value: str | float) -> ValidityPolicy:
    """The policy that ``value`` names; ``UsageError`` when it names none."""
    if isinstance(value, str) and value in _NAMED:
        return _NAMED[value]
    try:
        seconds = parse_duration(value) if isinstance(value, str) else float(value)
    except ValueError as error:
        raise UsageError(
            f"not a validate policy: {value!r} (open, always, never, or a time such as 5m)"
        ) from error
    if not seconds >= 0:
        raise UsageError(f"not a validate policy: {value!r} (a time cannot be negative)")
    return ValidityPolicy(True, False, seconds)


ANY_AGE = float("inf")


def parse_stale(value: str | float | None) -> float | None:
    """The ``stale_if_error`` policy: how long ago (seconds) a version may have been found current
    to be shown though the server fails; None for not at all.  ``UsageError`` when it is none."""
    if value is None or value is False or value == "never":
        return None
    if value is True or value == "always":
        return ANY_AGE
    try:
        seconds = parse_duration(value) if isinstance(value, str) else float(value)
    except ValueError as error:
        raise UsageError(
            f"not a stale_if_error policy: {value!r} (never, always, or a time such as 1h)"
        ) from error
    if not seconds >= 0:
        raise UsageError(f"not a stale_if_error policy: {value!r} (a time cannot be negative)")
    return seconds


def may_be_stale(stale_s: float | None, *, checked_s: float, now_s: float) -> bool:
    """Whether a version found current at ``checked_s`` may be shown at ``now_s`` without a check.

    A check in the future (the clock was set back) does not count, where there is an age at all.
    """
    if stale_s is None:
        return False
    return stale_s == ANY_AGE or 0 <= now_s - checked_s <= stale_s
