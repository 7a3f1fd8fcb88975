"""What has been learnt of each origin.  Pure: it only looks at replies that others asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netcache.backends.http_fields import (
    DIGEST_FIELDS,
    Fields,
    all_of,
    tells_digests,
    whole_digest,
)
from netcache.backends.http_pinning import Pin, lower
from netcache.backends.http_wire import contradicts
from netcache.spi import OriginCapabilities

if TYPE_CHECKING:
    from netcache._core.coherency import Version
    from netcache._core.extent import Extent
    from netcache.backends.http_wire import Head

__all__ = ["OriginNotes"]

REMEMBERED_S = 24 * 3600.0
"""How long a note counts: servers are replaced, and learn."""

_PINS = {pin.value: pin for pin in Pin}
_UNKNOWN = OriginCapabilities()
_PATCH_TYPE = "application/x-sabredav-partialupdate"
_PATCH_FEATURE = "sabredav-partialupdate"
_TELLING = frozenset({"digest", "accept-patch", "dav", *(name.lower() for name in DIGEST_FIELDS)})
_PARTIAL_PUT_FIELD = "X-Accept-Partial-Put"


class OriginNotes:
    """Notes by origin.

    Most of them may be handed to a later backend; not that preconditions of writes are minded, for
    on that rests that nobody's changes are lost.
    """

    def __init__(self) -> None:
        self._pins: dict[str, Pin] = {}
        # When what was recalled of an origin was learnt; what is not in here was learnt now.
        self._recalled_s: dict[str, float] = {}
        self._capabilities: dict[str, OriginCapabilities] = {}
        self._minds_conditions: dict[str, bool] = {}
        self._upload_limits: dict[str, Extent] = {}
        self._has_mkcol: dict[str, bool] = {}
        # The fields of the last reply that told nothing but which program it is from.
        self._dull: dict[str, tuple[str | None, ...]] = {}

    def capabilities(self, origin: str) -> OriginCapabilities:
        """All that is known of ``origin``."""
        return self._capabilities.get(origin, _UNKNOWN)

    def pin(self, origin: str) -> Pin:
        """How reads are pinned there."""
        return self._pins.get(origin, Pin.IF_MATCH)

    def saw_pin_ignored(self, origin: str, pin: Pin, status: int) -> None:
        """A read pinned by ``pin`` was answered with another version."""
        if pin is self.pin(origin):
            self._pins[origin] = lower(pin, status)

    def saw_refused(self, origin: str, expected: Version | None, pin: Pin, head: Head) -> None:
        """The answer to a read was refused: because it is of a version that was excluded?"""
        if (
            expected is not None
            and expected.validator.joins_ranges
            and contradicts(expected.validator, head.fields)
        ):
            self.saw_pin_ignored(origin, pin, head.status)

    def as_document(self, now_s: float) -> dict[str, dict[str, object]]:
        """What is worth remembering, by origin; ``learnt_s`` in seconds since 1970."""
        document: dict[str, dict[str, object]] = {}
        for origin in {*self._capabilities, *self._pins}:
            known = self.capabilities(origin)._asdict()
            facts: dict[str, object] = {
                name: value for name, value in known.items() if value is not None
            }
            if origin in self._pins:
                facts["pin"] = self._pins[origin].value
            if facts:
                document[origin] = facts | {"learnt_s": self._recalled_s.get(origin, now_s)}
        return document

    def recall(self, document: object, now_s: float) -> None:
        """Take over what was remembered not too long ago; nonsense is passed over."""
        for origin, facts in document.items() if isinstance(document, dict) else ():
            if not isinstance(origin, str) or not isinstance(facts, dict):
                continue
            learnt_s = facts.get("learnt_s")
            if not isinstance(learnt_s, int | float) or not 0 <= now_s - learnt_s <= REMEMBERED_S:
                # Only an upload can tell this anew, and without it a tree may have none to make.
                if facts.get("keeps_mtime") is True:
                    self._capabilities[origin] = OriginCapabilities(keeps_mtime=True)
                continue
            flags = {
                name: facts[name]
                for name in OriginCapabilities._fields
                if isinstance(facts.get(name), bool)
            }
            # A server that has taken its place would take a part of an upload for all of it.
            for name in ("resumable", "partial_put"):
                if flags.get(name):
                    del flags[name]
            self._capabilities[origin] = OriginCapabilities(**flags)
            if facts.get("pin") in _PINS:
                self._pins[origin] = _PINS[facts["pin"]]
            self._recalled_s[origin] = learnt_s
        self._dull.clear()

    def saw_reply(self, origin: str, fields: Fields) -> None:
        """Learn from the head of any reply."""
        shape = (*fields, fields.get("Server"))
        if self._dull.get(origin) == shape:
            return
        if not any(name.lower() in _TELLING for name in fields):
            self._dull[origin] = shape
        known = self.capabilities(origin)
        if known.digests is None and tells_digests(fields):
            known = known._replace(digests=True)
        if known.whole_digests is None and whole_digest(fields) is not None:
            known = known._replace(whole_digests=True)
        if known.patch is None and (
            _PATCH_TYPE in all_of(fields, "Accept-Patch") or _PATCH_FEATURE in all_of(fields, "DAV")
        ):
            known = known._replace(patch=True)
        program = fields.get("Server", "").lower()
        if known.upload_versions is None and program.startswith("nginx"):
            # Its own uploads are answered without a validator.  Another server behind it may do
            # better: the reply to the first upload shows that.
            known = known._replace(upload_versions=False)
        self._capabilities[origin] = known
        if origin not in self._minds_conditions and program.startswith("netcache"):
            self._minds_conditions[origin] = True

    def saw_options(self, origin: str, fields: Fields) -> None:
        """An answer to ``OPTIONS``: what it does not announce is not offered."""
        from netcache.backends.http_resumable import upload_limit

        self.saw_reply(origin, fields)
        known = self.capabilities(origin)
        partial_put = fields.get(_PARTIAL_PUT_FIELD, "").strip().lower() == "bytes"
        limit = upload_limit(fields)
        if limit is not None:
            self._upload_limits[origin] = limit
        self._capabilities[origin] = known._replace(
            patch=bool(known.patch), partial_put=partial_put, resumable=limit is not None
        )

    def resumable_sizes(self, origin: str) -> Extent | None:
        """How large resumable uploads may be there; None where there are none."""
        known = self.capabilities(origin).resumable
        return self._upload_limits.get(origin) if known else None

    def saw_not_resumable(self, origin: str) -> None:
        """A resumable upload was refused as such."""
        self._capabilities[origin] = self.capabilities(origin)._replace(resumable=False)

    def saw_no_patch(self, origin: str) -> None:
        """A ``PATCH`` was refused as such."""
        self._capabilities[origin] = self.capabilities(origin)._replace(patch=False)

    def saw_no_partial_put(self, origin: str) -> None:
        """A ``PUT`` with ``Content-Range`` was refused as such."""
        self._capabilities[origin] = self.capabilities(origin)._replace(partial_put=False)

    def saw_ranges(self, origin: str, supported: bool | None) -> None:
        """A reply showed whether ranges work there."""
        if supported is not None:
            known = self.capabilities(origin)
            self._capabilities[origin] = known._replace(ranges=supported)

    def saw_multi_ranges(self, origin: str, works: bool) -> None:
        """A reply showed whether several ranges can be had at once there."""
        self._capabilities[origin] = self.capabilities(origin)._replace(multi_ranges=works)

    def saw_mtime(self, origin: str, kept: bool) -> None:
        """The reply to an upload with a time told whether it is kept."""
        self._capabilities[origin] = self.capabilities(origin)._replace(keeps_mtime=kept)

    def saw_upload(self, origin: str, proven: bool) -> None:
        """An upload was stored; ``proven``: the reply bore a validator that joins ranges."""
        self._capabilities[origin] = self.capabilities(origin)._replace(upload_versions=proven)

    def saw_no_digest(self, origin: str) -> None:
        """A digest was asked for, and a good reply bore none."""
        known = self.capabilities(origin)
        if known.digests is None:
            self._capabilities[origin] = known._replace(digests=False)

    def saw_whole_digest(self, origin: str, told: bool) -> None:
        """The digest of a whole was asked for, and a good reply bore it or not.

        It says nothing of uploads: there are servers that tell it in the one reply only.
        """
        self._capabilities[origin] = self.capabilities(origin)._replace(whole_digests=told)

    def saw_condition_minded(self, origin: str) -> None:
        """A write was refused because of its precondition."""
        self._minds_conditions[origin] = True

    def minds_conditions(self, origin: str) -> bool:
        """Whether the origin is known to mind preconditions of writes (nginx does not)."""
        return self._minds_conditions.get(origin, False)

    def saw_mkcol(self, origin: str, works: bool) -> None:
        """An attempt showed whether ``MKCOL`` works there."""
        self._has_mkcol[origin] = works

    def has_mkcol(self, origin: str) -> bool:
        """Whether it is worth trying ``MKCOL``."""
        return self._has_mkcol.get(origin, True)
