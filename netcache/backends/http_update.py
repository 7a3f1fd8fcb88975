"""Changes of a part of a resource: PATCH in the sabredav format, or PUT with ``Content-Range``.

Rules:

1. Only an origin that announces one of the two ways is asked for it: a server that knows nothing
   of ``Content-Range`` in a PUT would replace the whole resource (RFC 9110 14.5).  Whether a
   ``PUT`` may be of a part is therefore never remembered for a later backend.
2. Every request is conditional, so it may be sent again; after an attempt whose outcome is not
   known, a failed precondition is compared with what is there now before it is a conflict.
3. The digest is of exactly the bytes sent, and always sent with them.
4. A new version is told only when no other change can have slipped in: the server checks the
   precondition in the same step, and no attempt's reply was lost.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, NamedTuple

from netcache._core.coherency import Version
from netcache._core.extent import Extent
from netcache._core.invariant import invariant
from netcache._core.retry import Retries
from netcache._core.urls import Resource
from netcache.backends.http_conditions import Conditions, conflict
from netcache.backends.http_fields import mtime_of, sha256_field, validator_of
from netcache.backends.http_origins import OriginNotes
from netcache.backends.http_questions import OriginQuestions
from netcache.backends.http_refusals import refusal
from netcache.backends.http_sender import BodySender
from netcache.backends.http_session import Exchange, HttpSession
from netcache.backends.http_upload import EXPECT_BYTES_MIN, send_body
from netcache.backends.http_wire import condition_headers
from netcache.backends.throttle import Throttle
from netcache.errors import (
    IntegrityError,
    NotFoundError,
    NotOfferedError,
    RemoteProtocolError,
    StaleError,
    TransientError,
)
from netcache.spi import OriginCapabilities, UpdateData, UploadCondition, UploadReply

if TYPE_CHECKING:
    from netcache.backends.http_asking import Asking

__all__ = ["Updater"]

PATCH_TYPE = "application/x-sabredav-partialupdate"
CHUNK_BYTES = 256 * 1024
HASHED_IN_PLACE_MAX = 256 * 1024
"""Up to this a digest is made on the loop: a thread and back would take longer."""
_REFUSED_AS_SUCH = (405, 415, 501)
_GONE = (404, 410)


class PiecesBody:
    """An ``UploadBody`` over bytes in memory that need not lie in one piece."""

    replayable = True

    def __init__(self, data: UpdateData) -> None:
        parts = [data] if isinstance(data, bytes | memoryview) else data
        self.views = [memoryview(part).cast("B") for part in parts if len(part)]
        self.length = sum(len(view) for view in self.views)
        self.size: int | None = self.length

    async def chunks(self) -> AsyncIterator[bytes | memoryview]:
        """The bytes, none of them copied."""
        for view in self.views:
            for start in range(0, len(view), CHUNK_BYTES):
                yield view[start : start + CHUNK_BYTES]

    async def sha256(self) -> bytes:
        """The digest of all of it."""
        if self.length <= HASHED_IN_PLACE_MAX:
            return self._sha256()
        return await asyncio.to_thread(self._sha256)

    def _sha256(self) -> bytes:
        digest = hashlib.sha256()
        for view in self.views:
            digest.update(view)
        return digest.digest()


class _Change(NamedTuple):
    """One update: the bytes ``extent`` of ``resource``, whose size was and will be."""

    resource: Resource
    extent: Extent
    size: int
    condition: UploadCondition
    digest: bytes

    @property
    def size_after(self) -> int:
        return max(self.size, self.extent.end)


class Updater:
    """The part of an ``HttpBackend`` that changes parts."""

    def __init__(
        self,
        backend: Asking,
        session: HttpSession,
        notes: OriginNotes,
        questions: OriginQuestions,
        throttle: Throttle,
    ) -> None:
        self._backend = backend
        self._session = session
        self._notes = notes
        self._throttle = throttle
        self._conditions = Conditions(backend, notes)
        self._questions = questions

    async def learn(self, resource: Resource) -> OriginCapabilities:
        """What the origin offers to those who change parts."""
        origin = resource.origin
        await self._questions.ask_unless(lambda: self._known(origin), resource)
        known = self._notes.capabilities(origin)
        return known._replace(patch=bool(known.patch), partial_put=bool(known.partial_put))

    def _known(self, origin: str) -> bool:
        known = self._notes.capabilities(origin)
        return bool(known.patch or known.partial_put) or None not in (
            known.patch,
            known.partial_put,
        )

    async def update(
        self,
        resource: Resource,
        start: int,
        data: UpdateData,
        size: int,
        condition: UploadCondition,
    ) -> UploadReply:
        """Replace the bytes from ``start`` on; see the port."""
        body = PiecesBody(data)
        invariant(body.length > 0 and start >= 0, "an update has bytes and a place", start=start)
        invariant(condition.names_one_version, "an update names a version", named=condition)
        extent = Extent(start, start + body.length)
        change = _Change(resource, extent, size, condition, await body.sha256())
        await self.learn(resource)
        sender = BodySender(body, self._throttle)
        try:
            return await self._update(change, sender)
        finally:
            await sender.close()

    async def _update(self, change: _Change, sender: BodySender) -> UploadReply:
        resource, condition = change.resource, change.condition
        retries = Retries(self._backend.retry)
        doubtful, expect = False, True
        while True:
            try:
                if not await self._conditions.still_hold(
                    "update", resource, condition, doubtful, size=change.size
                ):
                    return await self._compare(change)
                method, exchange = await self._send(change, sender, expect)
                status = exchange.head.status
                if 200 <= status < 300:
                    return await self._stored(change, sender, exchange)
                said = await exchange.text()
                if status == 412:
                    self._notes.saw_condition_minded(resource.origin)
                    if doubtful:
                        return await self._compare(change)
                    raise conflict("update", resource, condition, "the server says so")
                if status == 417 and expect:
                    expect = False
                    continue
                if status in _REFUSED_AS_SUCH:
                    self._saw_refused(resource.origin, method)
                    # The other way is not remembered, and so perhaps not known yet.
                    await self.learn(resource)
                    continue
                raise _refused(change, exchange, said)
            except TransientError as error:
                doubtful = doubtful or sender.begun
                pause_s = retries.pause_s(error)
            await asyncio.sleep(pause_s)

    async def _send(
        self, change: _Change, sender: BodySender, expect: bool
    ) -> tuple[str, Exchange]:
        start, end = change.extent
        known = self._notes.capabilities(change.resource.origin)
        headers = condition_headers(change.condition)
        headers["Content-Length"] = str(end - start)
        headers["Content-Digest"] = sha256_field(change.digest)
        if known.patch:
            method = "PATCH"
            headers["Content-Type"] = PATCH_TYPE
            headers["X-Update-Range"] = f"bytes={start}-{end - 1}"
        elif known.partial_put:
            method = "PUT"
            headers["Content-Type"] = "application/octet-stream"
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{change.size_after}"
        else:
            raise NotOfferedError(
                f"update of {change.resource.url} failed: the server changes no parts of files",
                url=change.resource.url,
            )
        exchange = await send_body(
            self._session,
            method,
            change.resource,
            sender,
            headers,
            what="update",
            expect=expect and end - start > EXPECT_BYTES_MIN,
        )
        self._notes.saw_reply(change.resource.origin, exchange.head.fields)
        return method, exchange

    def _saw_refused(self, origin: str, method: str) -> None:
        if method == "PATCH":
            self._notes.saw_no_patch(origin)
        else:
            self._notes.saw_no_partial_put(origin)

    async def _stored(self, change: _Change, sender: BodySender, exchange: Exchange) -> UploadReply:
        fields = exchange.head.fields
        await exchange.drop()
        if not sender.sent_all:
            raise RemoteProtocolError(
                f"update of {change.resource.url} failed: the server said that it has it before "
                "it had all of it",
                url=change.resource.url,
            )
        validator = validator_of(fields)
        version = None
        if validator.joins_ranges and self._notes.minds_conditions(change.resource.origin):
            version = Version(validator, change.size_after, mtime_of(fields))
        return UploadReply(exchange.head.status == 201, version, False)

    async def _compare(self, change: _Change) -> UploadReply:
        """An earlier attempt may have made the change: is what is there now what was sent?"""
        resource, condition = change.resource, change.condition
        info = await self._conditions.found(resource, want_digest=False)
        if info is None:
            raise conflict("update", resource, condition, "it is gone")
        if info.size != change.size_after:
            raise conflict("update", resource, condition, f"its size is {info.size} now")
        digest = hashlib.sha256()
        try:
            reply = await self._backend.open_read(
                resource.url, change.extent, expected=info.version
            )
            await reply.receive(lambda start, view: digest.update(_inside(change, start, view)))
        except (StaleError, NotFoundError) as error:
            raise conflict("update", resource, condition, "it keeps changing") from error
        if digest.digest() != change.digest:
            raise conflict("update", resource, condition, "its bytes are others")
        return UploadReply(False, None, False)


def _inside(change: _Change, start: int, view: memoryview) -> memoryview:
    """The bytes of a piece that the change is about: a reply may bear more than was asked."""
    low, high = change.extent
    return view[max(0, low - start) : max(0, high - start)]


def _refused(change: _Change, exchange: Exchange, said: str) -> Exception:
    """The error for a refusal of a change."""
    resource, status = change.resource, exchange.head.status
    if status in _GONE:
        return conflict("update", resource, change.condition, "it is gone")
    if status == 400 and "digest" in said.lower():
        return IntegrityError(
            f"update of {resource.url} failed: the server received other bytes than were sent",
            url=resource.url,
        )
    if status == 416 and change.extent.start > change.size:
        return NotOfferedError(
            f"update of {resource.url} failed: the server takes nothing behind the end",
            url=resource.url,
        )
    return refusal("update", resource.url, exchange.head, time.time())
