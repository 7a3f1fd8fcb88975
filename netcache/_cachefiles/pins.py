"""Pins: what is never culled, by place; kept apart from the objects, and from the record of use.

``pins/<name>``: one small file a pin, which has the place in it.  A pin outlives its object: one
that is replaced, dropped or damaged is pinned again when it comes back.  Whether there is a pin is
one question to the filesystem, however many there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netcache._cachefiles.layout import write_small
from netcache._core.keys import place_bytes

if TYPE_CHECKING:
    from netcache._cachefiles.file_port import FileOps

FOLDER = "pins"


class Pins:
    """The pins of a bound cache."""

    def __init__(self, ops: FileOps, root: int) -> None:
        self._ops = ops
        self._root = root

    def add(self, place: str) -> None:
        """Pin what has, or will have, this place; durable.  Again is fine."""
        ops = self._ops
        ops.make_folder(FOLDER, at=self._root)
        folder = ops.open_folder(FOLDER, at=self._root)
        try:
            write_small(ops, folder, _name(place), place_bytes(place), durable=True)
        finally:
            ops.close(folder)

    def remove(self, place: str) -> bool:
        """Unpin; False when it was not pinned."""
        try:
            self._ops.unlink(f"{FOLDER}/{_name(place)}", self._root)
        except FileNotFoundError:
            return False
        return True

    def are_there(self) -> bool:
        """Whether there was ever any pin: then there is a folder of them."""
        try:
            self._ops.stat_name(FOLDER, self._root)
        except FileNotFoundError:
            return False
        return True

    def has(self, place: str) -> bool:
        """Whether this place is pinned."""
        try:
            self._ops.stat_name(f"{FOLDER}/{_name(place)}", self._root)
        except FileNotFoundError:
            return False
        return True


def _name(place: str) -> str:
    # Imported here: reading what is cached must not pay for it.
    import hashlib

    return hashlib.sha256(place_bytes(place)).hexdigest()[:32]
