"""The port to a store that may die, for the one that comes back (``returning``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from netcache._fscache.ports import CacheStore
from netcache.errors import CacheError


class MortalStore(CacheStore, Protocol):
    """A store that may die."""

    @property
    def dead(self) -> CacheError | None:
        """Why it is of no use any more."""

    @property
    def removed(self) -> bool:
        """Whether it died of nothing but the removal of its directory."""

    @property
    def idle(self) -> bool:
        """Whether nobody has anything of it open."""

    def commit_pending(self) -> None:
        """Make durable what is waiting for it."""


Bind = Callable[[Callable[[CacheError], None]], MortalStore]
"""Binds the directory; what it is given is told of trouble.  Raises ``CacheError``."""
