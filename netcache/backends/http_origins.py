"""What has been learnt of each origin.  Pure: it only looks at replies that others asked for."""

from __future__ import annotations

from netcache.backends.http_fields import Fields, all_of, tells_digests
from netcache.spi import OriginCapabilities

__all__ = ["OriginNotes"]

_UNKNOWN = OriginCapabilities()
_PATCH_TYPE = "application/x-sabredav-partialupdate"
_PATCH_FEATURE = "sabredav-partialupdate"
_PARTIAL_PUT_FIELD = "X-Accept-Partial-Put"


class OriginNotes:
    """Notes by origin; they live as long as the backend."""

    def __init__(self) -> None:
        self._capabilities: dict[str, OriginCapabilities] = {}
        self._minds_conditions: dict[str, bool] = {}
        self._has_mkcol: dict[str, bool] = {}

    def capabilities(self, origin: str) -> OriginCapabilities:
        """All that is known of ``origin``."""
        return self._capabilities.get(origin, _UNKNOWN)

    def saw_reply(self, origin: str, fields: Fields) -> None:
        """Learn from the head of any reply."""
        known = self.capabilities(origin)
        if known.digests is None and tells_digests(fields):
            known = known._replace(digests=True)
        if known.patch is None and (
            _PATCH_TYPE in all_of(fields, "Accept-Patch") or _PATCH_FEATURE in all_of(fields, "DAV")
        ):
            known = known._replace(patch=True)
        self._capabilities[origin] = known
        if origin not in self._minds_conditions:
            program = fields.get("Server", "").lower()
            if program.startswith("netcache"):
                self._minds_conditions[origin] = True

    def saw_options(self, origin: str, fields: Fields) -> None:
        """An answer to ``OPTIONS``: what it does not announce is not offered."""
        self.saw_reply(origin, fields)
        known = self.capabilities(origin)
        partial_put = fields.get(_PARTIAL_PUT_FIELD, "").strip().lower() == "bytes"
        self._capabilities[origin] = known._replace(
            patch=bool(known.patch), partial_put=partial_put
        )

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

    def saw_no_digest(self, origin: str) -> None:
        """A digest was asked for, and a good reply bore none."""
        known = self.capabilities(origin)
        if known.digests is None:
            self._capabilities[origin] = known._replace(digests=False)

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
