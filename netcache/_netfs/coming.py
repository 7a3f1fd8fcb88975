"""What brings bytes to an inode, as those see it who wait for them; see ``flight``."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    import asyncio

    from netcache._core.extent import Extent
    from netcache._netfs.request import Request


class Coming(Protocol):
    """One extent on its way; on the client's loop."""

    dense: bool
    """Whether the object holds everything before it, or will."""
    request: Request
    task: asyncio.Task[None]

    @property
    def position(self) -> int:
        """How far it has come: what lies below is there, or will not come by this flight."""

    @property
    def end(self) -> int:
        """Where it ends; ``OPEN_END`` while only the end of the body tells it."""

    async def wait_for(self, start: int, end: int) -> None:
        """Return when ``[start, end)`` has come, or nothing more comes; else raise why."""


class Question(NamedTuple):
    """The server is being asked whether the version is current, and for ``extent`` with that."""

    extent: Extent
    answered: asyncio.Event

    def is_for(self, position: int) -> bool:
        """Whether the answer brings ``position``."""
        return self.extent.start <= position < self.extent.end
