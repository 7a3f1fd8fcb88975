"""The channel between a process and a hand: messages over a pair of sockets, many in one write.

A frame is four bytes of length, then a pickled list of messages.  Both ends are the same program,
and nobody else has the sockets.
"""

from __future__ import annotations

import asyncio
import pickle
import socket
import struct
from collections.abc import Callable

from netcache._client.crew.messages import Message

_LENGTH = struct.Struct("<I")


class Channel(asyncio.Protocol):
    """One end of a channel.  On a loop.

    ``on_messages`` is called with each frame that comes, ``on_end`` once when no more will: the
    other side has said so, or is gone.  What is sent is held for ``hold_s`` (0: until the loop's
    next turn), so that it goes together with what is sent then.
    """

    def __init__(
        self,
        on_messages: Callable[[list[Message]], None],
        on_end: Callable[[], None],
        *,
        hold_s: float = 0.0,
    ) -> None:
        self._on_messages = on_messages
        self._on_end = on_end
        self._hold_s = hold_s
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._outbox: list[Message] = []
        self._inbox = bytearray()
        self._ended = False

    async def open(self, end: socket.socket) -> None:
        """Begin to speak over ``end``, which is the channel's from now on."""
        await self._loop.create_unix_connection(lambda: self, sock=end)

    def send(self, message: Message) -> None:
        """Send a message; never waits.  Nobody hears it when the other side is gone."""
        if not self._outbox:
            self._loop.call_later(self._hold_s, self.flush)
        self._outbox.append(message)

    def flush(self) -> None:
        """Let what is held go now."""
        if self._transport is None or not self._outbox:
            return
        data = pickle.dumps(self._outbox, pickle.HIGHEST_PROTOCOL)
        self._outbox.clear()
        self._transport.write(_LENGTH.pack(len(data)) + data)

    def end(self) -> None:
        """Tell the other side that no more will come."""
        self.flush()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write_eof()

    def close(self) -> None:
        """Close it; what was sent still goes, as long as the loop runs.  Idempotent."""
        self.flush()
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close it at once; what was not sent or read yet is lost.  Idempotent."""
        if self._transport is not None:
            self._transport.abort()

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Take whole frames."""
        inbox = self._inbox
        inbox += data
        while len(inbox) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(inbox)
            end = _LENGTH.size + length
            if len(inbox) < end:
                return
            frame = bytes(memoryview(inbox)[_LENGTH.size : end])
            del inbox[:end]
            self._on_messages(pickle.loads(frame))

    def eof_received(self) -> bool:
        """The other side sends no more; what this one has to say still goes."""
        self._tell_end()
        return True

    def connection_lost(self, error: Exception | None) -> None:
        """It is closed, or broken."""
        self._transport = None
        self._tell_end()

    def _tell_end(self) -> None:
        if not self._ended:
            self._ended = True
            self._on_end()
