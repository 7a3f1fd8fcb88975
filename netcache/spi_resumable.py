"""The port's part for uploads that go on where they stopped: what their bodies also are."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

from netcache.spi import UploadCondition

__all__ = ["ResumableBody", "UploadTicket"]


class UploadTicket(NamedTuple):
    """What leads to an upload that the server keeps while it is not complete.

    ``condition`` is the one that it was begun with.  ``current``: the body still is the one that
    was being sent; otherwise the ticket is only good for telling the server to forget it.
    """

    location: str
    condition: UploadCondition
    current: bool = True


@runtime_checkable
class ResumableBody(Protocol):
    """What a body also is when a pass of it may begin in the middle."""

    start: int
    """Where the next pass begins; 0 but after ``prepare``."""

    @property
    def ticket(self) -> UploadTicket | None:
        """The ticket of an earlier upload of this body to this place."""

    async def keep_ticket(self, ticket: UploadTicket | None) -> None:
        """Keep a ticket for who goes on later, in another process even; None: forget it."""

    async def prepare(self, start: int) -> bytes:
        """Let the next pass begin at ``start``; returns the SHA-256 of the whole.

        Raises ``NetCacheError`` when the body is not the one any more that was being sent.
        """
