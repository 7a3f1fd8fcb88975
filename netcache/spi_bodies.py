"""The port's part for the bodies of uploads: what every one is, and what some also are.

A body knows nothing of the backend that sends it.  Whoever writes a backend finds these names in
``netcache.spi``; a backend may send every body as an ``UploadBody``, and use what it also is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator
from typing import NamedTuple, Protocol, runtime_checkable

__all__ = ["RESUMABLE_BYTES_MIN", "FileBody", "FileRun", "MemoryBody", "UploadBody"]


class UploadBody(Protocol):
    """A body to send: read front to back, from the start again for every attempt."""

    size: int | None
    """The length in bytes, or None when it is not known beforehand."""
    replayable: bool
    """Whether ``chunks`` may be called again after an attempt that failed."""

    def chunks(self) -> AsyncIterator[bytes | memoryview]:
        """The bytes from the start; a chunk stays valid until the next one is asked for."""

    async def sha256(self) -> bytes | None:
        """The digest of exactly the bytes of the last full pass of ``chunks``; may take a while.

        None when it cannot be told.
        """


class FileRun(NamedTuple):
    """The bytes ``[start, end)`` of an open file, at the same place of the body.

    ``pieces``, if given, has them in memory one after the other, and does something with each that
    is to be done when they are sent.  It blocks, and is closed by who has taken what he wants.
    """

    fd: int
    start: int
    end: int
    pieces: Callable[[], Generator[memoryview, None, None]] | None = None


@runtime_checkable
class FileBody(Protocol):
    """What a body also is when it can be sent by the kernel, straight from files."""

    def may_run(self) -> bool:
        """Whether ``runs`` may be used in this pass."""

    def runs(self) -> AsyncIterator[FileRun]:
        """The bytes from the start; a run stays as it is until the next one is asked for.

        Like ``chunks``, in its place: a pass uses one of them.
        """


@runtime_checkable
class MemoryBody(Protocol):
    """What a body also is when all of it is held in memory: its digest is sent with it."""

    data: bytes | memoryview


RESUMABLE_BYTES_MIN = 16 << 20
"""Smaller bodies are sent again rather than gone on with (``spi_resumable``)."""
