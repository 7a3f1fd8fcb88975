"""Clients of the standard library that know nothing of the code under test."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterable, Mapping
from email.message import Message
from typing import NamedTuple, Protocol


class Listening(Protocol):
    """Whatever listens on a port of this machine."""

    @property
    def port(self) -> int:
        """The port."""
        ...


class Answer(NamedTuple):
    """A complete answer."""

    status: int
    headers: Message
    body: bytes

    def header(self, name: str) -> str:
        """A header that has to be there."""
        value = self.headers[name]
        assert value is not None, f"{name} is missing from {dict(self.headers)}"
        return str(value)


def ask(
    server: Listening,
    method: str,
    target: str,
    body: bytes | Iterable[bytes] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """One request on a connection of its own, through ``http.client``."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    try:
        connection.request(method, target, body, dict(headers or {}))
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()


def connect(server: Listening) -> socket.socket:
    """A plain connection."""
    return socket.create_connection(("127.0.0.1", server.port), timeout=20)


def send_raw(server: Listening, data: bytes) -> bytes:
    """Send bytes as they are, and give all that comes until the server closes."""
    with connect(server) as connection:
        connection.sendall(data)
        return read_all(connection)


def read_all(connection: socket.socket) -> bytes:
    """All that comes until the other side closes, by FIN or by RST."""
    received = bytearray()
    try:
        while chunk := connection.recv(1 << 16):
            received += chunk
    except ConnectionResetError:
        pass
    return bytes(received)


def request_line(method: str, target: str, *headers: str) -> bytes:
    """The head of a request after which the server closes the connection."""
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost", "Connection: close", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def status_of(answer: bytes) -> int:
    """The status of a raw answer."""
    return int(answer.split(b" ", 2)[1])


def split_answer(answer: bytes) -> tuple[str, bytes]:
    """The head and the body of a raw answer."""
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.decode("latin-1"), body
