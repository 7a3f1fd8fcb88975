"""First questions: what is asked of the server about a resource that nothing is known of.

Of processes that know nothing of it one asks first.  The others wait until it has its answer, and
find the object that it has made, or ask as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from netcache._core.extent import Extent
from netcache._core.readplan import wanted_blocks
from netcache._netfs.engine import DIRECT_BYTES_MAX

if TYPE_CHECKING:
    from netcache._core.keys import ObjectKey
    from netcache._fscache.ports import CacheStore
    from netcache._netfs.inode import Inode

OTHERS_ASK_S = 2.0
"""How long another process that asks is waited for."""

FIRST_BLOCKS_DEFAULT = 4096
"""The block that a question without a cache is rounded to, in bytes."""

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


def first_extent(store: CacheStore | None, want: Extent) -> Extent | None:
    """``want`` as a first question: whole blocks, at least one; None for the whole."""
    block_size = store.block_size if store else FIRST_BLOCKS_DEFAULT
    end = want.end
    if store is None:
        most = want.start + DIRECT_BYTES_MAX
        end = most if end < 0 else min(end, most)
    if end < 0:
        low = wanted_blocks(want.start, want.start, None, block_size).start
        return Extent(low, -1) if low else None
    return wanted_blocks(want.start, max(end, want.start + 1), None, block_size)
