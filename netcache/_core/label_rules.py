"""The invariants of an object at rest, on its label and its file's size.  Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netcache._core.content import Content
from netcache._core.invariant import invariant

if TYPE_CHECKING:
    from netcache._core.label import Label


def check_label(label: Label, backing_size: int, block_size: int) -> None:
    """INV-a to INV-i as far as one object can tell; raises ``InvariantError``."""
    stored_end, size = label.stored_end, label.version.size
    context = {"I": backing_size, "S": size, "L": stored_end, "C": label.content.name}
    invariant(backing_size % block_size == 0, "INV-a: the file ends inside a block", **context)
    invariant(stored_end % block_size == 0, "INV-a: L inside a block", **context)
    invariant(
        size > stored_end - block_size or size == stored_end == 0,
        "INV-d: the resource ends before the last stored block",
        **context,
    )
    invariant(stored_end <= backing_size, "INV-i: L past the file", **context)
    invariant(label.committed <= stored_end, "committed past L", **context)
    invariant(
        label.content is not Content.NO_DATA or stored_end == 0,
        "NO_DATA with a stored end",
        **context,
    )
