"""Bodies that a worker thread sends from files, past the event loop and its buffers.

The loop stays free to read an early answer.  Small steps keep the bytes in the processor's cache
between reading and sending; ``sendfile`` was measured slower on loopback, where the receiver then
finds them cold.  Where the connection is encrypted, or the rate is limited, the same body goes in
pieces through the loop.
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
import threading
from collections.abc import AsyncGenerator, Generator
from contextlib import closing
from typing import TYPE_CHECKING, Protocol

from netcache._finishing import finished
from netcache._fscache.buffers import page_buffer

if TYPE_CHECKING:
    from netcache.spi import FileRun

__all__ = ["Pump", "Sender", "pump_runs"]

STEP_BYTES = 256 << 10
"""What is read and sent at a time: it stays in the processor's cache between the two, and the
interpreter, which other threads want too, is asked for it four thousand times a GiB."""

NEAR_BYTES = 96 << 10
"""The send buffer to a server on this machine (the kernel doubles it).  It would let megabytes wait
there, which the server finds cold: with this nginx needed a fifth less of its processor."""

ANSWER_WAIT_S = 0.2
"""How long an answer is waited for when the server has closed the connection in the middle."""
_POLL_MS = 200


class Sender(Protocol):
    """Who has the body, and watches over its sending; see ``http_upload``.

    ``failure`` is what went wrong in the body itself.
    """

    failure: BaseException | None

    def pieces(self) -> AsyncGenerator[bytes | memoryview, None]:
        """The body in pieces, for a pass of its own."""

    def runs(self, pump: Pump) -> AsyncGenerator[FileRun, None]:
        """The body in runs of files, for a pass of its own, which ends with the end of ``pump``."""

    def moving(self, count: int) -> None:
        """``count`` bytes go out next, all before are taken; called on any thread."""

    def ended_at(self, total: int) -> None:
        """The source had only ``total`` bytes; raises."""


async def pump_runs(transport: asyncio.BaseTransport, sender: Sender) -> None:
    """Send the runs of ``sender`` over a plain connection, whose transport has nothing to send."""
    sock = transport.get_extra_info("socket")
    if _is_near(transport):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, NEAR_BYTES)
    pump = Pump(sock.fileno(), sender)
    try:
        async for run in sender.runs(pump):
            await _send(pump, sender, run)
    finally:
        await pump.end()


async def _send(pump: Pump, sender: Sender, run: FileRun) -> None:
    try:
        position = await pump.sent(run)
    except OSError:
        # The answer that made the server close may be here already: let it be read.
        await asyncio.sleep(ANSWER_WAIT_S)
        raise
    if position < run.end:
        sender.ended_at(position)


def _is_near(transport: asyncio.BaseTransport) -> bool:
    """Whether the server is on this machine: both ends of the connection have one address."""
    own, peer = (transport.get_extra_info(name) for name in ("sockname", "peername"))
    return bool(own and peer and own[0] == peer[0])


class Pump:
    """Moves bytes from files to a socket, on a worker thread; one run at a time.

    The thread outlives whoever waits for it: an answer cancels aiohttp's writing, in the middle and
    more than once.  So who has the files ends the pump before he closes them.
    """

    def __init__(self, fd: int, sender: Sender) -> None:
        self._socket = socket.socket(fileno=os.dup(fd))
        self._sender = sender
        self._stopped = threading.Event()
        self._buffer = page_buffer(STEP_BYTES)
        self._sending: asyncio.Future[int] | None = None

    async def sent(self, run: FileRun) -> int:
        """Send a run; returns how far its file went, when the kernel has all of that."""
        self._sending = asyncio.get_running_loop().run_in_executor(None, self.send, run)
        return await asyncio.shield(self._sending)

    async def end(self) -> None:
        """Send nothing more; returns when no thread does, cancelled or not.  Idempotent.

        The connection itself stays open.
        """
        self._stopped.set()
        try:
            if self._sending is not None:
                await finished(asyncio.gather(self._sending, return_exceptions=True))
        finally:
            self._socket.close()

    def send(self, run: FileRun) -> int:
        """``sent``, on this thread.  Blocks."""
        poller = select.poll()
        poller.register(self._socket, select.POLLOUT)
        position = run.start
        with closing(self._pieces_of(run) if run.pieces else self._read(run)) as pieces:
            for piece in pieces:
                self._sender.moving(len(piece))
                self._send_all(piece, poller)
                position += len(piece)
                if self._stopped.is_set():
                    break
        return position

    def _read(self, run: FileRun) -> Generator[memoryview, None, None]:
        position = run.start
        while position < run.end:
            step = self._buffer[: min(STEP_BYTES, run.end - position)]
            count = os.preadv(run.fd, [step], position)
            if not count:
                return
            yield step[:count]
            position += count

    def _pieces_of(self, run: FileRun) -> Generator[memoryview, None, None]:
        assert run.pieces is not None
        try:
            yield from run.pieces()
        except Exception as error:
            # Not the connection's.
            self._sender.failure = error
            raise

    def _send_all(self, view: memoryview, poller: select.poll) -> None:
        while len(view) and not self._stopped.is_set():
            try:
                view = view[self._socket.send(view) :]
            except BlockingIOError:
                poller.poll(_POLL_MS)
