"""When a run has a crew: whether another process could be the same client, and of use."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netcache._client.options import ClientOptions

PROCESSES_MAX = 4
"""Without an option, at most so many."""

_LOGGERS = ("netcache", "netcache.events", "netcache.http", "netcache.cache")


def processes_of(options: ClientOptions) -> int:
    """How many processes bring the small files of a tree; 1: this one alone."""
    if why_alone(options) is not None:
        return 1
    wanted = options.processes
    if wanted is None:
        wanted = min(PROCESSES_MAX, _cores())
    # Each has at least one file in flight.
    return min(wanted, options.transfers)


def _cores() -> int:
    """How many cores this process may use; not every system (macOS) knows which."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def why_alone(options: ClientOptions) -> str | None:
    """Why no other process can help a client with these options; None when one can."""
    if options.backend is not None:
        return "its backend was made by the caller, in this process"
    if options.bandwidth_limit is not None:
        return "its bandwidth limit is kept in this process"
    if options.offline:
        return "it asks no server"
    if not sys.executable or not os.path.basename(sys.executable).startswith("python"):
        return "there is no Python program to start"
    if hasattr(sys, "frozen"):
        return "the program is a bundle, not Python"
    if any(logging.getLogger(name).isEnabledFor(logging.DEBUG) for name in _LOGGERS):
        return "each step is logged, by this process"
    return None
