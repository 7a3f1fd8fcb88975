"""How an upload ended whose reply was lost, or never seen.

After an attempt whose outcome is not known, a failed precondition is no conflict yet: what is there
now is compared with what was sent.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from netcache._core.coherency import Version
from netcache._core.urls import Resource
from netcache.backends.http_conditions import Conditions, conflict
from netcache.backends.http_origins import OriginNotes
from netcache.backends.http_sender import BodySender
from netcache.spi import ResourceInfo, UploadCondition, UploadReply
from netcache.spi_resumable import ResumableBody

if TYPE_CHECKING:
    from netcache.backends.http_asking import Asking

__all__ = ["Outcomes"]


class Outcomes:
    """Judges the answers to uploads."""

    def __init__(self, backend: Asking, notes: OriginNotes, conditions: Conditions) -> None:
        self._backend = backend
        self._notes = notes
        self._conditions = conditions

    async def denied(
        self, resource: Resource, sender: BodySender, condition: UploadCondition, doubtful: bool
    ) -> UploadReply:
        """The server found the precondition false; ``doubtful``: an attempt may have arrived."""
        self._notes.saw_condition_minded(resource.origin)
        if not doubtful:
            raise conflict("upload", resource, condition, "the server says so")
        return await self.compared(resource, sender, condition)

    async def compared(
        self, resource: Resource, sender: BodySender, condition: UploadCondition
    ) -> UploadReply:
        """What is there now is not what the condition was about; is it what was sent?"""
        info = await self._conditions.found(resource)
        if info is None:
            raise conflict("upload", resource, condition, "it is gone")
        own = await self._own_digest(sender)
        if own is None or info.size != sender.sent_bytes:
            raise conflict("upload", resource, condition, f"its size is {info.size} now")
        theirs = info.digest_sha256 or await self._digest_of(resource, info)
        if own != theirs:
            raise conflict("upload", resource, condition, "its bytes are others")
        version = _joining(info.version)
        return UploadReply(condition.if_absent, version, False, sender.moved_bytes)

    async def there_already(
        self, resource: Resource, sender: BodySender, condition: UploadCondition
    ) -> UploadReply | None:
        """Whether the server has what an upload was to bring, by the digest that it tells."""
        body = sender.body
        assert isinstance(body, ResumableBody)
        info = await self._conditions.found(resource)
        if info is None or info.size != body.size or info.digest_sha256 is None:
            return None
        if await body.prepare(0) != info.digest_sha256:
            return None
        return UploadReply(condition.if_absent, _joining(info.version), False, sender.moved_bytes)

    async def _own_digest(self, sender: BodySender) -> bytes | None:
        """The digest of what was sent; of one more pass when the last was cut short."""
        if sender.sent_all:
            return await sender.body.sha256()
        if not sender.body.replayable:
            return None
        if isinstance(sender.body, ResumableBody):
            sender.body.start = 0
        digest = hashlib.sha256()
        async for piece in sender.pieces():
            digest.update(piece)
        return digest.digest()

    async def _digest_of(self, resource: Resource, info: ResourceInfo) -> bytes:
        """The digest of what is at the server, by reading it."""
        digest = hashlib.sha256()
        reply = await self._backend.open_read(resource.url, expected=info.version)
        await reply.receive(lambda _, view: digest.update(view))
        return digest.digest()


def _joining(version: Version | None) -> Version | None:
    """A version that can stand for exactly these bytes."""
    return version if version is not None and version.validator.joins_ranges else None
