"""Progress events: what transfers and trees tell whoever draws bars."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple


class ProgressEvent(NamedTuple):
    """One step of a transfer or tree.

    ``name`` is the item (a URL, a path, or a relative name in a tree); ``done_bytes`` and
    ``total_bytes`` are of that item, ``total_bytes`` None while unknown.  Kinds: ``plan`` (``name``
    empty: the whole tree's bytes are known now; may come again as the scan goes on), ``start``,
    ``advance`` (while an exchange is still running), ``done``, ``unchanged``, ``failed``; and of a
    dry run ``deleted``, for a name that would go.
    """

    kind: Literal["plan", "start", "advance", "done", "unchanged", "failed", "deleted"]
    name: str
    done_bytes: int
    total_bytes: int | None


ProgressSink = Callable[[ProgressEvent], None]
"""Called on an unspecified thread, in order for each item; must be quick and not raise."""
