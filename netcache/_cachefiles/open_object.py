"""An open object, as the cache that it belongs to sees it."""

from __future__ import annotations

from typing import Protocol

from netcache._cachefiles.label_file import LabelFile
from netcache._core.keys import ObjectKey
from netcache._core.label import Label


class OpenObject(Protocol):
    """What is open of a cache; on any thread.  Blocks on the disk, shortly."""

    @property
    def key(self) -> ObjectKey:
        """The resource whose bytes it holds."""

    def fileno(self) -> int:
        """The descriptor of its file."""

    def swap(self, file: LabelFile, label: Label) -> None:
        """Go on in another file, which has taken its name."""

    def commit_fills(self) -> None:
        """Make what was filled durable, and say so in the label.  Raises ``CacheError``."""

    def close(self) -> None:
        """Let the file go.  Idempotent."""
