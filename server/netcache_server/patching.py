"""Updates of a part of a file: PATCH in the sabredav format, and PUT with ``Content-Range``.

Rules:

1. The file is never changed in place: a copy takes the change and then the file's place, so every
   reader sees the version before or the one after.
2. The copy is published only if the file still is the one that was copied; otherwise the request's
   preconditions are judged against what came in between, and the change is made anew on that.
   Two appends both arrive; two conditional updates of one version do not.
3. A range that begins behind the end leaves zeros between.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass

from netcache_server.digest import Hasher, hash_file
from netcache_server.exchange import Exchange
from netcache_server.options import ServerOptions
from netcache_server.partfile import PartFile, copy_around, copy_range
from netcache_server.publisher import Publisher, require_conditions
from netcache_server.ranges import (
    BadRangeError,
    Span,
    UpdateRange,
    parse_content_range,
    parse_update_range,
)
from netcache_server.receiving import Receiver, Upload, parse_upload
from netcache_server.reply import HttpProblem, Reply
from netcache_server.threads import in_thread
from netcache_server.tree import OpenFile, Place
from netcache_server.writing import begin, require_digests, stored_reply

PATCH_TYPE = "application/x-sabredav-partialupdate"
_ATTEMPTS = 100
_STRIPES = 64

Locate = Callable[[int], Span]
"""Where the new bytes go in a file of a size.  Raises ``HttpProblem``."""


class _OvertakenError(Exception):
    """The file is not the one any more that was copied."""


@dataclass(frozen=True, slots=True)
class _Change:
    """A change whose bytes have arrived: where they go, and what is known about the result."""

    body: PartFile
    locate: Locate
    may_create: bool
    upload: Upload
    result_digests: Upload | None


class Patcher:
    """Answers PATCH, and PUT with ``Content-Range``."""

    def __init__(self, options: ServerOptions, publisher: Publisher, pool: Executor) -> None:
        self._options = options
        self._publisher = publisher
        self._pool = pool
        # Changes of one file wait for each other here, or all but one would be made in vain.
        self._turns = [asyncio.Lock() for _ in range(_STRIPES)]

    async def patch(self, exchange: Exchange) -> Reply:
        """The answer to a PATCH."""
        kind = exchange.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind != PATCH_TYPE:
            raise HttpProblem(415, headers={"Accept-Patch": PATCH_TYPE})
        header = exchange.headers.get("X-Update-Range")
        if header is None:
            raise HttpProblem(400, "X-Update-Range is missing")
        try:
            update = parse_update_range(header)
        except BadRangeError as error:
            raise HttpProblem(416, str(error)) from None
        length = _required_length(exchange)
        if update.start is not None and update.end not in (None, update.start + length):
            raise HttpProblem(416, "X-Update-Range: the body has another length")
        return await self._change(exchange, lambda size: _placed(update, size, length))

    async def put_range(self, exchange: Exchange) -> Reply:
        """The answer to a PUT with ``Content-Range`` (RFC 9110 14.5)."""
        try:
            span, total = parse_content_range(exchange.headers["Content-Range"])
        except BadRangeError as error:
            raise HttpProblem(400, str(error)) from None
        if span.length != _required_length(exchange):
            raise HttpProblem(400, "Content-Range: the body has another length")

        def locate(size: int) -> Span:
            if total is not None and total != max(size, span.end):
                raise HttpProblem(400, f"Content-Range: the file would not have {total} bytes")
            return span

        return await self._change(exchange, locate, whole_digest=True, may_create=span.start == 0)

    async def _change(
        self,
        exchange: Exchange,
        locate: Locate,
        *,
        whole_digest: bool = False,
        may_create: bool = False,
    ) -> Reply:
        """Receive the new bytes, then make the change until nobody comes in between.

        With ``whole_digest`` the request's ``Repr-Digest`` is that of the changed file; in a
        PATCH it is that of the patch itself (RFC 9530 3).
        """
        upload = parse_upload(exchange, self._options)
        result = upload if whole_digest else None
        if whole_digest:
            upload = Upload(
                upload.length, upload.content_digests, {}, upload.wants_sha256, upload.mtime
            )
        hasher = Hasher(set(upload.content_digests) | set(upload.repr_digests))
        body = await in_thread(self._pool, self._begin, exchange, upload, locate, may_create)
        try:
            await Receiver(exchange, self._options, self._pool).receive(body, hasher)
            require_digests(hasher, upload)
            change = _Change(body, locate, may_create, upload, result)
            async with self._turns[hash(exchange.path.segments) % _STRIPES]:
                return await in_thread(self._pool, self._make, exchange, change)
        finally:
            await in_thread(self._pool, body.close)

    def _begin(
        self, exchange: Exchange, upload: Upload, locate: Locate, may_create: bool
    ) -> PartFile:
        with self._publisher.tree.locate(exchange.path.segments) as place:
            require_conditions(exchange, place)
            _require_target(place, exchange, may_create)
            locate(place.status.st_size if place.status is not None else 0)
        return begin(self._publisher, exchange, upload)

    def _make(self, exchange: Exchange, change: _Change) -> Reply:
        for _ in range(_ATTEMPTS):
            try:
                return self._attempt(exchange, change)
            except _OvertakenError:
                continue
        raise HttpProblem(409, "others keep changing the file", {"Retry-After": "1"})

    def _attempt(self, exchange: Exchange, change: _Change) -> Reply:
        with self._publisher.tree.locate(exchange.path.segments) as place:
            require_conditions(exchange, place)
            _require_target(place, exchange, change.may_create)
            base = place.open_file() if place.is_file else None
            try:
                with PartFile(place.folder) as part:
                    return self._apply(exchange, change, base, part)
            finally:
                if base is not None:
                    base.close()

    def _apply(
        self, exchange: Exchange, change: _Change, base: OpenFile | None, part: PartFile
    ) -> Reply:
        upload = change.upload
        span = change.locate(base.size if base is not None else 0)
        if base is not None:
            copy_around(base.fd, part.fd, base.size, *span)
            if not base.unchanged():
                raise _OvertakenError
        copy_range(change.body.fd, 0, part.fd, span.start, span.length)
        expected = change.result_digests.repr_digests if change.result_digests else {}
        hasher = hash_file(part.fd, set(expected) | ({"sha256"} if upload.wants_sha256 else set()))
        if change.result_digests is not None:
            require_digests(hasher, Upload(None, {}, expected, False, None))
        sealed = self._publisher.seal(part, upload.mtime, hasher.digest("sha256"))

        def check(place: Place) -> None:
            if not _is_same(place, base):
                raise _OvertakenError
            require_conditions(exchange, place)

        created = self._publisher.publish(exchange, part, check)
        return stored_reply(sealed, upload, hasher.digest("sha256"), created=created)


def _is_same(place: Place, base: OpenFile | None) -> bool:
    """Whether what is at a place is the very version that was copied."""
    if base is None or place.status is None:
        return base is None and place.status is None
    return os.path.samestat(place.status, base.status) and base.unchanged()


def _require_target(place: Place, exchange: Exchange, may_create: bool) -> None:
    place.require_known_kind()
    if place.is_folder:
        raise HttpProblem(409, "it is a folder")
    if (place.status is None and not may_create) or exchange.path.trailing_slash:
        raise HttpProblem(404)


def _required_length(exchange: Exchange) -> int:
    length = exchange.request.content_length
    if length is None:
        raise HttpProblem(411)
    return length


def _placed(update: UpdateRange, size: int, length: int) -> Span:
    start = size if update.start is None else update.start
    return Span(start, start + length)
