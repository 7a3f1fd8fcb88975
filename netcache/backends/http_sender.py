"""Senders of bodies: what goes into a request, counted, limited and watched.

Rules:

1. Exactly the announced number of bytes is sent, or the upload fails before it is complete.
2. Each body has one pass at a time; the one before is ended first.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

from netcache.backends.http_pump import pump_runs
from netcache.errors import RemoteError, UsageError
from netcache.spi import FileBody, FileRun, UploadBody

if TYPE_CHECKING:
    from netcache.backends.http_file_payload import FilePayload
    from netcache.backends.http_link import Link, SendBody
    from netcache.backends.http_pump import Pump
    from netcache.backends.throttle import Throttle

__all__ = ["BodySender"]

PIECE_BYTES = 256 * 1024
"""How much is handed to the transport at a time; each piece proves that the upload goes on."""
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
        if self._runs_now():
            from netcache.backends.http_file_payload import FilePayload

            self._need_sendable()
            return FilePayload(self)
        return self.pieces()

    def on_link(self) -> SendBody | None:
        """Sends the body on a link of our own; None for one that is not for that."""
        body = self.body
        if self._throttle.limited or body.size is None or not body.replayable:
            return None
        return self._send_on

    async def _send_on(self, link: Link) -> None:
        transport = link.transport
        if self._runs_now():
            await pump_runs(transport, self)
            return
        async for piece in self.pieces():
            transport.write(piece)
            await link.flushed()

    def _runs_now(self) -> bool:
        """Whether the body goes from its files, past the loop."""
        body = self.body
        return not self._throttle.limited and isinstance(body, FileBody) and body.may_run()

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
