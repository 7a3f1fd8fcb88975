"""Request bodies: from the connection to a file in progress, at constant memory.

Rules:

1. ``100 Continue`` is sent only when nothing that is known before the body speaks against it.
2. A body that is shorter than it was announced, or whose client leaves, raises: nothing that is
   built on it is ever published.
3. While one batch is being written and hashed in a thread, the next one is received.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from netcache_server.digest import (
    BadDigestError,
    Hasher,
    parse_digests,
    wants_sha256,
)
from netcache_server.exchange import Exchange
from netcache_server.intake import Intake, usable
from netcache_server.options import ServerOptions
from netcache_server.partfile import PartFile
from netcache_server.reply import HttpProblem
from netcache_server.threads import in_thread

_BATCH_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Upload:
    """What the headers of a request say about its body."""

    length: int | None
    content_digests: Mapping[str, bytes]
    repr_digests: Mapping[str, bytes]
    wants_sha256: bool
    mtime: float | None

    @property
    def answer_headers(self) -> dict[str, str]:
        """Headers of the answer that follow from those of the request."""
        return {} if self.mtime is None else {"X-OC-Mtime": "accepted"}


def parse_upload(exchange: Exchange, options: ServerOptions) -> Upload:
    """Read the headers of an upload.  Raises ``HttpProblem`` (400, 413, 415, 417)."""
    headers = exchange.headers
    if headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
        raise HttpProblem(415, "only identity is accepted as Content-Encoding")
    if headers.get("Expect", "100-continue").strip().lower() != "100-continue":
        raise HttpProblem(417)
    length = exchange.request.content_length
    if options.max_body_bytes is not None and (length or 0) > options.max_body_bytes:
        raise HttpProblem(413, close=True)
    try:
        content, representation = (
            parse_digests(field, ", ".join(headers.getall(field))) if field in headers else {}
            for field in ("Content-Digest", "Repr-Digest")
        )
    except BadDigestError as error:
        raise HttpProblem(400, str(error)) from None
    wanted = wants_sha256(headers.get("Want-Repr-Digest"))
    return Upload(length, content, representation, wanted, _mtime(headers.get("X-OC-Mtime")))


def _mtime(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        seconds = float(text)
        if not 0 <= seconds < 2**33:
            raise ValueError
    except ValueError:
        raise HttpProblem(400, "X-OC-Mtime: expected seconds since 1970") from None
    return seconds


def require_room(folder: int, length: int | None) -> None:
    """Raise ``HttpProblem`` 507 if a body of known length cannot fit.  Blocks."""
    room = os.fstatvfs(folder)
    if length is not None and length > room.f_bavail * room.f_frsize:
        raise HttpProblem(507, close=True)


class Receiver:
    """Receives one body into a file in progress."""

    def __init__(self, exchange: Exchange, options: ServerOptions, pool: Executor) -> None:
        self._exchange = exchange
        self._options = options
        self._pool = pool

    async def receive(self, part: PartFile, hasher: Hasher) -> int:
        """Take the whole body; gives its length.  Of one that breaks off, all that came is taken.

        Raises ``HttpProblem`` (400, 408, 413, 507) and ``ConnectionError``.
        """
        exchange = self._exchange
        await self._continue()
        if usable(exchange):
            await self._in_slabs(part, hasher)
        else:
            await self._in_chunks(part, hasher)
        expected = exchange.request.content_length
        if expected is not None and exchange.bytes_received != expected:
            raise HttpProblem(400, "the body has another length than announced", close=True)
        return exchange.bytes_received

    async def _in_slabs(self, part: PartFile, hasher: Hasher) -> None:
        with Intake(self._exchange) as intake:
            start = intake.begin()
            self._exchange.bytes_received += sum(map(len, start))
            if start:
                await self._store(part, hasher, start)
            while (slab := await self._slab(intake)) is not None:
                await self._store(part, hasher, [slab])
                intake.give_back(slab)

    async def _slab(self, intake: Intake) -> memoryview | None:
        """The next full buffer; a client may be slow, but not silent."""
        while True:
            left = intake.left
            try:
                async with asyncio.timeout(self._options.idle_timeout_s):
                    return await intake.take()
            except TimeoutError:
                if intake.left == left:
                    raise HttpProblem(408, close=True) from None

    async def _in_chunks(self, part: PartFile, hasher: Hasher) -> None:
        pending: asyncio.Task[None] | None = None
        batch: list[bytes | memoryview] = []
        size = 0
        try:
            while chunk := await self._chunk():
                batch.append(chunk)
                size += len(chunk)
                if size >= _BATCH_BYTES:
                    if pending is not None:
                        await pending
                    pending = asyncio.create_task(self._store(part, hasher, batch))
                    batch, size = [], 0
        finally:
            if pending is not None:
                await pending
            if batch:
                await self._store(part, hasher, batch)

    async def _continue(self) -> None:
        request = self._exchange.request
        if "Expect" in request.headers and request.version >= (1, 1):
            await self._exchange.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    async def _chunk(self) -> bytes:
        """The next bytes, or ``b""`` at the end of a complete body."""
        exchange, effects = self._exchange, self._exchange.effects
        content = exchange.request.content
        try:
            async with asyncio.timeout(self._options.idle_timeout_s):
                if effects.upload_bandwidth is None and effects.upload_cut_after is None:
                    chunk = await content.readany()
                else:
                    chunk = await content.read(16 * 1024)
        except TimeoutError:
            raise HttpProblem(408, close=True) from None
        except ConnectionError:
            raise
        except Exception as error:  # aiohttp has several for a body that breaks off
            exchange.error = "the body broke off"
            raise HttpProblem(400, exchange.error, close=True) from error
        exchange.bytes_received += len(chunk)
        await self._faults(len(chunk))
        limit = self._options.max_body_bytes
        if limit is not None and exchange.bytes_received > limit:
            raise HttpProblem(413, close=True)
        return chunk

    async def _faults(self, length: int) -> None:
        exchange, effects = self._exchange, self._exchange.effects
        if effects.upload_bandwidth is not None and length:
            await exchange.pause(length / effects.upload_bandwidth)
        cut_after = effects.upload_cut_after
        if cut_after is not None and exchange.bytes_received >= cut_after:
            await exchange.cut(reset=effects.reset)
            raise ConnectionAbortedError("cut by a fault")

    async def _store(
        self, part: PartFile, hasher: Hasher, batch: Sequence[bytes | memoryview]
    ) -> None:
        try:
            await in_thread(self._pool, _write, part, hasher, batch)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise HttpProblem(507, close=True) from error
            if error.errno == errno.EFBIG:
                raise HttpProblem(413, close=True) from error
            raise


def _write(part: PartFile, hasher: Hasher, batch: Sequence[bytes | memoryview]) -> None:
    part.write(batch)
    for chunk in batch:
        hasher.update(chunk)
