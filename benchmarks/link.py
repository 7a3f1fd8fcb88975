"""A long link on loopback: all its connections share a bandwidth, and bytes take time on the way.

``python -m benchmarks.link PORT DELAY_S BYTES_PER_S`` forwards connections to ``127.0.0.1:PORT``
and prints the port that it listens on.  It is a process of its own, so that it neither waits for
the client's interpreter nor the other way round.

What it models: the time each way; one queue that the answers pass in turn; the window of a
connection, so that one alone brings at most ``WINDOW_BYTES`` in a round trip; the round trip that
it takes to connect.  What it does not: loss, and the slow start of a connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple

WINDOW_BYTES = 4 << 20


class Queue:
    """The bottleneck: what is sent through it leaves in turn."""

    def __init__(self, bytes_per_s: float) -> None:
        self._bytes_per_s = bytes_per_s
        self._free_at = 0.0

    def leaves_at(self, now_s: float, length: int) -> float:
        """When the last of ``length`` bytes that come now has passed."""
        self._free_at = max(now_s, self._free_at) + length / self._bytes_per_s
        return self._free_at


class Way(asyncio.Protocol):
    """One direction of a connection: what comes in here goes out at ``far``, later."""

    def __init__(self, delay_s: float, queue: Queue | None) -> None:
        self.far: Way | None = None
        self.transport: asyncio.Transport | None = None
        self._delay_s = delay_s
        self._queue = queue
        self._under_way = 0
        self._loop = asyncio.get_running_loop()
        self._not_before = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Both ends are told apart by ``far``."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connect(self, far: Way, round_trip_s: float) -> None:
        """Begin; to connect has taken a round trip."""
        self.far = far
        self._not_before = self._loop.time() + round_trip_s

    def data_received(self, data: bytes) -> None:
        """Send it on its way."""
        now_s = self._loop.time()
        leaves_s = self._queue.leaves_at(now_s, len(data)) if self._queue else now_s
        self._under_way += len(data)
        assert self.transport is not None
        if self._under_way > WINDOW_BYTES:
            self.transport.pause_reading()
        self._loop.call_at(max(leaves_s + self._delay_s, self._not_before), self._deliver, data)

    def _deliver(self, data: bytes) -> None:
        self._under_way -= len(data)
        if self.transport is not None and self._under_way <= WINDOW_BYTES:
            self.transport.resume_reading()
        if self.far is not None and self.far.transport is not None:
            self.far.transport.write(data)

    def pause_writing(self) -> None:
        """Who reads there is slow: take no more from here."""
        if self.far is not None and self.far.transport is not None:
            self.far.transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on."""
        if self.far is not None and self.far.transport is not None:
            self.far.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """What is under way still comes; then the other end hears of it."""
        self.transport = None
        if self.far is not None:
            self._loop.call_later(self._delay_s, self.far.hang_up)

    def hang_up(self) -> None:
        """The other end is gone."""
        if self.transport is not None:
            self.transport.close()


class Near(Way):
    """The client's end: connects to the server."""

    def __init__(self, port: int, delay_s: float, queue: Queue) -> None:
        super().__init__(delay_s, None)
        self._port = port
        self._answers = queue
        self._connecting: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Nothing is read before the server is there."""
        super().connection_made(transport)
        assert self.transport is not None
        self.transport.pause_reading()
        self._connecting = self._loop.create_task(self._connect())

    async def _connect(self) -> None:
        far = Way(self._delay_s, self._answers)
        await self._loop.create_connection(lambda: far, "127.0.0.1", self._port)
        far.connect(self, 0.0)
        self.connect(far, 2 * self._delay_s)
        if self.transport is not None:
            self.transport.resume_reading()


async def serve(port: int, delay_s: float, bytes_per_s: float) -> None:
    """Forward until standard input ends."""
    loop = asyncio.get_running_loop()
    queue = Queue(bytes_per_s)
    server = await loop.create_server(lambda: Near(port, delay_s, queue), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


class Link(NamedTuple):
    """A link that is up: the URL of the server's root behind it, and what it is like."""

    url: str
    delay_s: float
    bytes_per_s: float


@contextlib.contextmanager
def link(server_url: str, delay_s: float, bytes_per_s: float) -> Iterator[Link]:
    """A link to the server on loopback with this URL, ``delay_s`` each way."""
    port = server_url.rstrip("/").rpartition(":")[2]
    command = [sys.executable, "-m", "benchmarks.link", port, str(delay_s), str(bytes_per_s)]
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True) as process:
        try:
            assert process.stdout is not None
            near = process.stdout.readline().strip()
            yield Link(f"http://127.0.0.1:{near}/", delay_s, bytes_per_s)
        finally:
            assert process.stdin is not None
            process.stdin.close()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])))
