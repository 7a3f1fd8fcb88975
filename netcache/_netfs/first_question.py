"""First questions: of processes that know nothing of a resource, one asks the server first.

The others wait until it has its answer, and find the object that it has made, or ask as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netcache._core.keys import ObjectKey
    from netcache._fscache.ports import CacheStore
    from netcache._netfs.inode import Inode

OTHERS_ASK_S = 2.0
"""How long another process that asks is waited for."""

_PAUSE_MIN_S, _PAUSE_MAX_S = 0.002, 0.05


async def ask_first(
    store: CacheStore, key: ObjectKey, ask: Callable[[], Awaitable[Inode]]
) -> Inode | None:
    """What ``ask`` returns; or None, when another process has asked meanwhile."""
    pause_s, waited_s = _PAUSE_MIN_S, 0.0
    give_back = store.claim_question(key)
    if give_back is not None:
        try:
            return await ask()
        finally:
            give_back()
    while give_back is None and waited_s < OTHERS_ASK_S:
        await asyncio.sleep(pause_s)
        waited_s += pause_s
        pause_s = min(pause_s * 1.5, _PAUSE_MAX_S)
        give_back = store.claim_question(key)
    if give_back is not None:
        # Not kept: who has waited asks at once, whatever the answer was.
        give_back()
    return None
