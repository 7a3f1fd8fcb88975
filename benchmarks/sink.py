"""A server that takes uploads and keeps nothing: what an upload costs its sender.

It runs in a process of its own (``python -m benchmarks.sink`` prints its URL), answers HEAD with
404, and a PUT with 201 and a new strong validator when all of its body has come.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import socket
import subprocess
import sys
from collections.abc import Iterator

_STEP = 1 << 20
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@contextlib.contextmanager
def sink() -> Iterator[str]:
    """A running sink; gives its URL."""
    command = [sys.executable, "-m", "benchmarks.sink"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def _serve(server: socket.socket) -> None:
    tags = itertools.count(1)
    buffer = bytearray(_STEP)
    while True:
        connection, _ = server.accept()
        with connection, contextlib.suppress(OSError):
            while _answer(connection, buffer, next(tags)):
                pass


def _answer(connection: socket.socket, buffer: bytearray, tag: int) -> bool:
    """One request; False when the client is gone."""
    head = b""
    while b"\r\n\r\n" not in head:
        data = connection.recv(65536)
        if not data:
            return False
        head += data
    head, _, body = head.partition(b"\r\n\r\n")
    if not head.startswith(b"PUT "):
        connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        return True
    found = _LENGTH.search(head)
    assert found is not None, "an upload of unknown length"
    left = int(found[1]) - len(body)
    if b"100-continue" in head.lower():
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    while left:
        count = connection.recv_into(buffer, min(_STEP, left))
        if not count:
            return False
        left -= count
    connection.sendall(b'HTTP/1.1 201 Created\r\nETag: "%d"\r\nContent-Length: 0\r\n\r\n' % tag)
    return True


def main() -> None:
    """Serve until killed; one connection at a time."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        print(f"http://127.0.0.1:{server.getsockname()[1]}/", flush=True)
        _serve(server)


if __name__ == "__main__":
    main()
