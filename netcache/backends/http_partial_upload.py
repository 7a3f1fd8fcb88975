"""One resumable upload: where it is, and what is known of how far it has come."""

from __future__ import annotations

from netcache._core.urls import Resource
from netcache.backends.http_sender import BodySender
from netcache.errors import NetCacheError
from netcache.spi import UploadCondition
from netcache.spi_resumable import ResumableBody

__all__ = ["PartialUpload"]


class PartialUpload:
    """An upload under way.  ``offset`` is what the server has, None when it must be asked;
    ``told`` the most that it has told, ``sent_to`` the most that it can have.  ``is_proven``: what
    is at its location has spoken of itself as of an upload."""

    def __init__(
        self,
        resource: Resource,
        sender: BodySender,
        condition: UploadCondition,
        mtime_s: float | None,
    ) -> None:
        assert isinstance(sender.body, ResumableBody)
        assert sender.body.size is not None
        self.resource = resource
        self.sender = sender
        self.body: ResumableBody = sender.body
        self.size: int = sender.body.size
        self.condition = condition
        self.mtime_s = mtime_s
        self.begun = 0
        self.expect = True
        self.is_doubtful = False
        self.found(None, None)

    def found(self, location: Resource | None, offset: int | None) -> None:
        """It is at ``location`` from now on; ``offset`` None: begun by somebody else."""
        self.location = location
        self.offset = offset
        self.told = 0
        self.is_proven = False
        self.is_earlier = offset is None and location is not None
        self.sent_to = self.size if self.is_earlier else 0

    def name_target(self, error: NetCacheError) -> None:
        """Let a message speak of what is uploaded, not of where the server keeps it meanwhile."""
        if self.location is not None and error.url == self.location.url:
            error.message = error.message.replace(self.location.url, self.resource.url)
            error.url = error.filename = self.resource.url
