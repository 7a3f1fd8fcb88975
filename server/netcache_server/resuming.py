"""Resumable uploads: draft-ietf-httpbis-resumable-upload, in the form that needs no 1xx answers.

* ``PUT`` of the target with ``Upload-Complete: ?0``, ``Upload-Length`` and no body begins one:
  201 and its ``Location``; nothing changes at the target.
* ``HEAD`` of the location: how much has arrived (``Upload-Offset``).
* ``PATCH`` of the location with ``application/partial-upload``: more of it, from ``Upload-Offset``
  on; the last one (``Upload-Complete: ?1``) puts it at the target, and is answered as a ``PUT``.
* ``DELETE`` of the location forgets it.

Rules:

1. What has arrived when a body breaks off stays, and ``HEAD`` tells of nothing else.
2. One request at a time adds to an upload (423).  ``HEAD`` ends the one that does, since its client
   asks because it has lost it, and then tells what had arrived.
3. The preconditions are those of the beginning, and count when the upload appears at its target.
4. A refusal that no repetition would change (400, 409, 412 of the last request) ends the upload.
5. ``X-Upload-Repr-Digest`` in a ``PATCH`` is the digest of the whole (``Repr-Digest`` is that of
   the body alone there, RFC 9530 3): what does not have it never appears.
"""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import Executor
from dataclasses import dataclass, field

from netcache_server.conditionals import Conditions
from netcache_server.digest import BadDigestError, FollowingHasher, Hasher, parse_digests
from netcache_server.exchange import Exchange
from netcache_server.options import ServerOptions
from netcache_server.partial import MAX_AGE_S, UploadFile, UploadRecord, UploadStore, busy
from netcache_server.paths import CONTROL_NAME
from netcache_server.publisher import Publisher, require_conditions, require_file_target
from netcache_server.receiving import Receiver, Upload, parse_upload, require_room
from netcache_server.reply import HttpProblem, Reply
from netcache_server.threads import in_thread
from netcache_server.tree import Place
from netcache_server.writing import require_digests, stored_reply

PARTIAL_TYPE = "application/partial-upload"
WHOLE_DIGEST = "X-Upload-Repr-Digest"
SWEEP_S = 3600.0
_FOLDER = "uploads"
_NUMBER = re.compile("[0-9]{1,15}")
_FLAGS = {"?0": False, "?1": True}
_END_WAIT_S = 20.0
_FINAL_REFUSALS = (400, 409, 412)


def upload_token(segments: tuple[str, ...]) -> str | None:
    """The token of a path that is the location of an upload."""
    return segments[2] if segments[:2] == (CONTROL_NAME, _FOLDER) and len(segments) == 3 else None


def begins_upload(exchange: Exchange) -> bool:
    """Whether a ``PUT`` only announces its body."""
    return _flag(exchange, default=True) is False


