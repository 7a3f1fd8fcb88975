"""Large request bodies, received by the kernel straight into buffers that are written from there.

aiohttp's stream hands out many small ``bytes``, each allocated, copied and freed; for a body of
known length this takes its place on the transport until the body has ended.

Rules:

1. Never a byte more than the body is read, so what follows on the connection is untouched.
2. Memory is ``SLABS`` buffers: when all are full, reading pauses until one comes back.
3. Afterwards aiohttp goes on as if it had parsed the body itself.  Where that cannot be arranged
   (another version of aiohttp, TLS), ``usable`` says so and its stream is used.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Self

from netcache_server.exchange import Connection, Exchange

SLAB_BYTES = 1 << 20
SLABS = 3
MIN_BYTES = SLAB_BYTES
"""Below this the stream costs less than the change of protocols."""


def usable(exchange: Exchange) -> bool:
    """Whether the body of a request can be received this way."""
    length = exchange.request.content_length
    effects = exchange.effects
    return (
        length is not None
        and length >= MIN_BYTES
        and effects.upload_bandwidth is None
        and effects.upload_cut_after is None
        and exchange.transport.get_extra_info("sslcontext") is None
        and exchange.connection.prepare_parser()
    )


class Intake(asyncio.BufferedProtocol):
    """Stands in for a connection on its transport while one body is received."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._connection: Connection = exchange.connection
        self._transport = exchange.transport
        self._left = 0
        self._free = deque(memoryview(bytearray(SLAB_BYTES)) for _ in range(SLABS))
        self._filled: deque[memoryview] = deque()
        self._current: memoryview | None = None
        self._used = 0
        self._wake = asyncio.Event()
        self._broken = False

    def begin(self) -> list[bytes]:
        """Take the transport over; gives the start of the body, which aiohttp had already."""
        content = self._exchange.request.content
        start: list[bytes] = []
        self._transport.pause_reading()
        while chunk := content.read_nowait(-1):
            start.append(chunk)
            # Reading may have gone on because there was room in the stream again.
            self._transport.pause_reading()
        self._left = (self._exchange.request.content_length or 0) - content.total_bytes
        if self._left > 0:
            self._transport.set_protocol(self)
        self._transport.resume_reading()
        return start

    @property
    def left(self) -> int:
        """How many bytes of the body have not come yet."""
        return self._left

    async def take(self) -> memoryview | None:
        """The next full buffer, or ``None`` after the last.

        When the body broke off, what had come before is taken first.  Raises
        ``ConnectionResetError``.
        """
        while not self._filled:
            if self._broken:
                if self._current is not None and self._used:
                    slab, self._current = self._current[: self._used], None
                    return slab
                raise ConnectionResetError("the body broke off")
            if self._left == 0:
                return None
            self._wake.clear()
            await self._wake.wait()
        return self._filled.popleft()

    def give_back(self, slab: memoryview) -> None:
        """A buffer that was taken may be filled again."""
        whole = slab.obj
        assert isinstance(whole, bytearray)
        self._free.append(memoryview(whole))
        if self._left > 0 and not self._broken and not self._transport.is_closing():
            self._transport.resume_reading()

    def end(self) -> None:
        """Give the transport back: for the next request, or to be closed if bytes are missing."""
        if self._transport.get_protocol() is not self:
            return
        self._transport.pause_reading()
        self._transport.set_protocol(self._connection)
        if self._left == 0:
            self._connection.renew_parser()
            self._exchange.request.content.feed_eof()
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Called by the loop: where the next bytes go."""
        if self._current is None:
            self._current, self._used = self._free.popleft(), 0
        return self._current[self._used : min(SLAB_BYTES, self._used + self._left)]

    def buffer_updated(self, nbytes: int) -> None:
        """Called by the loop: so many bytes have come."""
        assert self._current is not None
        self._used += nbytes
        self._left -= nbytes
        self._exchange.bytes_received += nbytes
        if self._used == SLAB_BYTES or self._left == 0:
            self._filled.append(self._current[: self._used])
            self._current = None
            self._wake.set()
            if self._left == 0 or not self._free:
                self._transport.pause_reading()

    def eof_received(self) -> None:
        """Called by the loop: the client sends no more."""
        self._broken = True
        self._wake.set()

    def connection_lost(self, error: BaseException | None) -> None:
        """Called by the loop: the connection is gone."""
        self._broken = True
        self._wake.set()
        self._connection.connection_lost(error)

    def pause_writing(self) -> None:
        """Called by the loop."""
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        """Called by the loop."""
        self._connection.resume_writing()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
