"""The two faces of the library, seen as one: files whose methods return when they are done."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

import netcache

T = TypeVar("T")

FACES = ("sync", "async")


class Editable(Protocol):
    """An open file, of the synchronous face or something like it."""

    def pread(self, length: int, offset: int) -> bytes:
        """Read."""

    def pwrite(self, data: bytes, offset: int, *, dsync: bool = False, atomic: bool = False) -> int:
        """Write."""

    def truncate(self, size: int) -> int:
        """Cut or extend."""

    def view(self, offset: int, length: int) -> memoryview:
        """Read as memory."""

    def fsync(self) -> None:
        """Send."""

    def close(self) -> None:
        """Send, and close."""

    def abort(self) -> None:
        """Close, and send nothing more."""

    @property
    def size(self) -> int:
        """The size."""


class Face(Protocol):
    """A client."""

    def open(self, url: str, mode: str = "rb") -> Editable:
        """Open a file."""

    def stats(self) -> dict[str, dict[str, int]]:
        """The counters."""

    def drop(self, url: str) -> None:
        """Forget what is cached of ``url``, if there is a cache."""

    def close(self) -> None:
        """Close the client."""


class SyncFace:
    """The synchronous face, as it is."""

    def __init__(self, **options: Any) -> None:
        self._client = netcache.Client(**options)
        self._has_cache = options.get("use_cache", True)

    def open(self, url: str, mode: str = "rb") -> Editable:
        """Open a file."""
        return self._client.open(url, mode)

    def stats(self) -> dict[str, dict[str, int]]:
        """The counters."""
        return self._client.stats()

    def drop(self, url: str) -> None:
        """Forget what is cached of ``url``, if there is a cache."""
        if self._has_cache:
            self._client.cache.drop(url)

    def close(self) -> None:
        """Close the client."""
        self._client.close()


class AsyncFace:
    """The asynchronous face on a loop of its own, which runs while something is asked of it."""

    def __init__(self, **options: Any) -> None:
        self._runner = asyncio.Runner()
        self._has_cache = options.get("use_cache", True)
        self._client = self._do(lambda: _make(options))

    def open(self, url: str, mode: str = "rb") -> Editable:
        """Open a file."""
        return LoopFile(self._do(lambda: self._client.open(url, mode)), self._do)

    def stats(self) -> dict[str, dict[str, int]]:
        """The counters."""
        return self._do(self._client.stats)

    def drop(self, url: str) -> None:
        """Forget what is cached of ``url``, if there is a cache."""
        if self._has_cache:
            self._do(lambda: self._client.cache.drop(url))

    def close(self) -> None:
        """Close the client and its loop."""
        self._do(self._client.close)
        self._runner.close()

    def _do(self, work: Callable[[], Awaitable[T]]) -> T:
        async def waited() -> T:
            return await work()

        return self._runner.run(waited())


async def _make(options: dict[str, Any]) -> netcache.AsyncClient:
    return netcache.AsyncClient(**options)


class LoopFile:
    """A file of the asynchronous face; each call runs the loop until it is done."""

    def __init__(
        self, inner: netcache.AsyncFile, run: Callable[[Callable[[], Awaitable[Any]]], Any]
    ) -> None:
        self._inner = inner
        self._run = run

    def pread(self, length: int, offset: int) -> bytes:
        """Read."""
        data: bytes = self._run(lambda: self._inner.pread(length, offset))
        return data

    def pwrite(self, data: bytes, offset: int, *, dsync: bool = False, atomic: bool = False) -> int:
        """Write."""
        count: int = self._run(lambda: self._inner.pwrite(data, offset, dsync=dsync, atomic=atomic))
        return count

    def truncate(self, size: int) -> int:
        """Cut or extend."""
        new: int = self._run(lambda: self._inner.truncate(size))
        return new

    def view(self, offset: int, length: int) -> memoryview:
        """Read as memory."""
        found: memoryview = self._run(lambda: self._inner.view(offset, length))
        return found

    def fsync(self) -> None:
        """Send."""
        self._run(self._inner.fsync)

    def close(self) -> None:
        """Send, and close."""
        self._run(self._inner.close)

    def abort(self) -> None:
        """Close, and send nothing more."""
        self._run(self._inner.abort)

    @property
    def size(self) -> int:
        """The size."""
        size: int = self._run(self._inner.size)
        return size


def new_face(name: str, **options: Any) -> Face:
    """A client of that face; close it."""
    return AsyncFace(**options) if name == "async" else SyncFace(**options)