@dataclass(slots=True)
class _Running:
    """A request that adds to an upload; ``exchange`` is None when all of it has come."""

    exchange: Exchange | None
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Resumer:
    """Answers the requests of resumable uploads.  On the server's loop."""

    def __init__(
        self, options: ServerOptions, publisher: Publisher, pool: Executor, slow_pool: Executor
    ) -> None:
        self._options = options
        self._publisher = publisher
        self._pool = pool
        self._slow_pool = slow_pool
        self._store = UploadStore(publisher.tree, fsync=options.fsync)
        self._running: dict[str, _Running] = {}
        self._sweep_later()

    def _sweep_later(self) -> None:
        """Every now and then, what is too old goes, though nobody begins another upload."""
        self._sweeping = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)

    def _sweep(self) -> None:
        self._pool.submit(self._store.sweep_now_and_then)
        self._sweep_later()

    def stop(self) -> None:
        """Begin nothing more by itself."""
        self._sweeping.cancel()

    def limits(self) -> dict[str, str]:
        """The header that tells that there are resumable uploads, and their limits."""
        limits = ["min-size=0", f"max-age={MAX_AGE_S}"]
        if self._options.max_body_bytes is not None:
            limits.insert(1, f"max-size={self._options.max_body_bytes}")
        return {"Upload-Limit": ", ".join(limits)}

    async def begin(self, exchange: Exchange) -> Reply:
        """The answer to a ``PUT`` that begins an upload."""
        upload = parse_upload(exchange, self._options)
        length = _number(exchange, "Upload-Length")
        if upload.length != 0 and exchange.request.body_exists:
            raise HttpProblem(400, "a resumable upload begins without a body", close=True)
        if exchange.path.trailing_slash:
            raise HttpProblem(400, "a folder has no content")
        if self._options.max_body_bytes is not None and length > self._options.max_body_bytes:
            raise HttpProblem(413)
        record = UploadRecord(
            exchange.path.segments,
            length,
            Conditions.of(exchange.headers),
            {name: value.hex() for name, value in upload.repr_digests.items()},
            upload.wants_sha256,
            upload.mtime,
        )
        token = await in_thread(self._slow_pool, self._begin, exchange, record)
        location = "/" + "/".join((CONTROL_NAME, _FOLDER, token))
        return Reply(201, {"Location": location} | _state(0, False) | self.limits())

    def _begin(self, exchange: Exchange, record: UploadRecord) -> str:
        with self._publisher.tree.locate(record.segments) as place:
            require_conditions(exchange, place)
            require_file_target(place)
            return self._store.begin(record, place.folder)

    async def answer(self, exchange: Exchange, token: str) -> Reply:
        """The answer to a request for the location of an upload."""
        match exchange.method:
            case "HEAD":
                return await self._offset(token)
            case "PATCH":
                return await self._add(exchange, token)
            case "DELETE":
                await self._forget(token)
                return Reply(204)
        raise HttpProblem(405, headers={"Allow": "HEAD, PATCH, DELETE"})

    async def _offset(self, token: str) -> Reply:
        file = await self._take(token)
        size, length = file.size, file.record.length
        await in_thread(self._pool, self._store.close, file)
        headers = _state(size, False) | {"Upload-Length": str(length), "Cache-Control": "no-store"}
        return Reply(204, headers | self.limits())

    async def _forget(self, token: str) -> None:
        file = await self._take(token)
        file.forget()
        await in_thread(self._pool, self._store.close, file)

    async def _take(self, token: str) -> UploadFile:
        """The upload, after the end of the request that adds to it."""
        running = self._running.get(token)
        if running is not None:
            if running.exchange is not None:
                await running.exchange.cut()
            try:
                async with asyncio.timeout(_END_WAIT_S):
                    await running.ended.wait()
            except TimeoutError:
                raise busy() from None
        return await in_thread(self._pool, self._store.open, token)

    async def _add(self, exchange: Exchange, token: str) -> Reply:
        upload = parse_upload(exchange, self._options)
        kind = exchange.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind != PARTIAL_TYPE:
            raise HttpProblem(415, headers={"Accept-Patch": PARTIAL_TYPE}, close=True)
        if token in self._running:
            raise busy()
        running = self._running[token] = _Running(exchange)
        try:
            file = await in_thread(self._pool, self._store.open, token)
            try:
                return await self._add_to(exchange, upload, file, running)
            finally:
                running.exchange = None
                await in_thread(self._pool, self._store.close, file)
        finally:
            del self._running[token]
            running.ended.set()

    async def _add_to(
        self, exchange: Exchange, upload: Upload, file: UploadFile, running: _Running
    ) -> Reply:
        start = file.size
        is_last = _require_fitting(exchange, upload, start, file.record.length)
        wanted = _wanted(exchange, upload, file.record)
        await in_thread(self._pool, require_room, file.fd, upload.length)
        file.seek_end()
        part = Hasher(set(upload.content_digests) | set(upload.repr_digests))
        whole = FollowingHasher(_algorithms(wanted) if is_last else set(), file.fd, start, part)
        following = asyncio.create_task(in_thread(self._slow_pool, whole.follow))
        try:
            await Receiver(exchange, self._options, self._pool).receive(file, whole)
            running.exchange = None
            require_digests(part, upload)
        except BaseException as error:
            whole.stop()
            await asyncio.wait([following])
            if isinstance(error, HttpProblem) and running.exchange is None:
                await in_thread(self._pool, file.cut, start)
            raise
        await following
        if not is_last:
            return Reply(204, _state(file.size, False))
        try:
            require_digests(whole, wanted)
            return await in_thread(
                self._pool, self._publish, exchange, wanted, file, whole.digest("sha256")
            )
        except HttpProblem as problem:
            if problem.status in _FINAL_REFUSALS:
                file.forget()
            raise

    def _publish(
        self, exchange: Exchange, upload: Upload, file: UploadFile, sha256: bytes | None
    ) -> Reply:
        def check(place: Place) -> None:
            require_conditions(exchange, place, file.record.conditions)

        sealed = self._publisher.seal(file, upload.mtime, sha256)
        created = self._publisher.publish(exchange, file, check, file.record.segments)
        reply = stored_reply(sealed, upload, sha256, created=created)
        reply.headers |= _state(file.record.length, True)
        return reply


def _require_fitting(exchange: Exchange, upload: Upload, start: int, length: int) -> bool:
    """Whether this is the last request of an upload.  Raises ``HttpProblem`` (400, 409, 411)."""
    is_last = _flag(exchange, default=None)
    if is_last is None:
        raise HttpProblem(400, "Upload-Complete: expected ?0 or ?1", close=True)
    if upload.length is None:
        raise HttpProblem(411, close=True)
    if _number(exchange, "Upload-Offset") != start:
        raise HttpProblem(409, "Upload-Offset: it is another", _state(start, False), close=True)
    end = start + upload.length
    if end > length or (is_last and end != length):
        raise HttpProblem(400, "Upload-Length: the body has another length", close=True)
    return is_last


def _wanted(exchange: Exchange, upload: Upload, record: UploadRecord) -> Upload:
    """What the whole must be, as if it came in one request."""
    digests = {name: bytes.fromhex(value) for name, value in record.digests.items()}
    if WHOLE_DIGEST in exchange.headers:
        try:
            digests |= parse_digests(WHOLE_DIGEST, exchange.headers[WHOLE_DIGEST])
        except BadDigestError as error:
            raise HttpProblem(400, str(error), close=True) from None
    wants_sha256 = record.wants_sha256 or upload.wants_sha256
    return Upload(record.length, {}, digests, wants_sha256, record.mtime)


def _algorithms(wanted: Upload) -> set[str]:
    return set(wanted.repr_digests) | ({"sha256"} if wanted.wants_sha256 else set())


def _state(offset: int, complete: bool) -> dict[str, str]:
    return {"Upload-Offset": str(offset), "Upload-Complete": "?1" if complete else "?0"}


def _number(exchange: Exchange, name: str) -> int:
    text = exchange.headers.get(name, "").strip()
    if not _NUMBER.fullmatch(text):
        raise HttpProblem(400, f"{name}: expected a number", close=True)
    return int(text)


def _flag(exchange: Exchange, *, default: bool | None) -> bool | None:
    text = exchange.headers.get("Upload-Complete")
    if text is None:
        return default
    flag = _FLAGS.get(text.strip())
    if flag is None:
        raise HttpProblem(400, "Upload-Complete: expected ?0 or ?1", close=True)
    return flag
