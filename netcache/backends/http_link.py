"""Links: connections of our own, for the first requests of a process (``http_first``).

A link has one exchange at a time: a request, a plain head (``http_plain``), a body.  The answer has
the members of aiohttp's that bodies are received by (``http_body``, ``http_takeover``), so nobody
has to know which of the two it is.

Rules:

1. What is not plain ends the link with ``UnusualError``; aiohttp is to ask again.
2. Bytes behind the end of a body are kept from whoever receives it, and end the link.
3. Who receives no more than comes stops the server: reading pauses above ``HELD_BYTES_MAX``.
4. The answer to an upload may come before all of that is sent, which ends then.  What its body is
   matters to nobody: where its end cannot be told, the link ends with the head.

Everything on the client's loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from netcache._finishing import finished
from netcache.backends.http_plain import (
    PlainFields,
    PlainHead,
    UnusualError,
    after_continue,
    next_head,
)
from netcache.backends.http_query import EXPECT_WAIT_S

__all__ = ["Link", "LinkAnswer", "SendBody"]

HELD_BYTES_MAX = 256 * 1024

SendBody = Callable[["Link"], Awaitable[None]]
"""Sends the body of a request on a link; ends when the kernel has all of it."""


class LinkBody:
    """The body of an answer, as it comes."""

    def __init__(self, link: Link, length: int) -> None:
        self.total_bytes = 0
        self._link = link
        self._length = length
        self._held: list[bytes] = []
        self._error: Exception | None = None
        self._has_ended = length == 0
        self._news: asyncio.Future[None] | None = None

    def feed(self, data: bytes) -> None:
        """More has come; what is beyond the end is passed over."""
        data = data[: self._length - self.total_bytes]
        self.total_bytes += len(data)
        self._held.append(data)
        if self.total_bytes == self._length:
            self._has_ended = True
        elif sum(map(len, self._held)) > HELD_BYTES_MAX:
            self._link.pause_reading()
        self._tell()

    def feed_eof(self) -> None:
        """Somebody else has received the rest."""
        self._has_ended = True
        self._tell()

    def fail(self, error: Exception) -> None:
        """No more will come."""
        if not self._has_ended:
            self._error = error
            self._tell()

    def _tell(self) -> None:
        news, self._news = self._news, None
        if news is not None and not news.done():
            news.set_result(None)

    def exception(self) -> Exception | None:
        """Why the rest will not come."""
        return self._error

    def is_eof(self) -> bool:
        """Whether all of it has come."""
        return self._has_ended

    def read_nowait(self) -> bytes:
        """What is there; empty when nothing is."""
        held, self._held = self._held, []
        return b"".join(held)

    async def readany(self) -> bytes:
        """What is there, or comes next; empty at the end."""
        while not self._held and not self._has_ended:
            if self._error is not None:
                raise self._error
            self._link.resume_reading()
            self._news = asyncio.get_running_loop().create_future()
            await self._news
        return self.read_nowait()


class LinkAnswer:
    """An answer whose head is there."""

    def __init__(self, link: Link, head: PlainHead) -> None:
        self.status = head.status
        self.headers = PlainFields(head.fields)
        self.content_length = head.body_bytes
        self.content = LinkBody(link, head.body_bytes)
        self.connection = link

    def release(self) -> None:
        """All of it was received: the link can have the next exchange.  Idempotent."""
        self.connection.end_exchange(self)

    def close(self) -> None:
        """End it, and the link, wherever it is."""
        self.connection.abort()


class Link(asyncio.Protocol):
    """One connection.

    States: free; sending a body; waiting for a head; in a body; ended.
    """

    def __init__(self) -> None:
        self.transport: Any = None
        self.is_free = True
        self.was_used = False
        self._head: asyncio.Future[LinkAnswer] | None = None
        self._answer: LinkAnswer | None = None
        self._begun = b""
        self._to_head = False
        # In an upload: done with the word that its body is welcome.
        self._welcome: asyncio.Future[None] | None = None
        # While what was written does not leave.
        self._stuck: asyncio.Future[None] | None = None
        self._is_last = False
        self._excess: UnusualError | None = None

    @property
    def protocol(self) -> Link:
        """What receives on the transport, but for who sits there in its place."""
        return self

    @property
    def has_ended(self) -> bool:
        """Whether it can have no exchange any more."""
        return self.transport is None or self.transport.is_closing()

    async def ask(self, request: bytes, *, to_head: bool) -> LinkAnswer:
        """Send a request, on a free link; returns when the head of the answer is there.

        Raises ``UnusualError``, and ``ConnectionResetError`` when none comes.
        """
        head = self._begin(request, to_head=to_head)
        try:
            return await head
        except BaseException:
            self.abort()
            raise

    async def send(
        self, request: bytes, body: SendBody, *, expects: bool, timeout_s: float
    ) -> LinkAnswer:
        """Send a request with a body, on a free link; returns when the head of the answer is there.

        ``expects``: the request says that it waits for ``100 Continue``.  Raises what ``body``
        raises, ``UnusualError``, ``ConnectionResetError`` when no head comes, and ``TimeoutError``
        when none comes for ``timeout_s`` after the body.
        """
        if self.transport is not None:
            # The body may be sent past the transport, which must have nothing of its own to send.
            self.transport.set_write_buffer_limits(0)
        welcome = self._welcome = asyncio.get_running_loop().create_future()
        head = self._begin(request, to_head=False)
        try:
            if expects:
                await _first_of(head, welcome, timeout_s=EXPECT_WAIT_S)
            if head.done():
                # The server may take what comes next for the body that it was told of.
                self._is_last = True
            else:
                await self.flushed()
                await self._send_body(head, body, timeout_s)
            return head.result()
        except BaseException:
            self.abort()
            raise
        finally:
            self._welcome = None
            head.cancel()

    async def _send_body(
        self, head: asyncio.Future[LinkAnswer], body: SendBody, timeout_s: float
    ) -> None:
        """Send it, as long as there is no answer; returns when there is one."""
        sending = asyncio.ensure_future(body(self))
        try:
            await _first_of(head, sending)
            if not head.done():
                # What went wrong, if anything did.
                sending.result()
            elif not sending.done() or sending.exception() is not None:
                self._is_last = True
        finally:
            sending.cancel()
            await finished(asyncio.gather(sending, return_exceptions=True))
        await _first_of(head, timeout_s=timeout_s)
        if not head.done():
            raise TimeoutError

    async def flushed(self) -> None:
        """Return when all that was written has left.  Raises ``ConnectionResetError``."""
        if self._stuck is not None:
            await asyncio.shield(self._stuck)

    def _begin(self, request: bytes, *, to_head: bool) -> asyncio.Future[LinkAnswer]:
        if self.has_ended:
            # Nobody would ever hear of an answer.
            raise ConnectionResetError("the connection has ended")
        self.is_free = False
        self._to_head = to_head
        self._head = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self._head

    def end_exchange(self, answer: LinkAnswer) -> None:
        """``answer`` was received."""
        if answer is not self._answer:
            return
        self._answer = None
        if self._is_last or self._excess is not None or not answer.content.is_eof():
            self.abort()
        if not self.has_ended:
            self.is_free = True
            self.resume_reading()

    def abort(self) -> None:
        """Give the connection up.  Idempotent."""
        if self.transport is not None:
            self.transport.abort()

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """A head, or a part of one, or of a body."""
        if self._head is not None:
            self._take_head(data)
        elif self._answer is not None:
            self._take_body(self._answer, data)
        else:
            # Nobody has asked.
            self.abort()

    def _take_head(self, data: bytes) -> None:
        assert self._head is not None
        data, welcome = self._begun + data, self._welcome
        # (With proxies on the way it may be said more than once.)
        while welcome is not None and (rest := after_continue(data)) is not None:
            data = rest
            if not welcome.done():
                welcome.set_result(None)
        waiter, head = self._head, None
        try:
            head = next_head(data, to_head=self._to_head, ends_with_head=welcome is not None)
        except UnusualError as error:
            self._head = None
            if not waiter.done():
                waiter.set_exception(error)
            return
        if head is None:
            self._begun = data
            return
        self._begun, self._head, self.was_used = b"", None, True
        self._is_last = head.is_last
        answer = self._answer = LinkAnswer(self, head)
        if len(data) > head.end:
            self._take_body(answer, data[head.end :])
        if not waiter.done():
            waiter.set_result(answer)

    def _take_body(self, answer: LinkAnswer, data: bytes) -> None:
        content = answer.content
        if len(data) > answer.content_length - content.total_bytes:
            self._excess = UnusualError("more came than an answer")
        if not content.is_eof():
            content.feed(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        """The connection is gone."""
        # (What is asked of a transport after its end may be an error.)
        self.transport = None
        error = ConnectionResetError(str(exc) if exc is not None else "the server closed it")
        if self._head is not None and not self._head.done():
            self._head.set_exception(error)
        if self._answer is not None:
            self._answer.content.fail(error)
        if self._stuck is not None and not self._stuck.done():
            self._stuck.set_exception(error)
            # Whether anybody waits for it or not.
            self._stuck.exception()

    def pause_writing(self) -> None:
        """What was written does not leave for now."""
        self._stuck = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        """All of it has left."""
        stuck, self._stuck = self._stuck, None
        if stuck is not None and not stuck.done():
            stuck.set_result(None)

    # What whoever receives the body calls.

    def exception(self) -> Exception | None:
        """What was wrong with what came behind the answer."""
        return self._excess

    def pause_reading(self) -> None:
        """Let nothing come for now."""
        if not self.has_ended:
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Let more come."""
        if not self.has_ended:
            self.transport.resume_reading()


async def _first_of(*waited: asyncio.Future[Any], timeout_s: float | None = None) -> None:
    """Return when one of them is done, or the time is over.  None is cancelled."""
    await asyncio.wait(waited, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
