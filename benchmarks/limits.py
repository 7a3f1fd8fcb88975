"""Limits: the same bytes moved by the barest system calls."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.rig import timed

STEP = 1 << 20


def receive_into_file(url: str, path: Path) -> float:
    """One GET by a raw socket: ``recv_into`` a large buffer, ``pwrite``."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    buffer = memoryview(bytearray(STEP))
    with timed() as seconds, socket.create_connection((parts.hostname, parts.port)) as sock:
        request = f"GET {parts.path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        sock.sendall(request.encode())
        head = b""
        while b"\r\n\r\n" not in head:
            head += sock.recv(4096)
        rest = head.split(b"\r\n\r\n", 1)[1]
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            position = os.pwrite(fd, rest, 0)
            while count := sock.recv_into(buffer, STEP, socket.MSG_WAITALL):
                position += os.pwrite(fd, buffer[:count], position)
        finally:
            os.close(fd)
    return seconds()


def copy_file(source: Path, target: Path) -> float:
    """``copy_file_range`` of a whole file."""
    with timed() as seconds:
        copy_all(source, target)
    return seconds()


def copy_all(source: Path, target: Path) -> None:
    """The copy itself."""
    old = os.open(source, os.O_RDONLY)
    new = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        while os.copy_file_range(old, new, 1 << 30):
            pass
    finally:
        os.close(old)
        os.close(new)


def send_file_to_sink(source: Path, copy: Path) -> float:
    """``sendfile`` to a socket that somebody empties, and then ``copy_file_range``."""
    near, far = socket.socketpair()
    sink = threading.Thread(target=_empty, args=(far,))
    sink.start()
    size = source.stat().st_size
    with timed() as seconds, source.open("rb") as file:
        position = 0
        while position < size:
            position += os.sendfile(near.fileno(), file.fileno(), position, size - position)
        near.close()
        sink.join()
        copy_all(source, copy)
    far.close()
    return seconds()


def _empty(sock: socket.socket) -> None:
    buffer = bytearray(STEP)
    while sock.recv_into(buffer):
        pass
