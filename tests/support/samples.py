"""How much is tried of what can be counted through: a sample in each run, all of it on request.

``NETCACHE_TEST_ALL=1`` tries all; ``make soak`` does.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from typing import TypeVar

ALL = bool(os.environ.get("NETCACHE_TEST_ALL"))

T = TypeVar("T")


def sample_or_all(sample: T, all_of_it: T) -> T:
    """How much to try in this run."""
    return all_of_it if ALL else sample


def numbers(step: int, shift: int = 0) -> Iterator[int]:
    """1, 2, 3 ... without end; as a sample each ``step``-th, and with other shifts the others.

    Where cases of one kind are shifted against each other, each number is tried by some of them.
    """
    return itertools.count(1) if ALL else itertools.count(1 + shift % step, step)
