"""Preconditions of changes: checked here where the server may not check them, and conflicts named.

A server that is not known to mind preconditions of writes (nginx does not) is asked for the
current version before each attempt: that leaves a race, but a narrow one.  Dates are compared, not
ordered: an older file that is put in place is another version, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netcache.backends.http_fields import http_date_s, shown
from netcache.errors import ConflictError, NotFoundError
from netcache.spi import UNCONDITIONAL, ResourceInfo, UploadCondition

if TYPE_CHECKING:
    from netcache._core.urls import Resource
    from netcache.backends.http_asking import Asking
    from netcache.backends.http_origins import OriginNotes

__all__ = ["Conditions", "conflict"]


class Conditions:
    """What the changing parts of an ``HttpBackend`` ask before and after."""

    def __init__(self, backend: Asking, notes: OriginNotes) -> None:
        self._backend = backend
        self._notes = notes

    async def found(self, resource: Resource, *, want_digest: bool = True) -> ResourceInfo | None:
        """What is at the server now; None when nothing is."""
        try:
            return await self._backend.stat(resource.url, want_digest=want_digest)
        except NotFoundError:
            return None

    async def check_first(
        self, what: str, resource: Resource, condition: UploadCondition, *, size: int | None = None
    ) -> None:
        """Raise ``ConflictError`` unless the condition holds, or the server will check it itself.

        ``size`` is what the resource's size must be.
        """
        if condition == UNCONDITIONAL or self._notes.minds_conditions(resource.origin):
            return
        try:
            info = await self._backend.stat(resource.url)
        except NotFoundError:
            info = None
        if info is None:
            if condition.if_match is not None or condition.unmodified_since is not None:
                raise conflict(what, resource, condition, "it is gone")
            return
        if condition.if_absent:
            raise conflict(what, resource, condition, "it exists")
        if condition.if_match not in (None, "*", info.etag):
            found = "it has no ETag" if info.etag is None else f"its ETag is {shown(info.etag)} now"
            raise conflict(what, resource, condition, found)
        expected_s = http_date_s(condition.unmodified_since)
        if expected_s is not None and info.mtime_s != expected_s:
            raise conflict(what, resource, condition, "it was modified")
        if size is not None and info.size != size:
            raise conflict(what, resource, condition, f"its size is {info.size} now")

    async def still_hold(
        self,
        what: str,
        resource: Resource,
        condition: UploadCondition,
        doubtful: bool,
        *,
        size: int | None = None,
    ) -> bool:
        """``check_first`` before any attempt; False instead of an error when an earlier one may
        have been done: then it is to be found out whether what is there is of that."""
        try:
            await self.check_first(what, resource, condition, size=size)
        except ConflictError:
            if not doubtful:
                raise
            return False
        return True


def conflict(
    what: str, resource: Resource, condition: UploadCondition, found: str
) -> ConflictError:
    """The error for a condition that does not hold; ``found`` says what is there instead."""
    if condition.if_absent:
        why = "it exists already"
    else:
        why = f"it is no longer the version that was expected ({found})"
    return ConflictError(f"{what} of {resource.url} failed: {why}", url=resource.url)
