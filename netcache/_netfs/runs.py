"""Runs: what there is from a position on, for those who read all of a resource.

They take as much at a time as pays, and do not come back: their reads need no window.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netcache._netfs.inode import Inode

RUN_BYTES = 8 << 20
"""How much is proven ahead for a reader of everything, at most."""


def run_at(inode: Inode, position: int, most: int = RUN_BYTES) -> tuple[int, int]:
    """The descriptor, and the end of what is present and sound from ``position`` on.

    No more than ``most`` bytes of it are looked at.
    """
    with inode.lock:
        found, holding = inode.present.holding(position), inode.holding
        if found is None or holding is None:
            return -1, position
    end = min(inode.clip(found.end), position + most)
    proven = inode.proven(holding, position, end)
    return holding.fileno(), max(position, min(inode.clip(found.end), proven.end))
