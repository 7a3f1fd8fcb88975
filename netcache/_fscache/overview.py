"""What a store tells of itself as a whole; apart from the ports, for who only reads needs none."""

from __future__ import annotations

from typing import NamedTuple

from netcache._core.coherency import Version
from netcache._core.content import Content
from netcache._core.keys import ObjectKey


class ObjectRecord(NamedTuple):
    """What ``objects`` tells of a stored object, from its label and inode alone."""

    key: ObjectKey
    version: Version
    content: Content
    cached_bytes: int
    allocated_bytes: int
    last_used_s: float
    checked_s: float
    in_use: bool
    pinned: bool


class Problem(NamedTuple):
    """Something that is not as it should be: where it is below the cache directory, and why."""

    what: str
    why: str

    @property
    def repaired(self) -> bool:
        """Whether nothing of it is left; what was cached there is fetched again when needed."""
        return False


class RepairedProblem(Problem):
    """Something that was not as it should be."""

    @property
    def repaired(self) -> bool:
        """Nothing of it is left."""
        return True


class StoreStatus(NamedTuple):
    """The state of a store for ``cache status``."""

    directory: str
    filesystem: str
    block_size: int
    format: int
    allocated_bytes: int
    objects: int
    limit_bytes: int | None
    culling: bool
    missing: tuple[str, ...]
    free_bytes: int
    free_files: int
