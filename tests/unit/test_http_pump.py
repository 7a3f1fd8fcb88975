"""What an upload by a worker thread tells of itself, while it is sent."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import tempfile
import termios
from collections.abc import AsyncGenerator

from netcache.backends.http_pump import STEP_BYTES, _Pump
from netcache.spi import FileRun

STEPS = 3


class Counting:
    """Who has the body: compares what it is told with what has arrived at the other end."""

    def __init__(self, far: socket.socket) -> None:
        self._far = far
        self.told = 0
        self.arrived: list[tuple[int, int]] = []

    def pieces(self) -> AsyncGenerator[bytes | memoryview, None]:
        """Not asked for: the connection is plain."""
        raise NotImplementedError

    def runs(self) -> AsyncGenerator[FileRun, None]:
        """Not asked for: the test gives the run."""
        raise NotImplementedError

    def moving(self, count: int) -> None:
        """Notice what has arrived before these bytes."""
        answer = fcntl.ioctl(self._far, termios.FIONREAD, bytes(4))
        self.arrived.append((self.told, struct.unpack("i", answer)[0]))
        self.told += count

    def ended_at(self, total: int) -> None:
        """Not called: the file is long enough."""
        raise NotImplementedError


def test_bytes_are_told_before_the_server_can_have_them() -> None:
    """The answer to the last byte may be read before the thread that sent it goes on: an upload
    that was complete was then told as one of which a step had not been sent."""
    near, far = socket.socketpair()
    with near, far, tempfile.TemporaryFile() as file:
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * STEPS * STEP_BYTES)
        near.setblocking(False)
        file.write(os.urandom(STEPS * STEP_BYTES))
        file.flush()
        sender = Counting(far)
        pump = _Pump(near.fileno(), sender)
        try:
            end = pump.send(FileRun(file.fileno(), 0, STEPS * STEP_BYTES))
        finally:
            pump.close()
        assert end == sender.told == STEPS * STEP_BYTES
        assert sender.arrived == [(step * STEP_BYTES,) * 2 for step in range(STEPS)]
