"""Links: connections of our own, for the first reads of a process (``http_first``).

A link has one exchange at a time: a request, a plain head (``http_plain``), a body.  The answer has
the members of aiohttp's that bodies are received by (``http_body``, ``http_takeover``), so nobody
has to know which of the two it is.

Rules:

1. What is not plain ends the link with ``UnusualError``; aiohttp is to ask again.
2. Bytes behind the end of a body are kept from whoever receives it, and end the link.
3. Who receives no more than comes stops the server: reading pauses above ``HELD_BYTES_MAX``.

Everything on the client's loop.
"""

from __future__ import annotations

import asyncio
from typing import Any

from netcache.backends.http_plain import PlainFields, PlainHead, UnusualError, next_head

__all__ = ["Link", "LinkAnswer"]

HELD_BYTES_MAX = 256 * 1024


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

    States: free; waiting for a head; in a body; ended.
    """

    def __init__(self) -> None:
        self.transport: Any = None
        self.is_free = True
        self.was_used = False
        self._head: asyncio.Future[LinkAnswer] | None = None
        self._answer: LinkAnswer | None = None
        self._begun = b""
        self._to_head = False
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
        if self.has_ended:
            # Nobody would ever hear of an answer.
            raise ConnectionResetError("the connection has ended")
        self.is_free = False
        self._to_head = to_head
        self._head = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        try:
            return await self._head
        except BaseException:
            self.abort()
            raise

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
        data = self._begun + data
        waiter, head = self._head, None
        try:
            head = next_head(data, to_head=self._to_head)
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
        error = ConnectionResetError(str(exc) if exc is not None else "the server closed it")
        if self._head is not None and not self._head.done():
            self._head.set_exception(error)
        if self._answer is not None:
            self._answer.content.fail(error)

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
