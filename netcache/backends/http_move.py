"""MOVE (RFC 4918 9.9): another name for a file or a folder, in one step at the server.

Rules:

1. What stands at the new name is looked at first: servers are free to delete a whole folder there.
2. A second attempt is pinned to the version that was found at first, so that it can move nothing
   that has come to the old name in between: by a strong tag, else by its date.
3. After an attempt whose outcome is not known, an old name that is gone is compared: what was
   there must be at the new one.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Literal

from netcache._core.retry import Retries
from netcache._core.urls import Resource, as_file, as_folder
from netcache.backends.http_conditions import Conditions, conflict
from netcache.backends.http_fields import http_date
from netcache.backends.http_origins import OriginNotes
from netcache.backends.http_refusals import refusal
from netcache.backends.http_session import Exchange, HttpSession
from netcache.backends.http_wire import condition_headers
from netcache.backends.http_write import Writer, parent_of
from netcache.backends.names import check_new_name
from netcache.errors import (
    AccessDeniedError,
    ConflictError,
    NotFoundError,
    NotOfferedError,
    RemoteError,
    TransientError,
)
from netcache.spi import UNCONDITIONAL, ResourceInfo, UploadCondition

if TYPE_CHECKING:
    from netcache.backends.http_asking import Asking

__all__ = ["Mover"]

_MOVED = (200, 201, 204)
_REFUSED_AS_SUCH = (405, 501)
_ELSEWHERE_NOW = (404, 410, 412)
_SOME_FAILED = 207
_PARENT_LACKING = (404, 409, 500)
"""How servers say that the folder of the new name is missing: nginx by 404 or 500."""


class Mover:
    """The part of an ``HttpBackend`` that gives new names."""

    def __init__(
        self, backend: Asking, session: HttpSession, notes: OriginNotes, writer: Writer
    ) -> None:
        self._backend = backend
        self._session = session
        self._notes = notes
        self._writer = writer
        self._conditions = Conditions(backend, notes)

    async def move(
        self, source: Resource, target: Resource, condition: UploadCondition, overwrite: bool
    ) -> Literal["file", "directory"]:
        """Give ``source`` the name ``target``; see the port."""
        check_new_name(source, target)
        before = await self._backend.stat(source.url)
        assert before is not None
        spelled = as_folder if before.type == "directory" else as_file
        source, target = spelled(source), spelled(target)
        await self._conditions.check_first("move", source, condition)
        await self._check_place(before, target, overwrite)
        retries = Retries(self._backend.retry)
        made_parents = False
        while True:
            doubtful = retries.failed_count > 0
            if doubtful:
                condition = condition if condition != UNCONDITIONAL else _pin_to(before)
                if not await self._conditions.still_hold("move", source, condition, True):
                    return await self._check_arrived(before, source, target, condition)
            try:
                exchange = await self._send(source, target, condition, overwrite)
                status = exchange.head.status
                if status in _MOVED:
                    return before.type
                if doubtful and status in _ELSEWHERE_NOW and await self._arrived(before, target):
                    return before.type
                if (
                    status in _PARENT_LACKING
                    and not made_parents
                    and await self._lacks_parent(target)
                ):
                    made_parents = True
                    await self._writer.make_folder(parent_of(target))
                    continue
                raise self._refused(source, target, condition, overwrite, exchange)
            except TransientError as error:
                pause_s = retries.pause_s(error)
            await asyncio.sleep(pause_s)

    async def _check_place(self, before: ResourceInfo, target: Resource, overwrite: bool) -> None:
        there = await self._conditions.found(target, want_digest=False)
        if there is None and target.is_folder:
            there = await self._conditions.found(as_file(target), want_digest=False)
        if there is None:
            return
        if there.type == "directory" or before.type == "directory":
            kind = "a folder" if there.type == "directory" else "a file"
            raise _in_the_way(target, f"{kind} stands there")
        if not overwrite:
            raise _in_the_way(target, "it exists already")

    async def _send(
        self,
        source: Resource,
        target: Resource,
        condition: UploadCondition,
        overwrite: bool,
    ) -> Exchange:
        headers = condition_headers(condition)
        headers["Destination"] = target.url
        headers["Overwrite"] = "T" if overwrite else "F"
        exchange = await self._session.ask("MOVE", source, headers, what="move")
        self._notes.saw_reply(source.origin, exchange.head.fields)
        await exchange.drop()
        return exchange

    async def _lacks_parent(self, target: Resource) -> bool:
        try:
            return await self._conditions.found(parent_of(target), want_digest=False) is None
        except AccessDeniedError:
            return False

    async def _arrived(self, before: ResourceInfo, target: Resource) -> bool:
        """Whether the old name is gone and what was there is at the new one."""
        try:
            await self._backend.stat(before.url)
        except NotFoundError:
            pass
        else:
            return False
        there = await self._conditions.found(target, want_digest=False)
        if there is None or there.type != before.type:
            return False
        if there.type == "directory":
            return True
        kept = there.etag is not None and there.etag == before.etag
        # Some servers make tags of names; a time is not made anew by a move.
        kept = kept or (there.mtime_s is not None and there.mtime_s == before.mtime_s)
        return kept and there.size == before.size

    async def _check_arrived(
        self, before: ResourceInfo, source: Resource, target: Resource, condition: UploadCondition
    ) -> Literal["file", "directory"]:
        """The old name is not what it was: a conflict, unless an earlier attempt was done."""
        if await self._arrived(before, target):
            return before.type
        await self._backend.stat(source.url)
        raise conflict("move", source, condition, "another is there now")

    def _refused(
        self,
        source: Resource,
        target: Resource,
        condition: UploadCondition,
        overwrite: bool,
        exchange: Exchange,
    ) -> Exception:
        status = exchange.head.status
        if status in _REFUSED_AS_SUCH:
            return NotOfferedError(
                f"move of {source.url} failed: the server gives no new names (status {status})",
                url=source.url,
            )
        if status == 412:
            if condition == UNCONDITIONAL:
                return _in_the_way(target, "something has just come there")
            if not overwrite:
                # nginx minds this and no condition.
                return _in_the_way(target, "something has just come there, or the file was changed")
            self._notes.saw_condition_minded(source.origin)
            return conflict("move", source, condition, "the server says so")
        if status == _SOME_FAILED:
            return RemoteError(
                f"move of {source.url} failed: some of what lies in it stayed", url=source.url
            )
        return refusal("move", source.url, exchange.head, time.time())


def _pin_to(before: ResourceInfo) -> UploadCondition:
    """The condition that it still is what was found; a weak tag never satisfies ``If-Match``."""
    if before.etag is not None and before.etag.startswith('"'):
        return UploadCondition(if_match=before.etag)
    if before.type == "file" and before.mtime_s is not None:
        return UploadCondition(unmodified_since=http_date(before.mtime_s))
    return UNCONDITIONAL


def _in_the_way(target: Resource, why: str) -> ConflictError:
    return ConflictError(f"move to {target.url} failed: {why}", url=target.url)
