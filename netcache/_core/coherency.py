"""Validators and versions: what proves that two bytes belong to the same state of a resource.

A validator *joins ranges* when two responses that bear it may be combined into one object
(RFC 9110 13.1.5 and 15.3.7): a strong ETag does, and a ``Last-Modified`` that is strong by
RFC 9110 8.8.2.2 (the response's ``Date`` at least one second later).  Anything weaker can only
tell whether a *whole* stored body is still current, and none at all cannot even do that.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class ValidatorKind(IntEnum):
    """How strong a validator is.  Saved on disk: never renumber."""

    NONE = 0
    STRONG_ETAG = 1
    STRONG_DATE = 2
    WEAK_ETAG = 3
    WEAK_DATE = 4


class Validator(NamedTuple):
    """A validator as the server spelled it.

    ``value`` is the field value: ``"abc"`` with its quotes, ``W/"abc"``, or an HTTP date; empty
    for ``NONE``.
    """

    kind: ValidatorKind
    value: str

    @property
    def joins_ranges(self) -> bool:
        """Whether responses that bear it may be combined (RFC 9110 15.3.7)."""
        return self.kind in (ValidatorKind.STRONG_ETAG, ValidatorKind.STRONG_DATE)

    @property
    def is_etag(self) -> bool:
        """Whether it is an entity tag, strong or weak."""
        return self.kind in (ValidatorKind.STRONG_ETAG, ValidatorKind.WEAK_ETAG)

    @property
    def etag(self) -> str | None:
        """The entity tag as spelled, or None when the validator is none."""
        return self.value if self.is_etag else None


NO_VALIDATOR = Validator(ValidatorKind.NONE, "")


class Version(NamedTuple):
    """One state of a resource: its validator, its size in bytes, its time of modification.

    ``mtime_s`` (seconds since 1970, whole) is for show and for trees; it takes no part in
    comparisons unless it is the validator.
    """

    validator: Validator
    size: int
    mtime_s: int | None = None

    def same_as(self, other: Version) -> bool:
        """Whether both surely are the same state.  Without a validator nothing is sure."""
        if self.validator.kind is ValidatorKind.NONE:
            return False
        if self.size != other.size:
            return False
        if self.validator.is_etag or other.validator.is_etag:
            return self.validator == other.validator
        # A date may be called weak in one response and strong in a later one.
        return bool(self.validator.value) and self.validator.value == other.validator.value
