"""What an upload by a worker thread tells of itself, while it is sent."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import stat
import struct
import tempfile
import termios
from collections.abc import AsyncGenerator

import pytest
from aiohttp import ClientSession, web

from netcache._core.urls import parse
from netcache._netfs.bodies import FileBody
from netcache._netfs.tee import Tee
from netcache.backends.http_file_payload import FilePayload
from netcache.backends.http_pump import NEAR_BYTES, STEP_BYTES, Pump
from netcache.backends.http_sender import BodySender
from netcache.backends.throttle import Throttle
from netcache.spi import FileRun

STEPS = 3


class Counting:
    """Who has the body: compares what it is told with what has arrived at the other end."""

    failure: BaseException | None = None

    def __init__(self, far: socket.socket) -> None:
        self._far = far
        self.told = 0
        self.arrived: list[tuple[int, int]] = []

    def pieces(self) -> AsyncGenerator[bytes | memoryview, None]:
        """Not asked for: the connection is plain."""
        raise NotImplementedError

    def runs(self, pump: Pump) -> AsyncGenerator[FileRun, None]:
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


async def test_bytes_are_told_before_the_server_can_have_them() -> None:
    """The answer to the last byte may be read before the thread that sent it goes on: an upload
    that was complete was then told as one of which a step had not been sent."""
    near, far = socket.socketpair()
    with near, far, tempfile.TemporaryFile() as file:
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * STEPS * STEP_BYTES)
        near.setblocking(False)
        file.write(os.urandom(STEPS * STEP_BYTES))
        file.flush()
        sender = Counting(far)
        pump = Pump(near.fileno(), sender)
        try:
            end = await pump.sent(FileRun(file.fileno(), 0, STEPS * STEP_BYTES))
        finally:
            await pump.end()
        assert end == sender.told == STEPS * STEP_BYTES
        assert sender.arrived == [(step * STEP_BYTES,) * 2 for step in range(STEPS)]


async def test_all_is_sent_only_when_the_last_step_goes_out() -> None:
    """A server that says "stored" before that cannot have the file, though its last run has been
    handed over."""
    size = STEPS * STEP_BYTES
    near, far = socket.socketpair()
    with near, far, tempfile.TemporaryFile() as file:
        file.truncate(size)
        tee = Tee(None, parse("http://x/"), hashing=False)
        sender = BodySender(FileBody(file.fileno(), size, tee, lambda _: None), Throttle(None))
        runs = sender.runs(Pump(near.fileno(), sender))
        run = await anext(runs)
        assert (run.start, run.end) == (0, size)
        for _ in range(STEPS):
            assert not sender.sent_all
            sender.moving(STEP_BYTES)
        assert sender.sent_all
        await sender.close()


@pytest.mark.parametrize(("host", "is_small"), [("127.0.0.1", True), ("127.0.0.2", False)])
async def test_little_waits_in_the_buffer_to_a_server_on_this_machine(
    host: str, is_small: bool
) -> None:
    """To another address (as that of the second one is) the kernel knows best."""
    buffers: list[int] = []

    async def take(request: web.Request) -> web.Response:
        assert len(await request.read()) == STEP_BYTES
        buffers.extend(send_buffers_to((host, site_port(runner))))
        return web.Response(status=201)

    app = web.Application(client_max_size=STEP_BYTES + 1)
    app.router.add_put("/up", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, host, 0).start()
    url = f"http://{host}:{site_port(runner)}/up"
    try:
        async with ClientSession() as session:
            with tempfile.TemporaryFile() as file:
                file.truncate(STEP_BYTES)
                tee = Tee(None, parse(url), hashing=False)
                body = FileBody(file.fileno(), STEP_BYTES, tee, lambda _: None)
                data = FilePayload(BodySender(body, Throttle(None)))
                length = {"Content-Length": str(STEP_BYTES)}
                async with session.put(url, data=data, headers=length) as reply:
                    assert reply.status == 201
    finally:
        await runner.cleanup()
    # (The kernel gives twice of what it was asked for.)
    assert {size == 2 * NEAR_BYTES for size in buffers} == {is_small}


def site_port(runner: web.AppRunner) -> int:
    """Where the server listens."""
    port: int = runner.addresses[0][1]
    return port


def send_buffers_to(address: tuple[str, int]) -> list[int]:
    """The send buffers of the connections that this process has to there, in bytes."""
    sizes = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                with socket.socket(fileno=os.dup(int(name))) as sock:
                    if sock.getpeername() == address:
                        sizes.append(sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF))
    return sizes
