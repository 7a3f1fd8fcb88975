"""Ids of requests, to follow one through the log.  They wrap; they are no keys."""

from __future__ import annotations

import itertools

_ids = itertools.count(1)


def next_id() -> int:
    """Another one, of 32 bits."""
    return next(_ids) & 0xFFFFFFFF
