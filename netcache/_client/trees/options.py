"""The options of a tree: checked in one place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from netcache._client.trees.compare import By, Rule
from netcache._client.trees.filters import Selection
from netcache.errors import UsageError


class TreeOptions(NamedTuple):
    """How trees are copied.

    ``delete`` removes from DST what SRC does not have, after all copies, unless more than
    ``max_delete`` names would go.  ``dry_run`` changes nothing and reports what would be done.
    ``checksum`` and ``size_only`` say how a change is recognised (``compare``); ``include`` and
    ``exclude`` are patterns (``filters``).  ``follow_links`` follows symbolic links on the local
    side.
    """

    delete: bool = False
    max_delete: int | None = None
    dry_run: bool = False
    checksum: bool = False
    size_only: bool = False
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    follow_links: bool = False

    def check(self) -> None:
        """Raise ``UsageError`` for options that contradict each other or mean nothing."""
        if self.checksum and self.size_only:
            raise UsageError("checksum and size_only contradict each other (give one of them)")
        if self.max_delete is not None and self.max_delete < 0:
            raise UsageError(f"max_delete={self.max_delete}: a number from 0 is needed")
        for name in ("include", "exclude"):
            if isinstance(getattr(self, name), str):
                raise UsageError(f"{name} must be a list of patterns, not one string")

    def selection(self) -> Selection:
        """The names that take part."""
        return Selection(self.include, self.exclude)

    def rule(self, *, upload: bool, origin_keeps_mtime: bool) -> Rule:
        """How a change is recognised in one direction."""
        by: By = "digest" if self.checksum else "size" if self.size_only else "time"
        return Rule(by, upload=upload, origin_keeps_mtime=origin_keeps_mtime)
