"""One PUT: a body streamed to the server, and what its reply proves.

Rules:

1. Exactly the announced number of bytes is sent, or the upload fails before it is complete.
2. A server that takes no byte for the timeout is given up; one that answers early is heard.
3. A digest that the server reports is always compared.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from netcache._core.coherency import Version
from netcache.backends.http_fields import (
    Fields,
    mtime_of,
    sha256_digest,
    sha256_field,
    validator_of,
)
from netcache.backends.http_pump import FilePayload, Pump
from netcache.backends.http_wire import WANT_DIGEST, condition_headers
from netcache.errors import IntegrityError, RemoteError, RemoteTimeoutError, UsageError
from netcache.spi import UNCONDITIONAL, FileBody, FileRun, MemoryBody, UploadBody, UploadCondition

if TYPE_CHECKING:
    from netcache._core.urls import Resource
    from netcache.backends.http_session import Exchange, HttpSession
    from netcache.backends.throttle import Throttle

__all__ = ["BodySender", "send_body", "send_once", "stored_version"]

PIECE_BYTES = 256 * 1024
"""How much is handed to the transport at a time; each piece proves that the upload goes on."""
EXPECT_BYTES_MIN = 1 << 20
"""From this size on a conditional upload asks first whether it is welcome."""
_ENDING_STEP_S = 0.001
_ENDING_STEPS_MAX = 10_000
_Pass = AsyncGenerator[Any, None]

# From 3.12 on asyncio keeps what it could not send at once without copying it.
_TRANSPORT_KEEPS_VIEWS = sys.version_info >= (3, 12)


class BodySender:
    """Feeds one body to requests: counts it, limits its rate, notices when it stands still.

    ``begun`` is set once any of it was asked for, ``sent_all`` once the last pass came to the end;
    ``sent_bytes`` is where that pass is (it may have begun in the middle, ``ResumableBody``; a run
    counts as soon as it is under way), and ``moved_bytes`` what was given to connections in all
    passes;
    ``failure`` is what went wrong in the body itself, which aiohttp would wrap beyond recognition.

    The last piece is handed over only when the body is known to be at its end: a server that has
    all bytes may answer at once, and aiohttp then cancels whatever the body is still doing; and a
    body that is longer than announced must not get as far as being complete.
    """

    def __init__(self, body: UploadBody, throttle: Throttle) -> None:
        self.body = body
        self.begun = False
        self.failure: BaseException | None = None
        self.sent_bytes = 0
        self.sent_all = False
        self.moved_bytes = 0
        self.moved_at = 0.0
        self._run_bytes = 0
        self.waiting_for_server = False
        self._throttle = throttle
        self._pass: _Pass | None = None

    @property
    def may_send(self) -> bool:
        """Whether the body can be sent (again)."""
        return self.body.replayable or not self.begun

    def payload(self) -> FilePayload | AsyncGenerator[bytes | memoryview, None]:
        """The body for one request; the pass before it is ended first."""
        body = self.body
        if not self._throttle.limited and isinstance(body, FileBody) and body.may_run():
            self._need_sendable()
            return FilePayload(self)
        return self.pieces()

    def _need_sendable(self) -> None:
        if not self.may_send:
            raise RemoteError(
                "upload failed: the server redirects it after its body was read, "
                "and it cannot be read again; use the URL that it points to"
            )

    def pieces(self) -> AsyncGenerator[bytes | memoryview, None]:
        """The body in pieces, for a pass of its own."""
        self._need_sendable()
        self._pass = passing = self._pieces(self._pass)
        return passing

    def runs(self, pump: Pump) -> AsyncGenerator[FileRun, None]:
        """The body in runs of files, for a pass of its own, which ends with the end of ``pump``."""
        self._need_sendable()
        self._pass = passing = self._runs(self._pass, pump)
        return passing

    def moving(self, count: int) -> None:
        """``count`` bytes of a run go out next; called on any thread, one at a time.

        Told before, because the answer to the last byte may be read before its sender goes on.
        """
        self.moved_at = time.monotonic()
        self.moved_bytes += count
        self._run_bytes += count
        self.sent_all = self._run_bytes == self.body.size

    @property
    def start(self) -> int:
        """Where a pass of the body begins."""
        start: int = getattr(self.body, "start", 0)
        return start

    def ended_at(self, total: int) -> None:
        """The source had only ``total`` bytes; raises."""
        try:
            self._check_size(total, final=True)
        except UsageError as error:
            self.failure = error
            raise

    async def close(self) -> None:
        """End the pass that is under way, if any: nobody reads the body any more."""
        current, self._pass = self._pass, None
        await _end(current)

    async def _pieces(self, former: _Pass | None) -> AsyncGenerator[bytes | memoryview, None]:
        await _end(former)
        self.begun, self.sent_bytes, self.sent_all = True, self.start, False
        chunks = self.body.chunks()
        try:
            async for chunk in chunks:
                for piece in self._cut(chunk):
                    if self.sent_bytes + len(piece) == self.body.size:
                        piece = bytes(piece)
                        await self._exhaust(chunks)
                    self._hand_over(len(piece))
                    # A server may answer as soon as it has the last byte, before the body has
                    # ended here.
                    self.sent_all = self.sent_bytes == self.body.size
                    self.moved_bytes += len(piece)
                    yield piece
                    self.waiting_for_server = False
                    await self._throttle.pass_bytes(len(piece))
            self._check_size(self.sent_bytes, final=True)
            self.sent_all = True
        except Exception as error:
            self.failure = error
            raise
        finally:
            self.waiting_for_server = False
            await _end(chunks)

    async def _runs(self, former: _Pass | None, pump: Pump) -> AsyncGenerator[FileRun, None]:
        assert isinstance(self.body, FileBody)
        await _end(former)
        self.begun, self.sent_bytes, self.sent_all = True, self.start, False
        self._run_bytes = self.start
        runs = self.body.runs()
        try:
            async for run in runs:
                self._check_size(run.end)
                if run.end == self.body.size:
                    await self._exhaust_runs(runs)
                self._hand_over(run.end - run.start)
                yield run
                self.waiting_for_server = False
            self._check_size(self.sent_bytes, final=True)
            self.sent_all = True
        except Exception as error:
            self.failure = error
            raise
        finally:
            self.waiting_for_server = False
            try:
                await pump.end()
            finally:
                await _end(runs)

    async def _exhaust_runs(self, runs: AsyncIterator[FileRun]) -> None:
        async for more in runs:
            self._check_size(more.end)

    def _cut(self, chunk: bytes | memoryview) -> Iterator[bytes | memoryview]:
        """A chunk in pieces of a size that shows whether the upload goes on."""
        self._check_size(self.sent_bytes + len(chunk))
        view = memoryview(chunk)
        if _TRANSPORT_KEEPS_VIEWS and not isinstance(chunk, bytes):
            view = memoryview(bytes(chunk))
        step = min(PIECE_BYTES, self._throttle.step_bytes)
        return (view[start : start + step] for start in range(0, len(view), step))

    async def _exhaust(self, chunks: AsyncIterator[bytes | memoryview]) -> None:
        """The body has given all that it announced: let it end, or fail if it goes on."""
        async for more in chunks:
            self._check_size((self.body.size or 0) + len(more))

    def _hand_over(self, count: int) -> None:
        self.sent_bytes += count
        self.moved_at = time.monotonic()
        self.waiting_for_server = True

    def _check_size(self, total: int, *, final: bool = False) -> None:
        size = self.body.size
        if size is not None and (total > size or (final and total < size)):
            gave = "more" if total > size else f"only {total}"
            raise UsageError(f"a body of {size} bytes was announced, but it gave {gave}")


async def _end(chunks: AsyncIterator[Any] | None) -> None:
    """Close an asynchronous generator, also one that a cancelled task is just leaving."""
    close = getattr(chunks, "aclose", None)
    if close is None:
        return
    for _ in range(_ENDING_STEPS_MAX):
        try:
            return await close()  # type: ignore[no-any-return]
        except RuntimeError as error:
            if "running" not in str(error):
                raise
        await asyncio.sleep(_ENDING_STEP_S)


async def send_once(
    session: HttpSession,
    resource: Resource,
    sender: BodySender,
    condition: UploadCondition,
    mtime_s: float | None,
    *,
    want_digest: bool,
    expect: bool,
) -> Exchange:
    """One PUT of the body; raises what went wrong in the body itself as it was."""
    body = sender.body
    headers = condition_headers(condition)
    headers["Content-Type"] = "application/octet-stream"
    if body.size is not None:
        headers["Content-Length"] = str(body.size)
    if mtime_s is not None:
        headers["X-OC-Mtime"] = str(int(mtime_s))
    if isinstance(body, MemoryBody):
        headers["Content-Digest"] = sha256_field(hashlib.sha256(body.data).digest())
    if want_digest:
        headers |= WANT_DIGEST
    careful = condition != UNCONDITIONAL or not body.replayable
    large = body.size is None or body.size > EXPECT_BYTES_MIN
    return await send_body(
        session,
        "PUT",
        resource,
        sender,
        headers,
        what="upload",
        expect=expect and careful and large,
    )


async def send_body(
    session: HttpSession,
    method: str,
    resource: Resource,
    sender: BodySender,
    headers: Mapping[str, str],
    *,
    what: str,
    expect: bool,
) -> Exchange:
    """One request with the body of ``sender``; raises what went wrong in the body as it was.

    With ``expect`` the server is asked first whether the body is welcome.
    """
    sender.failure = None
    asking = session.ask(
        method, resource, headers, what=what, payload=sender.payload, expect100=expect
    )
    try:
        return await _watched(
            asking, sender, session.options.timeout_s, f"{what} of {resource.url}", resource.url
        )
    except Exception as error:
        if sender.failure is not None:
            raise sender.failure from error
        raise


async def _watched(
    asking: Coroutine[Any, Any, Exchange],
    sender: BodySender,
    timeout_s: float,
    what: str,
    url: str,
) -> Exchange:
    """Wait for the reply; give up when the server takes no byte for ``timeout_s``.

    aiohttp's own timeout begins only when the whole body has been sent.
    """
    task = asyncio.ensure_future(asking)
    try:
        while True:
            done, _ = await asyncio.wait([task], timeout=timeout_s / 4)
            if done:
                return task.result()
            if sender.waiting_for_server and time.monotonic() - sender.moved_at > timeout_s:
                raise RemoteTimeoutError(
                    f"{what} failed: the server took no byte for {timeout_s:g} s", url=url
                )
    finally:
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def stored_version(
    url: str, sender: BodySender, fields: Fields, mtime_kept_s: float | None
) -> Version | None:
    """The version that a successful upload made; None when the reply does not prove one.

    ``mtime_kept_s`` is the time that the server said to keep.  Raises ``IntegrityError`` when the
    server reports another digest than that of what was sent.
    """
    reported = sha256_digest(fields.get("Repr-Digest"))
    if reported is not None:
        own = await sender.body.sha256()
        if own is not None and own != reported:
            raise IntegrityError(
                f"upload of {url} failed: the server stored other bytes than were sent "
                f"(its SHA-256 is {reported.hex()}, ours {own.hex()})",
                url=url,
            )
    validator = validator_of(fields)
    if not validator.joins_ranges:
        return None
    mtime_s = mtime_of(fields)
    if mtime_s is None and mtime_kept_s is not None:
        mtime_s = int(mtime_kept_s)
    return Version(validator, sender.sent_bytes, mtime_s)
