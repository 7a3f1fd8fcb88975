"""The reading half of an HTTP backend, as its writing parts need it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from netcache._core.coherency import Validator, Version
from netcache._core.extent import Extent
from netcache._core.retry import RetryPolicy
from netcache.spi import ReadReply, ResourceInfo

T = TypeVar("T")


class Asking(Protocol):
    """Questions to the server; each as in the port ``Backend``, and tried again as ``retry`` says.

    On the client's loop; waits for the network.
    """

    retry: RetryPolicy

    async def open_read(
        self, url: str, extent: Extent | None = None, *, expected: Version | None = None
    ) -> ReadReply:
        """Ask for bytes."""

    async def stat(
        self, url: str, *, unless: Validator | None = None, want_digest: bool = False
    ) -> ResourceInfo | None:
        """Metadata."""

    async def list(self, url: str) -> list[ResourceInfo]:
        """The entries of a folder."""

    async def retried(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Do ``operation``, again after ``TransientError`` as the policy allows."""
