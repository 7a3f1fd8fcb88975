"""Digest fields of RFC 9530: what a client sends, what it wants, and hashing at constant memory."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
import threading
from collections.abc import Mapping

WANT_CONTENT_DIGEST = "sha-256=10"
"""What this server says in ``Want-Content-Digest`` (RFC 9530 section 4)."""

_ALGORITHMS: Mapping[str, str] = {"sha-256": "sha256", "sha-512": "sha512"}
_MEMBER = re.compile(r"([a-z*][a-z0-9_.*-]*)\s*=\s*:([A-Za-z0-9+/]*={0,2}):\s*(?:;[^,]*)?\Z")
_WANTED = re.compile(r"([a-z*][a-z0-9_.*-]*)\s*=\s*([0-9]{1,2})\s*(?:;[^,]*)?\Z")
_READ_BYTES = 1 << 20


class BadDigestError(ValueError):
    """A digest field that cannot be read, or a digest that is not that of what came (400)."""


def parse_digests(field: str, header: str) -> dict[str, bytes]:
    """The digests of a ``Content-Digest`` or ``Repr-Digest`` whose algorithms are known here.

    Unknown algorithms are left out (RFC 9530 2).  Raises ``BadDigestError`` on bad syntax.
    """
    digests: dict[str, bytes] = {}
    for member in header.split(","):
        match = _MEMBER.match(member.strip())
        if match is None:
            raise BadDigestError(f"{field}: expected ALGORITHM=:BASE64:")
        algorithm = _ALGORITHMS.get(match[1])
        if algorithm is None:
            continue
        try:
            value = base64.b64decode(match[2], validate=True)
        except binascii.Error as error:
            raise BadDigestError(f"{field}: {error}") from error
        if len(value) != hashlib.new(algorithm).digest_size:
            raise BadDigestError(f"{field}: {match[1]} has another length")
        digests[algorithm] = value
    return digests


def wants_sha256(header: str | None) -> bool:
    """Whether a ``Want-Repr-Digest`` asks for sha-256 (a preference of 0 means "not")."""
    for member in (header or "").split(","):
        match = _WANTED.match(member.strip())
        if match is not None and match[1] == "sha-256" and int(match[2]) > 0:
            return True
    return False


def format_sha256(digest: bytes) -> str:
    """A digest as the value of a digest field."""
    return f"sha-256=:{base64.b64encode(digest).decode('ascii')}:"


class Hasher:
    """Computes several digests of one stream of bytes."""

    def __init__(self, algorithms: set[str]) -> None:
        self._hashes = {name: hashlib.new(name) for name in sorted(algorithms)}

    def __bool__(self) -> bool:
        return bool(self._hashes)

    def update(self, data: bytes | memoryview) -> None:
        """Take the next bytes; long ones are hashed without the interpreter's lock."""
        for each in self._hashes.values():
            each.update(data)

    def digest(self, algorithm: str) -> bytes | None:
        """The digest so far, if that algorithm was asked for."""
        each = self._hashes.get(algorithm)
        return None if each is None else each.digest()

    def check(self, field: str, expected: Mapping[str, bytes]) -> None:
        """Compare with what a client sent.  Raises ``BadDigestError``."""
        for algorithm, value in expected.items():
            if not hmac.compare_digest(value, self._hashes[algorithm].digest()):
                raise BadDigestError(f"{field}: {algorithm} is not that of what was received")


class FollowingHasher(Hasher):
    """Hashes a file from its start while more is appended, so that little is left at the end.

    ``update`` takes what has just been appended; ``follow`` runs beside that, in another thread,
    and hashes what was there before, and what came before it was done with that.
    """

    def __init__(self, algorithms: set[str], file: int, size: int, appended: Hasher) -> None:
        super().__init__(algorithms)
        self._file = file
        self._size = size
        self._appended = appended
        self._has_caught_up = False
        self._is_stopped = False
        self._changing = threading.Lock()

    def update(self, data: bytes | memoryview) -> None:
        """Take the next bytes, which the file has already; ``appended`` hashes them, too."""
        self._appended.update(data)
        with self._changing:
            if not self._has_caught_up:
                self._size += len(data)
                return
        super().update(data)

    def follow(self) -> None:
        """Hash until nothing is left in the file, or ``stop``.  Blocks; once."""
        buffer = bytearray(_READ_BYTES)
        view = memoryview(buffer)
        position = 0
        while self and not self._is_stopped:
            with self._changing:
                left = self._size - position
                if not left:
                    self._has_caught_up = True
                    return
            length = os.preadv(self._file, [view[: min(left, _READ_BYTES)]], position)
            if not length:
                return
            super().update(view[:length])
            position += length

    def stop(self) -> None:
        """Nobody wants the digest any more."""
        self._is_stopped = True


def hash_file(file: int, algorithms: set[str]) -> Hasher:
    """Hash a whole file by position, so that its offset stays.  Blocks: call it in a thread."""
    hasher = Hasher(algorithms)
    if not algorithms:
        return hasher
    buffer = bytearray(_READ_BYTES)
    view = memoryview(buffer)
    position = 0
    while length := os.preadv(file, [buffer], position):
        hasher.update(view[:length])
        position += length
    return hasher
