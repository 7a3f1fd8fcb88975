"""Memory of a server that runs for long."""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD = -1
_TRIM_BYTES = 1 << 20


def give_back_freed_memory() -> None:
    """Have the allocator return what is free at the end of its heap, from a mebibyte on.

    The default of glibc grows with the largest block that was ever freed (``mallopt(3)``,
    ``M_TRIM_THRESHOLD``), and with it what a process keeps: 18 MiB after 10,000 requests of all
    kinds, against 3.  Elsewhere nothing is changed.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(_M_TRIM_THRESHOLD, _TRIM_BYTES)
