"""What has begun and must not be left half done: its end is waited for, cancelled or not.

A worker thread cannot be stopped.  Whoever is cancelled while one works for him would close files
and give back locks and memory under it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def finished(work: Awaitable[T]) -> T:
    """Wait for ``work`` to its end; raises ``CancelledError`` only then, if it came meanwhile.

    For work that is short, or that the caller makes short: it is never cancelled itself.
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not task.cancelled():
            # Heard of: the cancellation is what the caller is told.
            task.exception()
        raise cancelled
    return task.result()
