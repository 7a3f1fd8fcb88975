"""Signs: what tells the answers of requests on one connection apart.  Pure.

Answers have no names; they come in the order of their requests (RFC 9112 9.3.2).  Servers and
proxies are known that send them in another one: Amazon S3 once did (Ubuntu bug 948461),
twisted.web (issue 11976) and others do.  So a request goes behind another only when what a listing
or the cache says of both files tells their answers apart, and then each answer has to show it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from netcache._core.coherency import Validator, Version
    from netcache.backends.http_plain import PlainAnswer

__all__ = ["Kind", "Sign"]

Kind = tuple[bool, bool, bool]
"""Of what a sign consists."""


class Sign(NamedTuple):
    """What an answer shows when it is the right one: a tag, or a size and perhaps a time.

    ``etag`` and ``modified`` are as they stand in a field, ``size`` is in bytes; None where it is
    only asked whether the tag is still current.
    """

    etag: str | None
    size: int | None
    modified: str | None

    @classmethod
    def of(cls, version: Version | None) -> Sign | None:
        """The sign of a version that a listing tells of."""
        if version is None or not version.validator.value:
            return None
        value = version.validator.value
        if version.validator.is_etag:
            return cls(value, version.size, None)
        return cls(None, version.size, value)

    @classmethod
    def of_check(cls, validator: Validator) -> Sign | None:
        """The sign of the answer that a version is still current (RFC 9110 15.4.5)."""
        return cls(validator.value, None, None) if validator.is_etag else None

    def without_time(self) -> Sign:
        """The same without the time, which not every listing tells to the second."""
        return Sign(self.etag, self.size, None) if self.modified is not None else self

    @property
    def kind(self) -> Kind:
        """Signs of one kind that differ exclude each other."""
        return self.etag is None, self.size is None, self.modified is None

    def is_on(self, answer: PlainAnswer) -> bool:
        """Whether the answer is a good one, and shows the sign."""
        if answer.status != 200 and not (answer.status == 304 and self.size is None):
            return False
        told = {name.lower(): value for name, value in answer.fields}
        if self.etag is not None and told.get("etag") != self.etag:
            return False
        if self.modified is not None and told.get("last-modified") != self.modified:
            return False
        return self.size is None or told.get("content-length") == str(self.size)

    def has_time_of(self, answer: PlainAnswer) -> bool:
        """Whether the answer shows the time, and there is one."""
        told = next((text for name, text in answer.fields if name.lower() == "last-modified"), None)
        return told is not None and told == self.modified
