"""Receiving a body by our own protocol on aiohttp's transport.

aiohttp hands a body out as many small ``bytes``, which costs twice what the socket needs.  An
identity body of known length is therefore received here: reading is paused, what aiohttp's parser
has already passed on is taken, our protocol is put on the transport, exactly the rest of the body
is received into large buffers, and aiohttp's protocol is put back and told that the body has
ended, so that its pool reuses the connection.  It works above TLS as well.

This leans on a few members of aiohttp that are not all documented.  ``find_seat`` checks each of
them and returns None when anything is not as expected; the caller then takes aiohttp's stream.  A
test proves for the aiohttp at hand that the seat is found.

States of a ``BodyReceiver``: receiving; settled (``done`` has a result or an exception, reading is
paused).  It is on the transport from ``sit_down`` to ``stand_up``.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

from netcache.backends.http_pieces import Pieces
from netcache.backends.throttle import Throttle
from netcache.errors import RemoteTimeoutError, TransientError

if TYPE_CHECKING:
    from netcache.backends.http_body import Response

__all__ = ["BodyReceiver", "Seat", "find_seat"]


class Seat(NamedTuple):
    """Where a receiver can sit: the transport, aiohttp's protocol on it, and the body's stream."""

    transport: Any
    protocol: Any
    content: Any


def find_seat(response: Response) -> Seat | None:
    """The seat of a response whose body is still coming; None when it must be streamed."""
    connection = response.connection
    protocol: Any = connection.protocol if connection is not None else None
    transport: Any = getattr(protocol, "transport", None)
    content: Any = response.content
    wanted = (
        (transport, ("set_protocol", "get_protocol", "pause_reading", "resume_reading", "abort")),
        (protocol, ("pause_reading", "resume_reading", "connection_lost")),
        (content, ("read_nowait", "feed_eof", "is_eof", "exception", "total_bytes")),
    )
    if any(not hasattr(thing, name) for thing, names in wanted for name in names):
        return None
    if transport.get_protocol() is not protocol or transport.is_closing():
        return None
    if content.is_eof() or content.exception() is not None:
        return None
    return Seat(transport, protocol, content)


def drain(seat: Seat) -> list[bytes]:
    """Pause reading and take all that the parser has passed on.  Nothing arrives meanwhile: this
    never suspends."""
    chunks: list[bytes] = []
    while True:
        # Taking makes aiohttp resume reading, which may pass on what its parser had put aside.
        if not seat.content.is_eof():
            seat.protocol.pause_reading()
        chunk = seat.content.read_nowait()
        if not chunk:
            return chunks
        chunks.append(chunk)


def let_the_parser_end(seat: Seat) -> None:
    """All bytes were drained: let aiohttp's parser, paused on the last of them, see the end."""
    if not seat.content.is_eof():
        seat.protocol.resume_reading()


class BodyReceiver(asyncio.BufferedProtocol):
    """Receives the rest of one body into ``pieces``; ``done`` tells how it ended."""

    def __init__(self, seat: Seat, pieces: Pieces, throttle: Throttle, timeout_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._seat = seat
        self._pieces = pieces
        self._throttle = throttle
        self._timeout_s = timeout_s
        self._offered = 0
        self._heard_at = self._loop.time()
        self._watchdog: asyncio.TimerHandle | None = None
        self._resuming: asyncio.TimerHandle | None = None
        self._lost = False
        self.done: asyncio.Future[None] = self._loop.create_future()

    def sit_down(self) -> None:
        """Take the transport over and begin to read."""
        self._seat.transport.set_protocol(self)
        self._watch(self._timeout_s)
        self._seat.transport.resume_reading()

    def stand_up(self) -> None:
        """Put aiohttp's protocol back; reading stays paused.  Idempotent."""
        for timer in (self._watchdog, self._resuming):
            if timer is not None:
                timer.cancel()
        if not self._lost and self._seat.transport.get_protocol() is self:
            self._seat.transport.pause_reading()
            self._seat.transport.set_protocol(self._seat.protocol)

    # What the transport calls.

    def get_buffer(self, sizehint: int) -> Any:
        """Where the next bytes go."""
        room = self._pieces.room()
        self._offered = len(room)
        return room

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes have come."""
        if self.done.done():
            return
        self._heard_at = self._loop.time()
        try:
            self._pieces.added(nbytes, more_waiting=nbytes == self._offered)
            self._pieces.check_length()
        except BaseException as error:
            self._settle(error)
            return
        pause_s = self._throttle.spend(nbytes)
        if self._pieces.complete:
            self._settle(None)
        elif pause_s > 0:
            self._seat.transport.pause_reading()
            self._resuming = self._loop.call_later(pause_s, self._resume)

    def eof_received(self) -> bool:
        """The server has closed its side."""
        self._settle(TransientError("the server closed the connection"))
        return False

    def connection_lost(self, exc: BaseException | None) -> None:
        """The connection is gone; aiohttp's pool must hear of it too."""
        self._lost = True
        self._settle(TransientError(f"the connection was lost ({exc or 'closed'})"))
        self._seat.protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        """Not ours: passed on."""
        self._seat.protocol.pause_writing()

    def resume_writing(self) -> None:
        """Not ours: passed on."""
        self._seat.protocol.resume_writing()

    # Timers.

    def _resume(self) -> None:
        self._resuming = None
        self._heard_at = self._loop.time()
        if not self.done.done():
            self._seat.transport.resume_reading()

    def _watch(self, after_s: float) -> None:
        self._watchdog = self._loop.call_later(after_s, self._look)

    def _look(self) -> None:
        left_s = self._heard_at + self._timeout_s - self._loop.time()
        if self._resuming is not None:
            left_s = self._timeout_s
        if left_s > 0:
            self._watch(left_s)
        else:
            self._settle(RemoteTimeoutError(f"no byte came for {self._timeout_s:g} s"))

    def _settle(self, error: BaseException | None) -> None:
        if self.done.done():
            return
        if not self._lost:
            self._seat.transport.pause_reading()
        if error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(error)
