"""Uploads that go on where they stopped, at servers that keep what has arrived.

The protocol is draft-ietf-httpbis-resumable-upload without its 1xx answers: a ``PUT`` without a
body begins, ``HEAD`` tells how much has arrived, one ``PATCH`` brings all the rest.

Rules:

1. A beginning is sent only to a server that announced it to this client: another one would take it
   for the whole (and so that announcement is not remembered, unlike its absence).
2. What goes on in the middle is sent with the digest of the whole: bytes of two versions of a local
   file are not put together unseen.
3. The condition is that of the beginning, for the server to judge when it is complete.
4. Nothing is deleted that has not shown itself an upload: a location may be wrong.
5. A server that contradicts itself (an offset behind what was told, or ahead of what was sent, a
   location elsewhere), or that refuses, gets a plain upload.  Attempts are bounded; bytes that have
   arrived begin the count anew.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from netcache._core.retry import TRANSIENT_STATUSES, Retries
from netcache._core.urls import Resource
from netcache.backends.http_conditions import Conditions
from netcache.backends.http_fields import retry_after_s
from netcache.backends.http_origins import OriginNotes
from netcache.backends.http_outcomes import Outcomes
from netcache.backends.http_partial_upload import PartialUpload
from netcache.backends.http_questions import OriginQuestions
from netcache.backends.http_refusals import refusal
from netcache.backends.http_resumable import (
    adding_headers,
    beginning_headers,
    is_complete,
    located,
    upload_length,
    upload_offset,
)
from netcache.backends.http_sender import BodySender
from netcache.backends.http_session import Exchange, HttpSession
from netcache.backends.http_upload import EXPECT_BYTES_MIN, send_body
from netcache.backends.http_wire import WANT_DIGEST, condition_headers
from netcache.errors import ConflictError, IntegrityError, NetCacheError, TransientError
from netcache.spi import UploadCondition, UploadReply
from netcache.spi_resumable import ResumableBody, UploadTicket

if TYPE_CHECKING:
    from netcache.backends.http_asking import Asking

__all__ = ["Resumer"]

BEGINS_MAX = 3
"""So often an upload may be begun anew because the server has forgotten it."""
PROGRESS_BYTES = 1 << 20
"""So much more at the server is worth as many attempts again."""
_GONE = (404, 410)
_BUSY = (409, 423)
_LATER = (401, 403, 407, 413, 507)
"""Refusals after which the upload can go on another time."""
_logger = logging.getLogger("netcache.http")


Stored = Callable[[Resource, BodySender, Exchange, float | None], Awaitable[UploadReply]]
"""Judges a good reply to the last request."""


class _NotSoError(Exception):
    """The server does not do it, or not as it should: a plain upload is left."""


class _ForgottenError(Exception):
    """The server knows nothing of the upload any more."""


class Resumer:
    """The part of an ``HttpBackend`` that does resumable uploads."""

    def __init__(
        self,
        backend: Asking,
        session: HttpSession,
        notes: OriginNotes,
        questions: OriginQuestions,
        conditions: Conditions,
        outcomes: Outcomes,
        stored: Stored,
    ) -> None:
        self._backend = backend
        self._session = session
        self._notes = notes
        self._questions = questions
        self._conditions = conditions
        self._outcomes = outcomes
        self._stored = stored

    async def upload_of(
        self,
        resource: Resource,
        sender: BodySender,
        condition: UploadCondition,
        mtime_s: float | None,
    ) -> PartialUpload | None:
        """What to go on with, or to begin; None where only a plain upload is possible."""
        if not isinstance(sender.body, ResumableBody):
            return None
        upload = PartialUpload(resource, sender, condition, mtime_s)
        ticket = upload.body.ticket
        if ticket is not None:
            upload.found(located(resource, resource.url, ticket.location), None)
            if upload.location is not None and ticket.current and ticket.condition == condition:
                return upload
            await self._forget(upload)
        origin = resource.origin
        await self._questions.ask_unless(
            lambda: self._notes.capabilities(origin).resumable is not None, resource
        )
        sizes = self._notes.resumable_sizes(origin)
        return upload if sizes is not None and sizes.start <= upload.size < sizes.end else None

    async def put(self, upload: PartialUpload) -> UploadReply | None:
        """Send what is missing; None: the server does not take it so, send it plainly."""
        try:
            reply = await self._checked(upload) or await self._put(upload)
        except _NotSoError:
            await self._forget(upload)
            upload.body.start = 0
            return None
        except NetCacheError as error:
            if isinstance(error, ConflictError | IntegrityError):
                await self._forget(upload)
            upload.name_target(error)
            raise
        await upload.body.keep_ticket(None)
        return reply

    async def _checked(self, upload: PartialUpload) -> UploadReply | None:
        """Check the condition where the server may not; what an earlier run sent is no conflict."""
        try:
            await self._conditions.check_first("upload", upload.resource, upload.condition)
        except ConflictError:
            reply = None
            if upload.is_earlier:
                reply = await self._there_already(upload)
            if reply is None:
                raise
            return reply
        return None

    async def _put(self, upload: PartialUpload) -> UploadReply:
        retries, told_before = Retries(self._backend.retry), 0
        while True:
            try:
                if (reply := await self._step(upload)) is not None:
                    return reply
                continue
            except _ForgottenError:
                reply = await self._begin_anew(upload)
                if reply is not None:
                    return reply
                continue
            except TransientError as error:
                upload.offset = None
                if upload.told >= told_before + PROGRESS_BYTES:
                    retries, told_before = Retries(self._backend.retry), upload.told
                pause_s = retries.pause_s(error)
            await asyncio.sleep(pause_s)

    async def _step(self, upload: PartialUpload) -> UploadReply | None:
        """The next request; the reply when it was the last one."""
        if upload.location is None:
            return await self._begin(upload)
        if upload.offset is None:
            await self._ask_offset(upload, upload.location)
            return None
        return await self._send_rest(upload, upload.location, upload.offset)

    async def _begin(self, upload: PartialUpload) -> UploadReply | None:
        resource = upload.resource
        upload.begun += 1
        if upload.begun > BEGINS_MAX:
            raise _NotSoError
        headers = condition_headers(upload.condition)
        headers |= beginning_headers(upload.size, upload.mtime_s) | self._wanted(resource)
        exchange = await self._session.ask(
            "PUT", resource, headers, what="upload", payload=lambda: b""
        )
        head = exchange.head
        self._notes.saw_reply(resource.origin, head.fields)
        await exchange.drop()
        if head.status == 412:
            return await self._denied(upload)
        if head.status in TRANSIENT_STATUSES:
            raise refusal("upload", resource.url, head, time.time())
        location = located(resource, head.url, head.fields.get("Location", ""))
        if head.status != 201 or location is None:
            if 200 <= head.status < 300:
                self._notes.saw_not_resumable(resource.origin)
            raise _NotSoError
        upload.found(location, 0)
        upload.is_proven = upload_offset(head.fields) == 0
        await upload.body.keep_ticket(UploadTicket(location.url, upload.condition))
        return None

    async def _ask_offset(self, upload: PartialUpload, location: Resource) -> None:
        exchange = await self._session.ask("HEAD", location, {}, what="upload")
        head = exchange.head
        self._notes.saw_reply(location.origin, head.fields)
        await exchange.drop()
        if head.status in _GONE or is_complete(head.fields):
            raise _ForgottenError
        self._need_going_on(upload, exchange)
        offset, length = upload_offset(head.fields), upload_length(head.fields)
        upload.is_proven = upload.is_proven or offset is not None
        if not 200 <= head.status < 300 or offset is None or length not in (None, upload.size):
            raise _NotSoError
        if not upload.told <= offset <= min(upload.sent_to, upload.size):
            raise _NotSoError
        upload.offset = upload.told = offset

    async def _send_rest(
        self, upload: PartialUpload, location: Resource, start: int
    ) -> UploadReply | None:
        """The one request that brings the rest; None: try again."""
        sender, size = upload.sender, upload.size
        digest = await self._prepared(upload, start)
        headers = adding_headers(start, size, digest) | self._wanted(upload.resource)
        # From here on only the server knows how much has arrived.
        upload.offset = None
        try:
            exchange = await send_body(
                self._session,
                "PATCH",
                location,
                sender,
                headers,
                what="upload",
                expect=upload.expect and start > 0 and size - start > EXPECT_BYTES_MIN,
            )
        except TransientError:
            upload.is_doubtful = upload.is_doubtful or sender.sent_all
            raise
        finally:
            upload.sent_to = max(upload.sent_to, sender.sent_bytes)
        head = exchange.head
        self._notes.saw_reply(location.origin, head.fields)
        if 200 <= head.status < 300 and head.fields.get("Upload-Complete", "?1").strip() == "?1":
            return await self._stored(upload.resource, sender, exchange, upload.mtime_s)
        await exchange.drop()
        if head.status == 412:
            return await self._denied(upload)
        if head.status in _GONE:
            raise _ForgottenError
        if head.status == 417 and upload.expect:
            upload.expect = False
            return None
        self._need_going_on(upload, exchange)
        if not start:
            self._notes.saw_not_resumable(location.origin)
        raise _NotSoError

    async def _prepared(self, upload: PartialUpload, start: int) -> bytes | None:
        """Have the body begin at ``start``; the digest of the whole, unless it is to go whole."""
        if not start:
            upload.body.start = 0
            return None
        url = upload.resource.url
        _logger.info("upload of %s goes on at byte %d of %d", url, start, upload.size)
        try:
            return await upload.body.prepare(start)
        except NetCacheError:
            await self._forget(upload)
            raise

    def _need_going_on(self, upload: PartialUpload, exchange: Exchange) -> None:
        """Raise what a refusal means that says nothing against the upload itself."""
        head, url = exchange.head, upload.resource.url
        if head.status in _BUSY:
            raise TransientError(
                f"upload of {url} failed: the server is not done with an earlier part of it "
                f"(status {head.status})",
                url=url,
                retry_after_s=retry_after_s(head.fields.get("Retry-After"), time.time()),
            )
        if head.status in TRANSIENT_STATUSES or head.status in _LATER:
            raise refusal("upload", url, head, time.time())

    async def _denied(self, upload: PartialUpload) -> UploadReply:
        return await self._outcomes.denied(
            upload.resource, upload.sender, upload.condition, upload.is_doubtful
        )

    async def _begin_anew(self, upload: PartialUpload) -> UploadReply | None:
        """The server has forgotten it: because it is complete, or for good?"""
        upload.is_doubtful = upload.is_doubtful or upload.is_earlier
        reply = await self._there_already(upload) if upload.is_doubtful else None
        upload.found(None, None)
        await upload.body.keep_ticket(None)
        return reply

    async def _there_already(self, upload: PartialUpload) -> UploadReply | None:
        return await self._outcomes.there_already(upload.resource, upload.sender, upload.condition)

    def _wanted(self, resource: Resource) -> dict[str, str]:
        known = self._notes.capabilities(resource.origin)
        return WANT_DIGEST if known.digests is not False else {}

    async def _forget(self, upload: PartialUpload) -> None:
        """Let nobody go on with it; the server is told, and may not hear."""
        location = upload.location
        await upload.body.keep_ticket(None)
        if location is not None:
            try:
                if upload.is_proven or await self._is_upload(location):
                    exchange = await self._session.ask("DELETE", location, {}, what="upload")
                    await exchange.drop()
            except NetCacheError:
                # It forgets by itself what nobody goes on with.
                pass
        upload.found(None, None)

    async def _is_upload(self, location: Resource) -> bool:
        exchange = await self._session.ask("HEAD", location, {}, what="upload")
        await exchange.drop()
        return upload_offset(exchange.head.fields) is not None
