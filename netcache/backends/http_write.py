"""Changes at the server: uploads, deletions, folders; with retries whose outcome is known.

Rules:

1. A body is sent again only when it can be replayed, or when nothing of it was read yet.
2. After an attempt whose outcome is not known, a failed precondition is no conflict yet
   (``http_outcomes``).
3. A server that is not known to mind preconditions of writes (nginx does not) is asked for the
   current version before each attempt: that leaves a race, but a narrow one.
4. Where the server keeps what has arrived of an upload, a large file goes that way
   (``http_resuming``); whatever does not work there goes as a plain ``PUT``.
5. A folder that its listing does not show to be empty is never deleted (WebDAV servers would delete
   all of it); what an index hides is not seen (``docs/semantics.md``, Trees).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

from netcache._core.retry import Retries
from netcache._core.urls import Resource, as_file, as_folder, parse
from netcache.backends.http_conditions import Conditions, conflict
from netcache.backends.http_refusals import refusal
from netcache.backends.http_sender import BodySender
from netcache.backends.http_upload import send_once, stored_version
from netcache.backends.http_wire import condition_headers
from netcache.errors import (
    AccessDeniedError,
    RemoteError,
    RemoteProtocolError,
    TransientError,
)
from netcache.spi import FolderListing, UploadBody, UploadCondition, UploadReply

if TYPE_CHECKING:
    from netcache.backends.http_asking import Asking
    from netcache.backends.http_origins import OriginNotes
    from netcache.backends.http_outcomes import Outcomes
    from netcache.backends.http_questions import OriginQuestions
    from netcache.backends.http_resuming import Resumer
    from netcache.backends.http_session import Exchange, HttpSession
    from netcache.backends.throttle import Throttle

__all__ = ["Writer", "parent_of"]

FOLDER_DEPTH_MAX = 256
_STORED = range(200, 300)
_GONE = (404, 410)


class Writer:
    """The writing half of an ``HttpBackend``."""

    def __init__(
        self,
        backend: Asking,
        session: HttpSession,
        notes: OriginNotes,
        questions: Callable[[], OriginQuestions],
        throttle: Throttle,
    ) -> None:
        self._backend = backend
        self._session = session
        self._notes = notes
        self._throttle = throttle
        self._conditions = Conditions(backend, notes)
        self._questions = questions

    @cached_property
    def _outcomes(self) -> Outcomes:
        from netcache.backends.http_outcomes import Outcomes

        return Outcomes(self._backend, self._notes, self._conditions)

    @cached_property
    def _resumer(self) -> Resumer:
        from netcache.backends.http_resuming import Resumer

        return Resumer(
            self._backend,
            self._session,
            self._notes,
            self._questions(),
            self._conditions,
            self._outcomes,
            self.stored,
        )

    async def put(
        self,
        resource: Resource,
        body: UploadBody,
        condition: UploadCondition,
        mtime_s: float | None,
    ) -> UploadReply:
        """Store ``body`` as the whole of ``resource``."""
        sender = BodySender(body, self._throttle)
        try:
            upload = None
            if (body.size or 0) >= self._session.options.resumable_bytes_min:
                upload = await self._resumer.upload_of(resource, sender, condition, mtime_s)
            if upload is None:
                return await self._put(resource, sender, condition, mtime_s, False)
            reply = await self._resumer.put(upload)
            if reply is None:
                reply = await self._put(resource, sender, condition, mtime_s, upload.is_doubtful)
            return reply
        finally:
            await sender.close()

    async def _put(
        self,
        resource: Resource,
        sender: BodySender,
        condition: UploadCondition,
        mtime_s: float | None,
        doubtful: bool,
    ) -> UploadReply:
        retries = Retries(self._backend.retry)
        made_parents = False
        expect = is_due = True
        while True:
            if is_due and not await self._conditions.still_hold(
                "upload", resource, condition, doubtful
            ):
                return await self._outcomes.compared(resource, sender, condition)
            is_due = False
            try:
                exchange = await self._send(resource, sender, condition, mtime_s, expect)
                status = exchange.head.status
                if status in _STORED:
                    return await self.stored(resource, sender, exchange, mtime_s)
                await exchange.drop()
                if status == 412:
                    return await self._outcomes.denied(resource, sender, condition, doubtful)
                if status == 417 and expect and sender.may_send:
                    expect = False
                    continue
                if (
                    not made_parents
                    and sender.may_send
                    and await self._lacks_folder(resource, status)
                ):
                    made_parents = True
                    await self.make_folder(parent_of(resource))
                    continue
                raise refusal("upload", resource.url, exchange.head, time.time())
            except TransientError as error:
                doubtful = doubtful or sender.begun
                if not sender.may_send:
                    raise
                pause_s = retries.pause_s(error)
            await asyncio.sleep(pause_s)
            is_due = True

    async def delete(self, resource: Resource, condition: UploadCondition) -> None:
        """Delete a file or an empty folder."""
        if resource.is_folder:
            await self._check_empty(resource)
        retries = Retries(self._backend.retry)
        while True:
            if not await self._conditions.still_hold(
                "deletion", resource, condition, retries.failed_count > 0
            ):
                return await self._check_gone(resource, condition)
            try:
                exchange = await self._session.ask(
                    "DELETE", resource, condition_headers(condition), what="deletion"
                )
                self._notes.saw_reply(resource.origin, exchange.head.fields)
                await exchange.drop()
                status = exchange.head.status
                if status in _STORED or (status in _GONE and retries.failed_count):
                    return
                if status == 412:
                    self._notes.saw_condition_minded(resource.origin)
                    if retries.failed_count:
                        return await self._check_gone(resource, condition)
                    raise conflict("deletion", resource, condition, "the server says so")
                raise refusal("deletion", resource.url, exchange.head, time.time())
            except TransientError as error:
                pause_s = retries.pause_s(error)
            await asyncio.sleep(pause_s)

    async def _check_gone(self, resource: Resource, condition: UploadCondition) -> None:
        """An earlier attempt may have deleted it: a conflict if something is there now."""
        if await self._conditions.found(resource) is not None:
            raise conflict("deletion", resource, condition, "another is there now")

    async def make_folder(self, folder: Resource, depth: int = 0) -> None:
        """Make ``folder`` and its parents."""
        status = await self._backend.retried(lambda: self._make_once(folder))
        if status == 409 and folder.path != "/" and depth < FOLDER_DEPTH_MAX:
            await self.make_folder(parent_of(folder), depth + 1)
            status = await self._backend.retried(lambda: self._make_once(folder))
        if status not in _STORED:
            raise RemoteError(
                f"making {folder.url} failed: the server makes no folder there (status {status})",
                url=folder.url,
            )

    async def _send(
        self,
        resource: Resource,
        sender: BodySender,
        condition: UploadCondition,
        mtime_s: float | None,
        expect: bool,
    ) -> Exchange:
        exchange = await send_once(
            self._session,
            resource,
            sender,
            condition,
            mtime_s,
            want_digest=self._notes.capabilities(resource.origin).digests is not False,
            expect=expect,
        )
        self._notes.saw_reply(resource.origin, exchange.head.fields)
        return exchange

    async def _lacks_folder(self, resource: Resource, status: int) -> bool:
        """Whether an upload was refused because its folder is missing: 409 says so, nginx 500."""
        return status == 409 or (status == 500 and not await self._is_there(parent_of(resource)))

    async def stored(
        self, resource: Resource, sender: BodySender, exchange: Exchange, mtime_s: float | None
    ) -> UploadReply:
        """The reply says that the server has it.

        It proves a version only for bytes that were all sent in one pass, or whose digest it bears.
        """
        fields = exchange.head.fields
        await exchange.drop()
        if not sender.sent_all:
            raise RemoteProtocolError(
                f"upload of {resource.url} failed: the server said that it has it before it had "
                "all of it",
                url=resource.url,
            )
        mtime_kept = (
            mtime_s is not None and fields.get("X-OC-MTime", "").strip().lower() == "accepted"
        )
        if mtime_s is not None:
            self._notes.saw_mtime(resource.origin, mtime_kept)
        if not fields.get("Repr-Digest"):
            self._notes.saw_no_digest(resource.origin)
        version = await stored_version(
            resource.url, sender, fields, mtime_s if mtime_kept else None
        )
        self._notes.saw_upload(resource.origin, version is not None)
        if sender.start and not fields.get("Repr-Digest"):
            version = None
        created = exchange.head.status == 201
        return UploadReply(created, version, mtime_kept, sender.moved_bytes)

    async def _check_empty(self, folder: Resource) -> None:
        listing = await self._backend.list(folder.url)
        if listing or (isinstance(listing, FolderListing) and listing.left_out):
            raise RemoteError(
                f"deletion of {folder.url} failed: the folder is not empty", url=folder.url
            )

    async def _make_once(self, folder: Resource) -> int:
        """One attempt to make a folder; the status, where 200 also says that it is there."""
        if self._notes.has_mkcol(folder.origin):
            exchange = await self._session.ask("MKCOL", folder, {}, what="making")
            status = await self._judge_folder(folder, exchange)
            if status not in (405, 501):
                self._notes.saw_mkcol(folder.origin, True)
                return status
            if await self._is_there(folder):
                return 200
            self._notes.saw_mkcol(folder.origin, False)
        exchange = await self._session.ask(
            "PUT", folder, {"Content-Length": "0"}, what="making", payload=lambda: b""
        )
        status = await self._judge_folder(folder, exchange)
        return 200 if status in (405, 409) and await self._is_there(folder) else status

    async def _judge_folder(self, folder: Resource, exchange: Exchange) -> int:
        self._notes.saw_reply(folder.origin, exchange.head.fields)
        await exchange.drop()
        status = exchange.head.status
        if status in _STORED or status in (405, 409, 501):
            return status
        raise refusal("making", folder.url, exchange.head, time.time())

    async def _is_there(self, folder: Resource) -> bool:
        """Whether there is such a folder; one that may not be listed (403) is there, too."""
        try:
            info = await self._conditions.found(folder, want_digest=False)
        except AccessDeniedError:
            return True
        return info is not None and info.type == "directory"


def parent_of(resource: Resource) -> Resource:
    """The folder that ``resource`` lies in."""
    path = as_file(resource).path.rpartition("/")[0] + "/"
    return as_folder(parse(resource.origin + path))
