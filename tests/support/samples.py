"""How much is tried: samples in each run, and on request all calls, and more of what is drawn.

``NETCACHE_TEST_ALL=1`` is the request.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from typing import TypeVar

ALL = bool(os.environ.get("NETCACHE_TEST_ALL"))

T = TypeVar("T")


def sample_size(usual: T, long: T) -> T:
    """How much to draw in this run; what is drawn at random is never all that there is."""
    return long if ALL else usual


def numbers(step: int, shift: int = 0) -> Iterator[int]:
    """1, 2, 3 ... without end; as a sample each ``step``-th, and with other shifts the others.

    Where cases of one kind are shifted against each other, each number is tried by some of them.
    """
    return itertools.count(1) if ALL else itertools.count(1 + shift % step, step)
