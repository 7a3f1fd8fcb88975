"""What the conformance suite needs to know of the backend under test and the server behind it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from netcache._core.coherency import Version
from netcache._core.extent import Extent
from netcache.spi import Backend

_PLANTED_AT_S = 1_700_000_000
_seconds = count()


@dataclass
class Peer:
    """A backend and a server whose resources can also be changed behind the backend's back.

    ``base`` is the URL of an empty folder, with its slash.  The flags tell what the server can do;
    the suite asks no more of the backend than that.
    """

    backend: Backend
    base: str
    plant: Callable[[str, bytes], None]
    another: Callable[[], Backend]
    others: list[Backend] = field(default_factory=list)
    tells_etag_after_put: bool = True
    tells_digests: bool = True
    keeps_mtime: bool = True
    lists_sizes: bool = True

    def url(self, name: str) -> str:
        """The URL of ``name`` (already encoded) in the base folder."""
        return self.base + name

    async def close(self) -> None:
        """Close every backend that was made."""
        for backend in [self.backend, *self.others]:
            await backend.close()

    def second(self) -> Backend:
        """One more backend for the same server."""
        self.others.append(self.another())
        return self.others[-1]


def plant_in(root: Path) -> Callable[[str, bytes], None]:
    """Plants files under ``root``: whole at once, with a new time of modification long ago."""

    def plant(name: str, data: bytes) -> None:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(path.name + ".new")
        fresh.write_bytes(data)
        moment = _PLANTED_AT_S + next(_seconds)
        os.utime(fresh, (moment, moment))
        fresh.replace(path)

    return plant


class Bytes:
    """A body for uploads; ``size`` may be None (not told) or a lie."""

    def __init__(
        self,
        data: bytes,
        *,
        size: int | None = -1,
        chunk_bytes: int = 100_000,
        replayable: bool = True,
    ) -> None:
        self.whole = data
        self.size = len(data) if size == -1 else size
        self.replayable = replayable
        self.passes = 0
        self._chunk_bytes = chunk_bytes

    async def chunks(self) -> AsyncIterator[bytes | memoryview]:
        """The bytes, alternately as ``bytes`` and as views."""
        self.passes += 1
        view = memoryview(self.whole)
        for number, start in enumerate(range(0, len(view), self._chunk_bytes)):
            piece = view[start : start + self._chunk_bytes]
            yield piece if number % 2 else bytes(piece)

    async def sha256(self) -> bytes | None:
        """The digest."""
        return hashlib.sha256(self.whole).digest()


class HeldBytes(Bytes):
    """A body that says that all of it is in memory."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.data: bytes | memoryview = data


class FailingBytes(Bytes):
    """A body whose source fails in the middle."""

    async def chunks(self) -> AsyncIterator[bytes | memoryview]:
        """Some bytes, then the failure."""
        yield self.whole[: len(self.whole) // 2]
        raise RuntimeError("the source failed")


class Collector:
    """A sink that keeps the bytes and where the pieces began and ended."""

    def __init__(self) -> None:
        self.pieces: list[tuple[int, int]] = []
        self.data = bytearray()

    def __call__(self, start: int, view: memoryview) -> None:
        """Take a piece."""
        self.pieces.append((start, start + len(view)))
        self.data += view


def pattern(length: int, seed: int = 0) -> bytes:
    """Bytes that differ from place to place, so that a shift shows."""
    block = b"".join(hashlib.sha256(b"%d %d" % (seed, n)).digest() for n in range(2048))
    return (block * (length // len(block) + 1))[:length]


async def read(backend: Backend, url: str, extent: Extent | None = None, **asked: object) -> bytes:
    """Open, receive, and check the count."""
    collector = Collector()
    reply = await backend.open_read(url, extent, **asked)  # type: ignore[arg-type]
    assert await reply.receive(collector) == len(collector.data)
    return bytes(collector.data)


async def version_of(backend: Backend, url: str) -> Version:
    """The version that ``stat`` tells."""
    info = await backend.stat(url)
    assert info is not None
    assert info.version is not None
    return info.version
