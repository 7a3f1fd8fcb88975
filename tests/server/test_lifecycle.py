"""Starting, stopping, killing; TLS; the command line; memory."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import ssl
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest
import trustme

from netcache_server import (
    FaultPlan,
    FaultRule,
    ObjectServer,
    ServerOptions,
    ServerProcess,
    ServerThread,
)
from tests.server.conftest import Serve
from tests.server.wire import ask, connect, read_all, request_line, status_of

MEBIBYTE = 1 << 20


def peak_memory(pid: int) -> int:
    """The most memory that a process had at once, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM")


def forget_peak_memory(pid: int) -> None:
    """Begin to measure the peak anew."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


async def test_on_a_running_loop(root: Path) -> None:
    """The server shares a loop with its client; url, port and requests are there."""
    (root / "a").write_bytes(b"data")
    async with ObjectServer(ServerOptions(root=root, log="memory")) as server:
        assert server.url == f"http://127.0.0.1:{server.port}/"
        async with aiohttp.ClientSession() as session:
            async with session.get(server.url + "a") as response:
                assert await response.read() == b"data"
            async with session.put(server.url + "b", data=b"more") as response:
                assert response.status == 201
        assert [record["method"] for record in server.requests] == ["GET", "PUT"]
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", server.port)


async def test_stop_ends_what_is_in_progress(root: Path) -> None:
    """A server that stops does not wait for a client that does not read."""
    with (root / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    server = ObjectServer(ServerOptions(root=root))
    await server.start()
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(request_line("GET", "/sparse"))
    await writer.drain()
    async with asyncio.timeout(15):
        await server.stop()
    writer.close()


def test_port_in_use(server: ServerThread, root: Path) -> None:
    """An address that cannot be used is an error of the start, and nothing stays behind."""
    with pytest.raises(OSError, match="in use"):
        ServerThread(ServerOptions(root=root, port=server.port)).start()


def test_tls(serve: Serve, root: Path, tmp_path: Path) -> None:
    """The same over TLS, large bodies and several ranges included."""
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "pem"))
    server = serve(tls_cert=tmp_path / "pem", tls_key=tmp_path / "pem")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    assert server.url.startswith("https://127.0.0.1:")
    data = os.urandom(3 * MEBIBYTE)

    async def use() -> None:
        connector = aiohttp.TCPConnector(ssl=context)
        async with aiohttp.ClientSession(server.url, connector=connector) as session:
            async with session.put("/a", data=io.BytesIO(data)) as response:
                assert response.status == 201
            async with session.get("/a") as response:
                assert await response.read() == data
            ranges = {"Range": "bytes=5-100000,200000-300000"}
            async with session.get("/a", headers=ranges) as response:
                assert data[5:100001] in await response.read()

    asyncio.run(use())


def test_process_and_signals(root: Path) -> None:
    """The URL is the first line; SIGTERM and SIGINT end it with status 0."""
    (root / "a").write_bytes(b"data")
    for number in (signal.SIGTERM, signal.SIGINT):
        with ServerProcess(str(root)) as process:
            assert ask(process, "GET", "/a").body == b"data"
            os.kill(process.pid, number)
            assert process.stop() == 0


def test_killed_server_leaves_nothing_of_an_upload(root: Path) -> None:
    """SIGKILL in the middle of an upload: the old version stays, and no file in progress."""
    (root / "a").write_bytes(b"old")
    with ServerProcess(str(root)) as process, connect(process) as connection:
        connection.sendall(
            request_line("PUT", "/a", "Content-Length: 9000000", "Expect: 100-continue")
        )
        assert b"100 Continue" in connection.recv(1000)
        connection.sendall(bytes(5_000_000))
        process.kill()
        read_all(connection)
    assert (root / "a").read_bytes() == b"old"
    assert [path.name for path in root.iterdir()] == ["a"]


def test_command_line(root: Path, tmp_path: Path) -> None:
    """The options of the command line reach the server; credentials also from the environment."""
    plan = tmp_path / "plan.json"
    plan.write_text('[{"path": "/teapot", "status": 418}]')
    environment = os.environ | {"NETCACHE_SERVER_TOKEN": "veiled"}
    log = tmp_path / "log"
    arguments = ["--fault-plan", str(plan), "--read-only", "--log", str(log), "--no-autoindex"]
    with ServerProcess(str(root), *arguments, environment=environment) as process:
        auth = {"Authorization": "Bearer veiled"}
        assert ask(process, "GET", "/").status == 401
        assert ask(process, "GET", "/", headers=auth).status == 403
        assert ask(process, "GET", "/teapot", headers=auth).status == 418
        assert ask(process, "PUT", "/x", b"", auth).status == 405
    statuses = [json.loads(line)["status"] for line in log.read_text().splitlines()]
    assert statuses == [401, 403, 418, 405]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["/nonexistent"], 2, "not a folder"),
        ([".", "--host", "0.0.0.0"], 2, "allow_unauthenticated"),
        ([".", "--fault-plan", "/nonexistent"], 2, "cannot read"),
        ([".", "--log", "/nonexistent/log"], 1, "cannot serve"),
        ([], 2, "usage"),
    ],
)
def test_command_line_errors(arguments: list[str], status: int, message: str) -> None:
    """What is wrong is one line on stderr, and the exit status says whose fault it is."""
    package = Path(sys.modules["netcache_server"].__file__ or "").parent.parent
    result = subprocess.run(
        [sys.executable, "-m", "netcache_server", *arguments],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(package)},
        timeout=30,
        check=False,
    )
    assert (result.returncode, message in result.stderr) == (status, True), result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("shaped", [False, True])
def test_memory_does_not_grow_with_the_body(root: Path, tmp_path: Path, shaped: bool) -> None:
    """A hundred megabytes up and down cost the server a few of memory."""
    size = 120 * MEBIBYTE
    plan = tmp_path / "plan.json"
    plan.write_text('[{"content": "inverted"}]' if shaped else "[]")
    with (root / "sparse").open("wb") as file:
        file.truncate(size)
    block = bytes(MEBIBYTE)
    with ServerProcess(str(root), "--no-fsync", "--fault-plan", str(plan)) as process:
        ask(process, "GET", "/sparse", headers={"Range": "bytes=0-1000000"})
        forget_peak_memory(process.pid)
        before = peak_memory(process.pid)
        with connect(process) as connection:
            connection.sendall(request_line("GET", "/sparse"))
            received = 0
            buffer = bytearray(MEBIBYTE)
            while count := connection.recv_into(buffer):
                received += count
        assert received > size
        with connect(process) as connection:
            connection.sendall(request_line("PUT", "/up", f"Content-Length: {size}"))
            for _ in range(120):
                connection.sendall(block)
            assert status_of(read_all(connection)) == 201
        assert (root / "up").stat().st_size == size
        assert peak_memory(process.pid) - before < 40 * MEBIBYTE
    (root / "up").unlink()


async def test_nobody_waits_for_a_body_whose_client_has_gone(root: Path) -> None:
    """It was refused before it came, and its connection is closed: no task stays for it."""
    refused = FaultPlan.of([FaultRule(method=("PUT",), status=503)])
    async with ObjectServer(ServerOptions(root=root, fault_plan=refused)) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"PUT /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nx")
        assert b" 503 " in await reader.readuntil(b"\r\n\r\n")
        writer.close()
        await writer.wait_closed()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        handlers = [task for task in others if "RequestHandler" in repr(task)]
        async with asyncio.timeout(5):  # aiohttp itself would wait for ten seconds
            await asyncio.gather(*handlers)
